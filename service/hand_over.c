#include "service/hand_over.h"

#include "core/chapter.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/record.h"
#include "core/worker.h"
#include "dataset/feed.h"
#include "service/session.h"
#include "signaling/signaling.h"
#include "store/store.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

/* The bytes in the store: this line, with the version of everything behind it; a SHA-256 of the rest;
 * the sessions; the rooms; then chapters (core/chapter.h), each its name and its records. Programs
 * of other versions drop what they do not know, but pass over a chapter. */
static const char heading[] = "signalbox hand-over 3\n";

enum {
	HEADING = sizeof(heading) - 1,
	DIGEST = 32,
	TRIES = 3,
	PUT_MS = 12000,
	CHAPTERS_MAX = 16,
	CHAPTER_BYTES_MAX = 16 << 20,
	CHAPTER_NAME_MAX = 64,
	ALL_MAX = HEADING + DIGEST + 2 * HAND_OVER_BYTES_MAX + 64 +
		CHAPTERS_MAX * (CHAPTER_BYTES_MAX + CHAPTER_NAME_MAX),
};

/* Those of all folders, in the order that they are loaded. */
static const struct chapter *chapters[CHAPTERS_MAX + 1];

static void gather_chapters(void)
{
	static const struct chapter *const folders[] = {signaling_chapters, dataset_chapters};
	int count = 0;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		for (const struct chapter *c = folders[i]; c->name; c++) {
			assert(count < CHAPTERS_MAX);
			chapters[count++] = c;
		}
	chapters[count] = NULL;
}

/* A worker's part of it. */
struct part {
	struct buf rooms, sessions, chapters[CHAPTERS_MAX];
	enum err rooms_err;
	size_t left_out;
	struct session_moved *moved;
	size_t moved_count;
	enum err sessions_err;
};

static struct part *parts_new(void)
{
	struct part *parts = mem_alloc((size_t)workers_count() * sizeof(*parts));
	for (int i = 0; i < workers_count(); i++) {
		parts[i].rooms = BUF_INIT(HAND_OVER_BYTES_MAX);
		parts[i].sessions = BUF_INIT(HAND_OVER_BYTES_MAX / (size_t)workers_count());
		for (int k = 0; k < CHAPTERS_MAX; k++)
			parts[i].chapters[k] =
				BUF_INIT(CHAPTER_BYTES_MAX / (size_t)workers_count());
	}
	return parts;
}

static void parts_free(struct part **parts)
{
	for (int i = 0; i < workers_count(); i++) {
		buf_free(&(*parts)[i].rooms);
		buf_free(&(*parts)[i].sessions);
		for (int k = 0; k < CHAPTERS_MAX; k++)
			buf_free(&(*parts)[i].chapters[k]);
		free((*parts)[i].moved);
	}
	free(*parts);
	*parts = NULL;
}

static void digest(struct str bytes, unsigned char *ret_digest)
{
	unsigned n = 0;
	if (!EVP_Digest(bytes.p, bytes.n, ret_digest, &n, EVP_sha256(), NULL) || n != DIGEST)
		abort();
}

/* ---- the end ---- */

static void settle(struct worker *w, void *context)
{
	(void)w, (void)context;
	signaling_settle();
}

static void nothing(struct worker *w, void *context)
{
	(void)w, (void)context;
}

static void save_rooms(struct worker *w, void *context)
{
	struct part *p = (struct part *)context + w->index;
	/* half of it: who is in the rooms must find room, however they are spread over the workers */
	p->rooms_err = signaling_save(&p->rooms, HAND_OVER_BYTES_MAX / 2 / (size_t)workers_count());
	for (int i = 0; chapters[i]; i++)
		chapters[i]->save(&p->chapters[i]);
}

static void save_sessions(struct worker *w, void *context)
{
	struct part *p = (struct part *)context + w->index;
	p->left_out = sessions_save(&p->sessions);
}

static void add_all(struct buf *all, const struct part *parts, size_t offset)
{
	size_t n = 0;
	for (int i = 0; i < workers_count(); i++)
		n += ((const struct buf *)(const void *)((const char *)&parts[i] + offset))->n;
	record_put_int(all, n);
	for (int i = 0; i < workers_count(); i++)
		buf_adds(all,
			buf_str((const struct buf *)(const void *)((const char *)&parts[i] +
				offset)));
}

/* One that does not fit is left out: sessions and rooms can be without it. */
static void add_chapters(struct buf *all, const struct part *parts)
{
	for (int i = 0; chapters[i]; i++) {
		enum err err = ERR_OK;
		for (int k = 0; k < workers_count(); k++)
			err = err ? err : parts[k].chapters[i].err;
		if (err) {
			log_error("a part of what is handed over is too large and is lost",
				LOG_TEXT("part", chapters[i]->name));
			continue;
		}
		record_put_str(all, str_of(chapters[i]->name));
		add_all(all, parts,
			offsetof(struct part, chapters) + (size_t)i * sizeof(struct buf));
	}
}

/* Another program may hold the file for a while: clients can wait for longer than that. */
static enum err put(struct str bytes)
{
	static const struct timespec pause = {.tv_nsec = 200 * 1000000L};
	enum err err = ERR_OVERLOADED;
	for (int64_t until = clock_steady_ms() + PUT_MS;
		err == ERR_OVERLOADED && clock_steady_ms() < until;) {
		struct store_op *op =
			store_ask_now(STORE_HAND_OVER_PUT, STORE_BLOB(bytes), STORE_END);
		err = op->err;
		store_op_free(&op);
		if (err == ERR_OVERLOADED)
			nanosleep(&pause, NULL);
	}
	return err;
}

static void write_down(const struct part *parts)
{
	static const char no_digest[DIGEST];
	struct buf all = BUF_INIT(ALL_MAX);
	size_t left_out = 0;
	buf_add(&all, heading, HEADING);
	buf_add(&all, no_digest, DIGEST);
	add_all(&all, parts, offsetof(struct part, sessions));
	add_all(&all, parts, offsetof(struct part, rooms));
	add_chapters(&all, parts);
	enum err err = all.err;
	if (!err) {
		const size_t head = HEADING + DIGEST;
		digest((struct str){all.p + head, all.n - head}, (unsigned char *)all.p + HEADING);
		err = put(buf_str(&all));
	}
	for (int i = 0; i < workers_count(); i++)
		left_out += parts[i].left_out;
	if (err)
		log_error("no session is handed over: the store did not take them");
	else
		log_info("handed over", LOG_INT("bytes", (int64_t)all.n));
	if (left_out && !err)
		log_warn("some sessions are not handed over: an answer was outstanding, or there "
			 "was no room for them",
			LOG_INT("sessions", (int64_t)left_out));
	buf_free(&all);
}

/* What the rooms still have to say reaches the sessions before either is saved; and rooms come first,
 * so that no session is told of anything that its room will not remember. */
void hand_over_save(void)
{
	gather_chapters();
	struct part *parts = parts_new();
	enum err err = ERR_OK;
	workers_each(settle, NULL);
	workers_each(nothing, NULL);
	workers_each(save_rooms, parts);
	workers_each(save_sessions, parts);
	for (int i = 0; i < workers_count(); i++)
		err = err ? err : parts[i].rooms_err;
	if (err)
		log_error("no session is handed over: the rooms are too large");
	else
		write_down(parts);
	parts_free(&parts);
}

/* ---- the start ---- */

/* All pieces, in order. ERR_NOT_FOUND: there are none. */
static enum err read_pieces(struct buf *all)
{
	enum err err = ERR_OK;
	int64_t count = 0;
	for (; !err; count++) {
		struct store_op *op =
			store_ask_now(STORE_HAND_OVER_GET, STORE_INT(count), STORE_END);
		err = op->err;
		if (!err)
			buf_adds(all, store_str(op, 0, 0));
		store_op_free(&op);
	}
	return err == ERR_NOT_FOUND && count > 1 ? all->err : err;
}

/* What makes a start die while it takes in must not do so for ever. */
static enum err may_try(void)
{
	struct store_op *op = store_ask_now(STORE_HAND_OVER_TRY, STORE_INT(TRIES), STORE_END);
	enum err err = op->err == ERR_NOT_FOUND ? ERR_GONE : op->err;
	store_op_free(&op);
	return err;
}

static void clear(void)
{
	struct store_op *op = store_ask_now(STORE_HAND_OVER_CLEAR, STORE_END);
	if (op->err)
		log_error("what was handed over stays in the store, which takes no writes");
	store_op_free(&op);
}

/* What is taken out, where it lies. */
struct pieces {
	struct str sessions, rooms, chapters[CHAPTERS_MAX];
};

static void read_chapter(struct record_reader *r, struct pieces *ret_pieces)
{
	struct str name = record_str(r, CHAPTER_NAME_MAX);
	struct str records = record_str(r, CHAPTER_BYTES_MAX);
	for (int i = 0; chapters[i]; i++)
		if (str_is(name, chapters[i]->name))
			ret_pieces->chapters[i] = records;
}

static enum err check(struct str all, struct pieces *ret_pieces)
{
	unsigned char is[DIGEST];
	const size_t head = HEADING + DIGEST;
	if (!str_starts(all, (struct str){heading, HEADING}))
		return ERR_CONFLICT;
	if (all.n < head)
		return ERR_PARSE;
	struct str body = {all.p + head, all.n - head};
	digest(body, is);
	if (memcmp(is, all.p + HEADING, DIGEST) != 0)
		return ERR_PARSE;
	struct record_reader r = record_of(body);
	ret_pieces->sessions = record_str(&r, HAND_OVER_BYTES_MAX);
	ret_pieces->rooms = record_str(&r, HAND_OVER_BYTES_MAX);
	while (record_more(&r))
		read_chapter(&r, ret_pieces);
	return r.bad ? ERR_PARSE : ERR_OK;
}

/* What the workers read while they load, all at once; and whom the rooms ask for. */
struct load {
	const struct pieces *pieces;
	int chapter;
	struct part *parts;
	struct session_moved *moved; /* by old address */
	size_t count;
};

static void load_sessions(struct worker *w, void *context)
{
	struct load *load = context;
	struct part *p = &load->parts[w->index];
	p->sessions_err = sessions_load(load->pieces->sessions, &p->moved, &p->moved_count);
}

static int by_old(const void *a, const void *b)
{
	const struct addr *x = &((const struct session_moved *)a)->old;
	const struct addr *y = &((const struct session_moved *)b)->old;
	if (x->worker != y->worker)
		return x->worker < y->worker ? -1 : 1;
	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return (x->generation > y->generation) - (x->generation < y->generation);
}

static bool find(
	void *context, struct addr old, struct addr *ret_addr, const struct principal **ret_who)
{
	const struct load *load = context;
	const struct session_moved key = {.old = old}, *m = NULL;
	if (load->count)
		m = bsearch(&key, load->moved, load->count, sizeof(key), by_old);
	if (!m)
		return false;
	*ret_addr = m->now;
	*ret_who = m->who;
	return true;
}

static void load_rooms(struct worker *w, void *context)
{
	(void)w;
	const struct load *load = context;
	const struct chapter_lookup lookup = {find, context};
	signaling_load(load->pieces->rooms, &lookup);
}

static void load_chapter(struct worker *w, void *context)
{
	(void)w;
	const struct load *load = context;
	const struct chapter_lookup lookup = {find, context};
	struct str records = load->pieces->chapters[load->chapter];
	if (records.n)
		chapter_load(chapters[load->chapter], records, &lookup);
}

static void merge_moved(struct load *load)
{
	for (int i = 0; i < workers_count(); i++) {
		const struct part *p = &load->parts[i];
		load->moved = mem_resize(
			load->moved, load->count + p->moved_count + 1, sizeof(*load->moved));
		if (p->moved_count)
			memcpy(load->moved + load->count, p->moved,
				p->moved_count * sizeof(*p->moved));
		load->count += p->moved_count;
		if (p->sessions_err == ERR_PARSE)
			log_error(
				"a session that was handed over is damaged", LOG_INT("worker", i));
	}
	if (load->count)
		qsort(load->moved, load->count, sizeof(*load->moved), by_old);
}

static void take_in(const struct pieces *pieces)
{
	struct load load = {.pieces = pieces, .parts = parts_new()};
	workers_each(load_sessions, &load);
	merge_moved(&load);
	workers_each(load_rooms, &load);
	for (; chapters[load.chapter]; load.chapter++)
		workers_each(load_chapter, &load);
	workers_each(nothing, NULL);
	metric_add(METRIC_HANDED_OVER, (int64_t)load.count);
	log_info("taken over", LOG_INT("sessions", (int64_t)load.count));
	parts_free(&load.parts);
	free(load.moved);
}

void hand_over_load(void)
{
	struct buf all = BUF_INIT(ALL_MAX);
	struct pieces pieces = {0};
	gather_chapters();
	enum err err = read_pieces(&all);
	if (err == ERR_NOT_FOUND)
		return;
	if (!err)
		err = may_try();
	if (!err)
		err = check(buf_str(&all), &pieces);
	if (!err)
		take_in(&pieces);
	else if (err == ERR_GONE)
		log_error(
			"start after start has died while it took over: the sessions are given up");
	else if (err == ERR_CONFLICT)
		log_error(
			"another version of Signalbox has handed over its sessions: they are lost");
	else if (err == ERR_PARSE)
		log_error("what was handed over is damaged: its sessions are lost");
	else
		log_error("what was handed over cannot be read: its sessions are lost");
	clear();
	buf_free(&all);
}
