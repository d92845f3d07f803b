#include "store/driver.h"

#include "core/buf.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/* The store is two lanes, each a thread with a connection and an inbox of its own: writes and reads.
 * A lane takes all that waits at once and handles it as one group. While the writer waits for the
 * disk to confirm one group, the next one gathers, so the busier it is the larger the groups are:
 * there is no timer, and a lone write is never kept waiting for company. */

enum { PROBE_SECONDS = 2 };

const struct store_verb_row store_verbs[STORE_VERBS] = {
#define STORE(verb, kind, sql) [STORE_##verb] = {#verb, STORE_KIND_##kind, sql},
#include "store/verbs.def"
#undef STORE
};

struct store_op_private {
	struct worker *worker; /* whom the answer goes to; NULL: a thread that waits for it */
	sem_t answered;
	struct buf bytes; /* of the rows; until they are settled, a cell's number is its offset */
	size_t cell_room;
};

/* One block: the op, what is private to the store, and the bytes of the arguments. */
struct op_block {
	struct store_op op;
	struct store_op_private own;
	char bytes[];
};

struct lane {
	const char *name;
	void (*handle)(struct post *all);
	struct store_db *db;
	pthread_t thread;
	/* Around posting, and around the change of open: nothing is posted once it is closed. The
	 * flag itself is atomic, so that one lane's never has to be read under its own gate. */
	pthread_mutex_t gate;
	atomic_bool open;
	struct inbox inbox;
	sem_t work;
};

static void write_group(struct post *all);
static void read_group(struct post *all);

static const struct store_driver *engine;
static struct lane writer = {
	.name = "store-write", .handle = write_group, .gate = PTHREAD_MUTEX_INITIALIZER};
static struct lane reader = {
	.name = "store-read", .handle = read_group, .gate = PTHREAD_MUTEX_INITIALIZER};
static atomic_bool healthy;

bool store_healthy(void)
{
	return atomic_load(&healthy);
}

/* ---- an operation ---- */

static struct store_op *op_new(enum store_verb verb, const struct store_value *args)
{
	size_t count = 0, bytes = 0;
	for (; args[count].kind != STORE_IS_END; count++)
		bytes += args[count].bytes.n;
	assert(verb < STORE_VERBS && count <= STORE_ARGS_MAX);
	struct op_block *block = mem_alloc(sizeof(*block) + bytes + 1);
	struct store_op *op = &block->op;
	op->own = &block->own;
	op->own->bytes = BUF_INIT(STORE_BYTES_MAX);
	op->verb = verb;
	op->arg_count = count;
	char *to = block->bytes;
	for (size_t i = 0; i < count; i++) {
		op->args[i] = args[i];
		op->args[i].bytes.p = to; /* never NULL: an empty text is not a NULL */
		if (args[i].bytes.n)
			memcpy(to, args[i].bytes.p, args[i].bytes.n);
		to += args[i].bytes.n;
	}
	return op;
}

static void rows_clear(struct store_op *op)
{
	free(op->cells);
	op->cells = NULL;
	op->rows = op->columns = op->own->cell_room = 0;
	buf_free(&op->own->bytes);
	op->own->bytes = BUF_INIT(STORE_BYTES_MAX);
}

void store_op_free(struct store_op **op)
{
	if (!*op)
		return;
	rows_clear(*op);
	free(*op); /* the first member of its block */
	*op = NULL;
}

void store_rows_begin(struct store_op *op, size_t columns)
{
	rows_clear(op);
	op->columns = columns;
}

enum err store_rows_add(struct store_op *op, const struct store_value *row)
{
	struct store_op_private *own = op->own;
	size_t used = op->rows * op->columns;
	if (op->rows == STORE_ROWS_MAX)
		return ERR_TOO_LARGE;
	if (used + op->columns > own->cell_room) {
		own->cell_room = op->rows ? 2 * own->cell_room : op->columns;
		op->cells = mem_resize(op->cells, own->cell_room, sizeof(*op->cells));
	}
	for (size_t i = 0; i < op->columns; i++) {
		struct store_value *cell = &op->cells[used + i];
		*cell = row[i];
		if (cell->kind == STORE_IS_TEXT || cell->kind == STORE_IS_BLOB) {
			cell->number = (int64_t)own->bytes.n;
			buf_adds(&own->bytes, cell->bytes);
		}
	}
	op->rows++;
	return own->bytes.err;
}

/* The bytes do not move any more: cells get their pointers. A failed op has no rows. */
static void rows_settle(struct store_op *op)
{
	if (op->err) {
		rows_clear(op);
		return;
	}
	const char *base = buf_str(&op->own->bytes).p;
	for (size_t i = 0; i < op->rows * op->columns; i++) {
		struct store_value *cell = &op->cells[i];
		if (cell->kind == STORE_IS_TEXT || cell->kind == STORE_IS_BLOB) {
			cell->bytes.p = base + cell->number;
			cell->number = 0;
		}
	}
}

/* ---- its answer ---- */

static void deliver(struct post *p)
{
	struct store_op *op = (struct store_op *)p;
	op->done(op);
	store_op_free(&op);
}

static void answer(struct store_op *op)
{
	op->post.run = deliver;
	if (op->own->worker)
		worker_post(op->own->worker, &op->post);
	else
		sem_post(&op->own->answered);
}

static void answer_all(struct post *all)
{
	while (all) {
		struct post *next = all->next;
		answer((struct store_op *)all);
		all = next;
	}
}

/* ---- the two lanes' work ---- */

/* Runs the group and commits it; the ops know their outcome then. An op that failed alone (a
 * conflict) was undone alone. When the group fails all of it does: even a conflict may have been one
 * with a row that is not there after all. */
static void commit_group(struct post *all)
{
	int64_t good = 0, failed = 0;
	enum err err = engine->begin(writer.db);
	if (!err) {
		for (struct post *p = all; p; p = p->next)
			((struct store_op *)p)->err = engine->run(writer.db, (struct store_op *)p);
		err = engine->commit(writer.db);
	}
	for (struct post *p = all; p; p = p->next) {
		struct store_op *op = (struct store_op *)p;
		if (err)
			op->err = ERR_INTERNAL;
		rows_settle(op);
		good += op->err == ERR_OK;
		failed += op->err == ERR_INTERNAL;
	}
	atomic_store(&healthy, !err);
	if (err)
		log_error("store group failed", LOG_INT("operations", failed));
	metric_add(METRIC_STORE_WRITES, good);
	metric_add(METRIC_STORE_COMMITS, good > 0);
	metric_add(METRIC_STORE_FAILED, failed);
}

static void write_group(struct post *all)
{
	commit_group(all);
	answer_all(all);
}

/* All of the group was asked before its read transaction begins, so it sees whatever was answered
 * before. Each is answered as soon as it is read. */
static void read_group(struct post *all)
{
	enum err err = engine->begin(reader.db);
	while (all) {
		struct post *next = all->next;
		struct store_op *op = (struct store_op *)all;
		op->err = err ? ERR_INTERNAL : engine->run(reader.db, op);
		metric_add(METRIC_STORE_FAILED, op->err == ERR_INTERNAL);
		rows_settle(op);
		answer(op);
		all = next;
	}
	if (!err)
		engine->rollback(reader.db); /* nothing to keep: only lets go of the snapshot */
}

/* Whether the disk takes writes again, when the last ones failed: without this a service that is
 * taken out of use because of store_healthy() would get no write that could prove it well. */
static void probe(void)
{
	const struct store_value args[] = {
		STORE_TEXT(STR("store.probed_at")), STORE_INT(time(NULL)), STORE_END};
	struct store_op *op = op_new(STORE_SETTING_PUT, args);
	commit_group(&op->post);
	if (!op->err)
		log_info("store works again");
	store_op_free(&op);
}

static void wait_for_work(struct lane *lane)
{
	if (lane != &writer || store_healthy()) {
		while (sem_wait(&lane->work) != 0 && errno == EINTR)
			;
		return;
	}
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PROBE_SECONDS;
	if (sem_clockwait(&lane->work, CLOCK_MONOTONIC, &until) != 0 && errno == ETIMEDOUT)
		probe();
}

static bool lane_is_open(struct lane *lane)
{
	pthread_mutex_lock(&lane->gate);
	bool open = lane->open;
	pthread_mutex_unlock(&lane->gate);
	return open;
}

static void *lane_main(void *context)
{
	struct lane *lane = context;
	pthread_setname_np(pthread_self(), lane->name);
	for (;;) {
		bool last = !lane_is_open(lane); /* asked first: then the inbox below is the last */
		struct post *all = inbox_take(&lane->inbox);
		if (all)
			lane->handle(all);
		else if (last)
			return NULL;
		else
			wait_for_work(lane);
	}
}

static void lane_wake(void *context)
{
	sem_post(&((struct lane *)context)->work);
}

/* ---- asking ---- */

static void place(struct store_op *op)
{
	struct lane *lane = store_verb_writes(op->verb) ? &writer : &reader;
	pthread_mutex_lock(&lane->gate);
	enum err err = lane->open ? inbox_post_call(&lane->inbox, &op->post) : ERR_OVERLOADED;
	pthread_mutex_unlock(&lane->gate);
	if (err) {
		op->err = err;
		answer(op);
	}
}

void store_submit(enum store_verb verb, void (*done)(struct store_op *), void *context,
	const struct store_value *args)
{
	struct store_op *op = op_new(verb, args);
	op->done = done;
	op->context = context;
	op->own->worker = worker_self();
	assert(op->own->worker);
	place(op);
}

struct store_op *store_submit_now(enum store_verb verb, const struct store_value *args)
{
	struct store_op *op = op_new(verb, args);
	sem_init(&op->own->answered, 0, 0);
	place(op);
	while (sem_wait(&op->own->answered) != 0 && errno == EINTR)
		;
	sem_destroy(&op->own->answered);
	return op;
}

/* ---- opening and closing ---- */

static enum err lane_start(struct lane *lane, size_t queue_max)
{
	inbox_init(&lane->inbox, queue_max, lane_wake, lane);
	sem_init(&lane->work, 0, 0);
	pthread_mutex_lock(&lane->gate);
	lane->open = pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
	bool open = lane->open;
	pthread_mutex_unlock(&lane->gate);
	if (open)
		return ERR_OK;
	sem_destroy(&lane->work);
	inbox_finish(&lane->inbox);
	return ERR_INTERNAL;
}

static void lane_stop(struct lane *lane)
{
	pthread_mutex_lock(&lane->gate);
	bool was_open = lane->open;
	lane->open = false;
	pthread_mutex_unlock(&lane->gate);
	if (!was_open)
		return;
	sem_post(&lane->work);
	pthread_join(lane->thread, NULL);
	sem_destroy(&lane->work);
	inbox_finish(&lane->inbox);
}

enum err store_open(
	const struct store_driver *driver, const char *where, size_t queue_max, char *ret_why)
{
	assert(!engine);
	engine = driver;
	enum err err = engine->open(where, true, &writer.db, ret_why);
	if (!err)
		err = engine->open(where, false, &reader.db, ret_why);
	if (err) {
		store_close();
		return err;
	}
	atomic_store(&healthy, true);
	if (lane_start(&writer, queue_max) || lane_start(&reader, queue_max)) {
		snprintf(ret_why, STORE_WHY_MAX, "the store's threads cannot be started");
		store_close();
		return ERR_INTERNAL;
	}
	return ERR_OK;
}

void store_close(void)
{
	if (!engine)
		return;
	lane_stop(&writer);
	lane_stop(&reader);
	atomic_store(&healthy, false);
	if (reader.db)
		engine->close(&reader.db);
	if (writer.db)
		engine->close(&writer.db);
	engine = NULL;
}
