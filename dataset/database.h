/* database.h: one attached SQLite file: a thread that watches it and tells what has changed, one that writes to it, and
 * connections for reading in a pool that all databases share. What is wrong with a file is its own trouble: it is
 * retried until it is over, and nothing else waits for it.
 *
 * Thread: functions on any worker unless said; what comes back comes to the worker that asked, as a post. */
#pragma once

#include "core/pool.h"
#include "core/worker.h"
#include "dataset/live.h"
#include "dataset/steps.h"

struct database;

/* The state of a dataset, for people. */
enum dataset_state { DATASET_STARTING, DATASET_LIVE, DATASET_TROUBLE };
struct dataset_status {
	enum dataset_state state;
	char what[256], remedy[256]; /* of a trouble */
	char epoch[EPOCH_BYTES + 1];
	int64_t seq, floor;
	int64_t log_rows, log_bytes;
};

struct attached; /* one dataset in its database */

/* What the home of a dataset is told, in the order that it happened. LEAP, RESET and TROUBLE end what was joined:
 * whoever had joined is as any other reader from there on, and must not database_leave(). */
struct tidings {
	struct post post; /* the listener frees the tidings, tidings_free() */
	const struct definition *definition;
	enum tidings_kind {
		TIDINGS_LIVE, /* capture is live (again): epoch, at, layout */
		TIDINGS_STEP, /* all up to `at`: told has the shapes concerned; the others moved without ops. One
		               * without any comes some times a second at most */
		TIDINGS_LEAP,  /* so much at once that readers catch up by themselves: up to `at` */
		TIDINGS_RESET, /* for all readers: reset (epoch, schema); LIVE or TROUBLE follows */
		TIDINGS_TROUBLE /* nothing comes until the next LIVE; readers wait */
	} kind;
	enum step_reset reset;
	char epoch[EPOCH_BYTES + 1];
	int64_t at;
	const struct layout *layout;
	size_t told_count;
	struct told {
		const struct shape *shape;
		size_t part_count;
		struct str *parts;   /* ops of each, own bytes */
		struct window *have; /* of a window: what its readers have behind them */
	} * told;
	struct attached *attached; /* the database's own, these three */
	unsigned life;
	size_t bytes;
};
void tidings_free(struct tidings **t);

/* Attaches the dataset's table (main thread or worker; the file is opened and captured on its own threads). home: the
 * worker whose run() gets the tidings. One database for all datasets of one file (its real path). */
struct attached *database_attach(
	const struct definition *d, struct worker *home, void (*run)(struct post *tidings));
/* No tidings come any more when done() has run on the home, and no job is under way. drop: what captures the table is
 * taken out of the file, unless another dataset needs it. */
void database_detach(struct attached **a, bool drop, void (*done)(void *context), void *context);

void database_status(struct attached *a, struct dataset_status *ret); /* any thread */
struct layout *database_layout(
	struct attached *a); /* a reference to it as it is now; NULL: not live; any thread */

/* One step of a reader in the pool, asked for at the dataset's home. done() there; owns s. ERR_OVERLOADED: trouble, or
 * the file is not any more what the last tidings that came home said of it (others are on the way): to be taken again,
 * but not at once. */
struct step_job {
	struct job job;
	struct attached *attached;
	const struct shape *shape;
	struct standing_at at;
	enum err err;
	struct step_result *result;
	void (*done)(struct step_job *s);
	void *context;
	unsigned life; /* the database's own, these two */
	char epoch[EPOCH_BYTES + 1];
};
enum err database_step(struct step_job *s); /* ERR_OVERLOADED: untouched */

/* The last step before going live, on the database's thread, where it falls between two TIDINGS: when it is answered with
 * at_head, the shape is live from result->next.seq on, and the next TIDINGS_STEP continues there exactly. Without it the
 * reader is still far, and takes more steps first. Each successful one is undone by database_leave(), or by tidings
 * (above). At the dataset's home. */
void database_join(struct step_job *s);
void database_leave(struct attached *a, const struct shape *shape);

/* The slowest position that somebody still reads from (of this dataset): the log is kept from there on, within its
 * limits. INT64_MAX: nobody is behind. */
void database_slowest(struct attached *a, int64_t seq);

/* Runs on the thread that writes, with its connection and no transaction open; then done() on the asking worker. After it
 * the watching thread looks at once. ERR_OVERLOADED: not run (trouble, too much waits, or it has waited too long); err of
 * the job is run()'s to set. While another program writes, SQLite waits within run() for what is left of DATABASE_WAIT_MS
 * (then SQLITE_BUSY). The connection has foreign_keys on and leaves `synchronous` as it is by default, FULL: what was
 * answered is on disk. */
enum { DATABASE_WAIT_MS = 3000 };
struct write_job {
	struct post post;
	struct attached *attached;
	int worker;
	enum err err;
	void (*run)(struct write_job *j, sqlite3 *db, const struct layout *layout);
	void (*done)(struct write_job *j);
	int64_t asked_at; /* the database's own */
};
enum err database_write(struct write_job *j);

/* The same in a pool, for reading, another than that of steps: run() between reading_begin() and reading_end(); err is run()'s to set.
 * ERR_OVERLOADED without run(): trouble, or the file is changing its form just now. */
struct read_job {
	struct job job;
	struct attached *attached;
	enum err err;
	struct head head;
	const struct layout *layout; /* as it is in this transaction; until done() is over */
	void (*run)(struct read_job *j, struct reading *r);
	void (*done)(struct read_job *j);
};
enum err database_read(struct read_job *j);

struct database_options {
	int64_t keep_ms, keep_bytes; /* of the log */
	int64_t lag_max, hold_bytes; /* that a slow reader may hold back: changes, and of the log */
	unsigned poll_ms;            /* between looks without a wake */
	int readers;                 /* threads of each pool */
};
void databases_configure(
	const struct database_options *o); /* any time; readers count at the start */
enum err databases_start(void);            /* main thread, before workers_start */
/* Main thread, behind workers_drain and before workers_stop: all is detached, no job is under way then. */
void databases_stop(void);
