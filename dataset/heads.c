#include "dataset/heads.h"

#include "core/chore.h"
#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>

enum { WRITE_MS = 5000, PAGE = 500 };

struct entry {
	struct known_head head;
	bool unwritten, gone;
	size_t n;
	char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries[HEADS_MAX]; /* behind the lock; an entry stays until the end */
static struct map by_path;
static size_t count;
static char boot[64]; /* which start of the machine this is; empty: nobody says */

static struct entry *enter(struct str path)
{
	struct entry *e = map_get(&by_path, path);
	if (e || count == HEADS_MAX)
		return e;
	e = mem_alloc(sizeof(*e) + path.n + 1);
	e->n = path.n;
	e->gone = true;
	memcpy(e->path, path.p, path.n);
	entries[count++] = e;
	map_put(&by_path, (struct str){e->path, e->n}, e);
	return e;
}

bool heads_known(struct str path, struct known_head *ret_head)
{
	pthread_mutex_lock(&lock);
	const struct entry *e = map_get(&by_path, path);
	bool known = e && !e->gone;
	if (known)
		*ret_head = e->head;
	pthread_mutex_unlock(&lock);
	return known;
}

void heads_learn(struct str path, const struct known_head *head)
{
	pthread_mutex_lock(&lock);
	struct entry *e = enter(path);
	if (e) {
		e->unwritten |= e->gone || e->head.seq != head->seq ||
			e->head.inode != head->inode || strcmp(e->head.epoch, head->epoch) != 0 ||
			strcmp(e->head.marks, head->marks) != 0 ||
			strcmp(e->head.history, head->history) != 0;
		e->head = *head;
		e->gone = false;
	}
	pthread_mutex_unlock(&lock);
}

void heads_forget(struct str path)
{
	pthread_mutex_lock(&lock);
	struct entry *e = map_get(&by_path, path);
	if (e && !e->gone)
		e->gone = e->unwritten = true;
	pthread_mutex_unlock(&lock);
}

char *heads_next(size_t *i)
{
	char *path = NULL;
	pthread_mutex_lock(&lock);
	for (; *i < count && !path; ++*i)
		if (!entries[*i]->gone)
			path = mem_copy((struct str){entries[*i]->path, entries[*i]->n});
	pthread_mutex_unlock(&lock);
	return path;
}

/* ---- the store ---- */

static void read_boot(void)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	boot[0] = 0;
	if (f && fscanf(f, "%63s", boot) != 1)
		boot[0] = 0;
	if (f)
		fclose(f);
}

static void read_row(const struct store_op *op, size_t row)
{
	struct entry *e = enter(store_str(op, row, 0));
	struct str written = store_str(op, row, 6); /* at which start; empty: by an end in order */
	bool lost = written.n && !str_is(written, boot);
	if (!e)
		return;
	e->unwritten = true;
	e->gone = false;
	snprintf(e->head.epoch, sizeof(e->head.epoch), STR_FMT,
		STR_ARG(lost ? STR("") : store_str(op, row, 1)));
	e->head.seq = store_int(op, row, 2);
	e->head.inode = store_int(op, row, 3);
	snprintf(e->head.marks, sizeof(e->head.marks), STR_FMT, STR_ARG(store_str(op, row, 4)));
	snprintf(e->head.history, sizeof(e->head.history), STR_FMT, STR_ARG(store_str(op, row, 5)));
}

/* One that the store is to be told of. Its path stays where it is; what else is in it may be changed by others. */
static struct entry *take_unwritten(struct entry *ret_copy)
{
	struct entry *found = NULL;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count && !found; i++)
		if (entries[i]->unwritten)
			found = entries[i];
	if (found) {
		found->unwritten = false;
		*ret_copy = *found;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* How the store is told of it. */
struct message {
	enum store_verb verb;
	struct store_value args[8];
};

static struct message message_of(const struct entry *e, const struct entry *copy, const char *start)
{
	struct str path = {e->path, e->n};
	if (copy->gone)
		return (struct message){STORE_DATASET_HEAD_DROP, {STORE_TEXT(path), STORE_END}};
	return (struct message){STORE_DATASET_HEAD_PUT,
		{STORE_TEXT(path), STORE_TEXT(str_of(copy->head.epoch)), STORE_INT(copy->head.seq),
			STORE_INT(copy->head.inode), STORE_TEXT(str_of(copy->head.marks)),
			STORE_TEXT(str_of(copy->head.history)), STORE_TEXT(str_of(start)),
			STORE_END}};
}

static void wrote(struct store_op *op)
{
	struct entry *e = op->context;
	if (!op->err)
		return;
	pthread_mutex_lock(&lock);
	e->unwritten = true; /* the next time, then */
	pthread_mutex_unlock(&lock);
}

static void write_all(void)
{
	struct entry copy, *e;
	while ((e = take_unwritten(&copy))) {
		struct message m = message_of(e, &copy, boot);
		store_submit(m.verb, wrote, e, m.args);
	}
}

enum err heads_load(struct buf *why)
{
	char *after = mem_copy(STR(""));
	enum err err = ERR_OK;
	read_boot();
	for (size_t rows = PAGE; rows == PAGE && !err;) {
		struct store_op *op = store_ask_now(STORE_DATASET_HEAD_LIST,
			STORE_TEXT(str_of(after)), STORE_INT(PAGE), STORE_END);
		err = op->err;
		rows = op->rows;
		for (size_t i = 0; i < rows; i++)
			read_row(op, i);
		free(after);
		after = mem_copy(rows ? store_str(op, rows - 1, 0) : STR(""));
		store_op_free(&op);
	}
	free(after);
	if (err)
		buf_addf(why, "the store does not say where the databases of datasets stood\n");
	return err;
}

void heads_save(void)
{
	struct entry copy, *e;
	for (size_t i = 0; i < count; i++)
		entries[i]->unwritten |= !entries[i]->gone;
	while ((e = take_unwritten(&copy))) {
		struct message m = message_of(e, &copy, "");
		struct store_op *op = store_submit_now(m.verb, m.args);
		if (op->err)
			log_warn("where a database of datasets stands is not written down",
				LOG_TEXT("database", e->path));
		store_op_free(&op);
	}
}

void heads_finish(void)
{
	for (size_t i = 0; i < count; i++) {
		map_remove(&by_path, (struct str){entries[i]->path, entries[i]->n});
		free(entries[i]);
	}
	map_free(&by_path);
	count = 0;
}

static struct chore writing = {.run = write_all, .first_ms = WRITE_MS, .every_ms = WRITE_MS};

static enum err start(struct worker *w)
{
	chore_start(&writing, w);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	chore_drain(&writing, w);
}

static void stop(struct worker *w)
{
	chore_stop(&writing, w);
}

const struct worker_part heads_part = {
	.name = "heads",
	.start = start,
	.drain = drain,
	.stop = stop,
};
