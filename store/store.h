/* store.h: where things are kept. Everything above speaks to this table of verbs; which engine runs
 * behind it (SQLite today) is known to the driver alone.
 *
 * A verb is a row of store/verbs.def. Writes go to one writer thread that commits in groups: all
 * that waits goes into one transaction, each operation in a SAVEPOINT of its own; an operation is
 * answered only after the commit that made it durable. Reads run on another thread and connection,
 * and see every write that was answered before they were asked.
 *
 * Nothing waits longer than STORE_WAIT_MS for its turn: while another program has locked the database
 * the writer goes on trying, and whoever has waited so long is answered with ERR_OVERLOADED and taken
 * out, so that it will not happen afterwards. Once its turn has come it waits for the disk, because
 * nobody knows before that whether it is kept; while the disk does not answer, what is asked anew
 * is refused at once. Reads go on while writes fail, as far as the disk lets them.
 *
 * Thread: store_ask() on any worker, done() runs on that same worker. store_ask_now() on threads
 * that are no workers (start, command line): it waits. store_open() and store_close() on the main
 * thread. */
#pragma once

#include "core/err.h"
#include "core/inbox.h"
#include "core/str.h"

#include <stdatomic.h>
#include <stdint.h>

enum store_verb {
#define STORE(verb, kind, sql) STORE_##verb,
#include "store/verbs.def"
#undef STORE
	STORE_VERBS
};

enum {
	STORE_ARGS_MAX = 16,
	STORE_ROWS_MAX = 10000,    /* of one answer; more is ERR_TOO_LARGE */
	STORE_BYTES_MAX = 1 << 20, /* of text and blobs in one answer; more is ERR_TOO_LARGE */
	STORE_WAIT_MS = 3000,      /* for an operation's turn; then ERR_OVERLOADED */
};

struct store_value {
	enum { STORE_IS_END, STORE_IS_NULL, STORE_IS_INT, STORE_IS_TEXT, STORE_IS_BLOB } kind;
	int64_t number;
	struct str bytes;
};

#define STORE_INT(n) ((struct store_value){STORE_IS_INT, (int64_t)(n), {0}})
#define STORE_TEXT(s) ((struct store_value){STORE_IS_TEXT, 0, (s)})
#define STORE_BLOB(s) ((struct store_value){STORE_IS_BLOB, 0, (s)})
#define STORE_NULL ((struct store_value){.kind = STORE_IS_NULL})
#define STORE_END ((struct store_value){.kind = STORE_IS_END})

struct store_op {
	struct post post;
	enum store_verb verb;
	size_t arg_count;
	struct store_value args[STORE_ARGS_MAX]; /* bytes are the op's own copies */
	void (*done)(struct store_op *op); /* frees nothing: the store frees the op after it, */
	bool keep; /* unless it has set this: then the op is its own, to be asked again or freed */
	void *context;
	struct store_op *also; /* the next part of the same write, see store_submit_parts() */
	struct store_stream *stream;
	bool breaks;   /* answered with ERR_OVERLOADED, it breaks its stream */
	unsigned mark; /* the asker's own */
	/* the answer */
	enum err err; /* OK; NOT_FOUND (a write that changed nothing, a get with no row); CONFLICT
	               * (a constraint); TOO_LARGE (the answer); OVERLOADED (the store cannot do it now:
	               * it is in trouble or closed, too much waits, or it took too long); INTERNAL (our
	               * own SQL is wrong). With any but OK nothing was changed nor will be, and there
	               * are no rows */
	size_t rows, columns;
	struct store_value *cells; /* rows * columns */
	struct store_op_private *own;
};

/* store_ask(STORE_USER_GET, done, context, STORE_TEXT(name), STORE_END): done is always called,
 * never before store_ask returns. */
#define store_ask(verb, done, context, ...) \
	store_submit(verb, done, context, (const struct store_value[]){__VA_ARGS__})
void store_submit(enum store_verb verb, void (*done)(struct store_op *), void *context,
	const struct store_value *args);

/* The same, waiting for it. The caller frees the op with store_op_free(). */
#define store_ask_now(verb, ...) store_submit_now(verb, (const struct store_value[]){__VA_ARGS__})
struct store_op *store_submit_now(enum store_verb verb, const struct store_value *args);
void store_op_free(struct store_op **op);

/* One write made of several: the parts, linked by `also`, happen in this order in one savepoint, all of
 * them or none. store_part() makes one of them; what is submitted is the store's. The answer, rows
 * too, is the first part's. An op that done() has kept can be submitted once more. */
struct store_op *store_part(enum store_verb verb, const struct store_value *args);
void store_submit_parts(struct store_op *first, void (*done)(struct store_op *), void *context,
	struct store_stream *stream);

/* Writes of one worker of which a later one may not happen without an earlier one. When one that
 * `breaks` is answered with ERR_OVERLOADED, all behind it are, until the stream's owner mends it: it
 * may do so when none is under way. One thread's; only `broken` is the store's as well. */
struct store_stream {
	atomic_bool broken;
	size_t under_way;
	void (*answered)(struct store_stream *s, const struct store_op *op); /* after its done() */
};

/* One cell of the answer. Text and blob of a NULL cell: n 0. */
static inline struct str store_str(const struct store_op *op, size_t row, size_t column)
{
	return op->cells[row * op->columns + column].bytes;
}

static inline int64_t store_int(const struct store_op *op, size_t row, size_t column)
{
	return op->cells[row * op->columns + column].number;
}

/* What keeps a store from working, and what a person does about it. Constant texts. */
struct store_trouble {
	const char *what, *remedy;
};

/* What an error of the system (errno) at the files of a store means. NULL: nothing more than it says. */
const struct store_trouble *store_trouble_errno(int error);

/* A driver: how one engine does it. All functions run on the store's own threads. */
struct store_db;
struct store_driver {
	const char *name;
	/* Opens, migrates when for_writing. The message of a failure goes to ret_why (a buffer of
	 * STORE_WHY_MAX bytes): a sentence for a person. */
	enum err (*open)(
		const char *place, bool for_writing, struct store_db **ret_db, char *ret_why);
	void (*close)(struct store_db **db);
	/* ERR_TIMEOUT: somebody else has the lock and may let go of it soon: nothing has begun, to be
	 * tried again. It waits for that itself, but much shorter than STORE_WAIT_MS. */
	enum err (*begin)(struct store_db *db);
	enum err (*commit)(struct store_db *db); /* a failure has rolled everything back */
	void (*rollback)(struct store_db *db);
	enum err (*run)(struct store_db *db, struct store_op *op); /* in a savepoint when writing */
	/* Why the last of these three failed with ERR_OVERLOADED or ERR_TIMEOUT; NULL: the log has said
	 * it. The engine's own words go to ret_detail (STORE_WHY_MAX bytes). */
	const struct store_trouble *(*trouble)(struct store_db *db, char *ret_detail);
};

enum { STORE_WHY_MAX = 512 };

extern const struct store_driver store_sqlite;

/* Passes everything to another driver, but makes what its plan says fail or take long: tests.
 * (store/fault.h) */

/* Opens the one store of this process. queue_max: writes that may wait, and as many reads; then
 * ERR_OVERLOADED. On failure nothing is open, and ret_why (STORE_WHY_MAX bytes) says why. */
enum err store_open(
	const struct store_driver *driver, const char *place, size_t queue_max, char *ret_why);

/* Answers all that waits, then closes; what is asked later is answered with ERR_OVERLOADED. The
 * workers must still be there if something of theirs can be waiting. */
void store_close(void);

/* What keeps the store from working now ("the disk is full"), NULL while it is well: /ready shows it.
 * The store then tries something of its own every few seconds, so that this ends when its reason
 * does. Not open is not well. Any thread. */
const char *store_trouble(void);
