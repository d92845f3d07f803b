#include "store/driver.h"

#include "core/buf.h"
#include "core/clock.h"
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

enum { PROBE_MS = 2000 };

const struct store_verb_row store_verbs[STORE_VERBS] = {
#define STORE(verb, kind, sql) [STORE_##verb] = {#verb, STORE_KIND_##kind, sql},
#include "store/verbs.def"
#undef STORE
};

struct store_op_private {
	struct worker *worker; /* whom the answer goes to; NULL: a thread that waits for it */
	sem_t answered;
	int64_t asked_at; /* ms */
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
	/* What keeps it from working, NULL: nothing; when the driver last said so; since when the driver
	 * has been about what it does now, 0: nothing. In ms. */
	_Atomic(const struct store_trouble *) trouble;
	_Atomic int64_t failed_at, since;
};

static void write_group(struct post *all);
static void read_group(struct post *all);

static const struct store_driver *engine;
static struct lane writer = {
	.name = "store-write", .handle = write_group, .gate = PTHREAD_MUTEX_INITIALIZER};
static struct lane reader = {
	.name = "store-read", .handle = read_group, .gate = PTHREAD_MUTEX_INITIALIZER};

/* ---- trouble ---- */

static const struct store_trouble closed = {"it is not open", ""};
static const struct store_trouble silent = {"the disk does not answer",
	"the system's log says more about the disk of the data directory"};

static const struct store_trouble unknown = {"it fails", "the line before this one says why"};

static void trouble_begins(
	struct lane *lane, const struct store_trouble *trouble, const char *detail)
{
	atomic_store(&lane->failed_at, clock_steady_ms());
	const struct store_trouble *before = atomic_exchange(&lane->trouble, trouble);
	if (before == trouble)
		return;
	metric_add(METRIC_STORE_TROUBLE, before ? 0 : 1);
	log_error("store in trouble", LOG_TEXT("why", trouble->what),
		LOG_TEXT("do", trouble->remedy), LOG_TEXT("thread", lane->name),
		LOG_TEXT("detail", detail));
}

static void trouble_ends(struct lane *lane)
{
	const struct store_trouble *before = atomic_exchange(&lane->trouble, NULL);
	if (!before)
		return;
	metric_add(METRIC_STORE_TROUBLE, -1);
	log_info(
		"store works again", LOG_TEXT("thread", lane->name), LOG_TEXT("was", before->what));
}

/* The driver is about to do something that may take as long as the disk wants. */
static void driver_begins(struct lane *lane)
{
	atomic_store(&lane->since, clock_steady_ms());
}

/* What came of it. */
static enum err driver_says(struct lane *lane, enum err err)
{
	char detail[STORE_WHY_MAX] = "";
	if (err != ERR_OVERLOADED)
		return err;
	const struct store_trouble *trouble = engine->trouble(lane->db, detail);
	trouble_begins(lane, trouble ? trouble : &unknown, detail);
	return err;
}

/* A disk that is nearly full takes one write and refuses the next: only when there was no failure for
 * a while is it over. */
static void driver_rests(struct lane *lane)
{
	atomic_store(&lane->since, 0);
	if (atomic_load(&lane->trouble) &&
		clock_steady_ms() - atomic_load(&lane->failed_at) >= PROBE_MS)
		trouble_ends(lane);
}

static bool is_silent(struct lane *lane)
{
	int64_t since = atomic_load(&lane->since);
	if (!since || clock_steady_ms() - since < STORE_WAIT_MS)
		return false;
	trouble_begins(lane, &silent, "");
	return true;
}

static const char *lane_trouble(struct lane *lane)
{
	if (!lane->open)
		return closed.what;
	is_silent(lane);
	const struct store_trouble *trouble = atomic_load(&lane->trouble);
	return trouble ? trouble->what : NULL;
}

const char *store_trouble(void)
{
	const char *what = lane_trouble(&writer);
	return what ? what : lane_trouble(&reader);
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
	for (struct store_op *part = *op, *next; part; part = next) {
		next = part->also;
		rows_clear(part);
		free(part); /* the first member of its block */
	}
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
	struct store_stream *stream = op->stream;
	if (stream)
		stream->under_way--;
	op->done(op);
	if (stream)
		stream->answered(stream, op);
	if (!op->keep)
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

/* ---- streams ---- */

static bool stream_broken(const struct store_op *op)
{
	return op->stream && atomic_load(&op->stream->broken);
}

/* Its outcome is known: what is behind it in its stream must not happen without it. */
static void stream_take(const struct store_op *op)
{
	if (op->breaks && op->err == ERR_OVERLOADED)
		atomic_store(&op->stream->broken, true);
}

/* ---- the two lanes' work ---- */

/* Of the store or of our SQL, not of what was asked. */
static bool is_failure(enum err err)
{
	return err == ERR_INTERNAL || err == ERR_OVERLOADED;
}

/* While another program has the lock: who has waited too long for it is answered and taken out. They
 * are in front: the group is in the order asked. Returns what is left. */
static struct post *answer_late(struct post *all)
{
	int64_t now = clock_steady_ms();
	for (struct store_op *op; (op = (struct store_op *)all);) {
		if (now - op->own->asked_at < STORE_WAIT_MS)
			break;
		all = all->next;
		op->err = driver_says(&writer, ERR_OVERLOADED);
		stream_take(op);
		metric_add(METRIC_STORE_REFUSED, 1);
		answer(op);
	}
	return all;
}

/* Begins the group's transaction; tries as long as anybody is left. Returns what is left of it. */
static struct post *begin_group(struct post *all, enum err *ret_err)
{
	do {
		driver_begins(&writer);
		*ret_err = driver_says(&writer, engine->begin(writer.db));
		if (*ret_err == ERR_TIMEOUT)
			all = answer_late(all);
	} while (*ret_err == ERR_TIMEOUT && all);
	return all;
}

static enum err run_group(struct post *all)
{
	for (struct post *p = all; p; p = p->next) {
		struct store_op *op = (struct store_op *)p;
		driver_begins(&writer);
		op->err = stream_broken(op) ? ERR_OVERLOADED
					    : driver_says(&writer, engine->run(writer.db, op));
		stream_take(op);
	}
	driver_begins(&writer);
	return driver_says(&writer, engine->commit(writer.db));
}

/* The ops know their outcome now. One that failed alone (a conflict) was undone alone; when the group
 * fails all of it does: even a conflict may have been one with a row that is not there after all. */
static void settle_group(struct post *all, enum err err)
{
	int64_t good = 0, failed = 0;
	for (struct post *p = all; p; p = p->next) {
		struct store_op *op = (struct store_op *)p;
		if (err)
			op->err = ERR_OVERLOADED;
		stream_take(op);
		rows_settle(op);
		good += op->err == ERR_OK;
		failed += is_failure(op->err);
	}
	metric_add(METRIC_STORE_WRITES, good);
	metric_add(METRIC_STORE_COMMITS, good > 0);
	metric_add(METRIC_STORE_FAILED, failed);
}

static void write_group(struct post *all)
{
	enum err err;
	all = begin_group(all, &err);
	if (all) {
		if (!err)
			err = run_group(all);
		settle_group(all, err);
	}
	driver_rests(&writer);
	answer_all(all);
}

/* All of the group was asked before its read transaction begins, so it sees whatever was answered
 * before. Each is answered as soon as it is read. */
static void read_group(struct post *all)
{
	driver_begins(&reader);
	enum err err = engine->begin(reader.db);
	if (err) /* a reader waits for nobody's lock but in the moments of a recovery */
		driver_says(&reader, ERR_OVERLOADED);
	while (all) {
		struct post *next = all->next;
		struct store_op *op = (struct store_op *)all;
		driver_begins(&reader);
		op->err = err ? ERR_OVERLOADED : driver_says(&reader, engine->run(reader.db, op));
		metric_add(METRIC_STORE_FAILED, is_failure(op->err));
		rows_settle(op);
		answer(op);
		all = next;
	}
	if (!err)
		engine->rollback(reader.db); /* nothing to keep: only lets go of the snapshot */
	driver_rests(&reader);
}

/* Whether it works again: without this a service that is taken out of use because of store_trouble()
 * would be asked nothing that could prove it well. Tried once: nobody waits for it. */
static void probe(struct lane *lane)
{
	const struct store_value args[] = {
		STORE_TEXT(STR("store.probed_at")), STORE_INT(time(NULL)), STORE_END};
	struct store_op *op = op_new(lane == &writer ? STORE_SETTING_PUT : STORE_SETTING_GET, args);
	sem_init(&op->own->answered, 0, 0);
	op->own->asked_at = -STORE_WAIT_MS;
	lane->handle(&op->post);
	sem_destroy(&op->own->answered);
	store_op_free(&op);
}

static void wait_for_work(struct lane *lane)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PROBE_MS / 1000;
	bool timeout =
		sem_clockwait(&lane->work, CLOCK_MONOTONIC, &until) != 0 && errno == ETIMEDOUT;
	if (timeout && atomic_load(&lane->trouble))
		probe(lane);
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
	op->own->asked_at = clock_steady_ms();
	pthread_mutex_lock(&lane->gate);
	enum err err = ERR_OVERLOADED;
	if (lane->open && !is_silent(lane))
		err = inbox_post_call(&lane->inbox, &op->post);
	pthread_mutex_unlock(&lane->gate);
	if (err) {
		metric_add(METRIC_STORE_REFUSED, 1);
		op->err = err;
		stream_take(op);
		answer(op);
	}
}

struct store_op *store_part(enum store_verb verb, const struct store_value *args)
{
	return op_new(verb, args);
}

void store_submit_parts(struct store_op *first, void (*done)(struct store_op *), void *context,
	struct store_stream *stream)
{
	for (struct store_op *part = first; part; part = part->also) {
		assert(part == first || store_verb_writes(part->verb));
		rows_clear(part);
	}
	first->err = ERR_OK;
	first->keep = false;
	first->done = done;
	first->context = context;
	first->own->worker = worker_self();
	assert(first->own->worker);
	first->stream = stream;
	if (stream)
		stream->under_way++;
	place(first);
}

void store_submit(enum store_verb verb, void (*done)(struct store_op *), void *context,
	const struct store_value *args)
{
	store_submit_parts(op_new(verb, args), done, context, NULL);
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
	metric_add(METRIC_STORE_TROUBLE, atomic_exchange(&lane->trouble, NULL) ? -1 : 0);
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
	if (reader.db)
		engine->close(&reader.db);
	if (writer.db)
		engine->close(&writer.db);
	engine = NULL;
}
