/* attached.h: what the files of a database share (database.c, tail.c, writer.c, pruning.c, readers.c): one file, and
 * the datasets that are attached to it.
 *
 * A database has two threads. The one that watches (tail.c) owns all that is marked as the tail's; it is told things
 * by posts in its inbox. The one that writes (writer.c) has a connection and an inbox. What both and the workers
 * look at is atomic, or behind the lock. */
#pragma once

#include "dataset/capture.h"
#include "dataset/database.h"
#include "dataset/heads.h"
#include "dataset/watch.h"

#include "core/map.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	ATTACHED_TABLES_MAX = 1 + DEPENDS_MAX,
	READINGS_MAX = 4, /* of one database, kept for the next step */
};

struct attached {
	struct database *database;
	struct definition *definition;
	struct worker *home;
	void (*run)(struct post *tidings);
	atomic_size_t refs; /* the owner's, the tail's, and of each job and tidings under way */
	struct post post;   /* to the tail, that it is attached; then home, that it is detached */
	bool drop;
	void (*detached)(void *context);
	void *context;
	/* the home's: what has come home last */
	bool heard_live;
	unsigned heard_life;
	char heard_epoch[EPOCH_BYTES + 1];
	/* any thread's */
	_Atomic int64_t slowest;
	_Atomic(const struct store_trouble *) step_trouble;
	/* behind the database's lock */
	struct dataset_status status;
	struct layout *layout; /* as captured now; NULL: it is not */
	int64_t cookie;        /* of the schema for which that is known */
	/* the tail's */
	struct attached *next;
	bool live, leaving;
	unsigned life;               /* raised with all that ends joins, and with LIVE */
	struct layout *made;         /* as it has just been captured; not announced yet */
	char epoch[EPOCH_BYTES + 1]; /* as announced last; empty: never */
	int64_t version;             /* of the layout, the same */
	int64_t told_at, told_seq;   /* the last tidings of a step: when, and up to where */
	struct tidings *step;        /* being made */
};

/* What the writer makes sure of for the tail: that everything is captured. */
struct ensuring {
	struct post post;
	struct database *database;
	bool mend;      /* what stood does not stand any more */
	bool new_epoch; /* the file is not what it was */
	struct attached
		*dropped; /* only this: a reference, and the tables that nobody needs any more */
	struct str *drops;
	size_t count, drop_count;
	struct ensured {
		struct attached *attached; /* a reference */
		bool live;                 /* it was already */
		enum err err;              /* of this one */
		char why[CAPTURE_WHY_MAX];
		struct layout *layout;
	} * list;
	enum err err; /* of the file */
	char what[CAPTURE_WHY_MAX];
	const char *remedy;
};
void ensuring_free(struct ensuring **e);

struct tail;
struct writer;
struct database {
	struct str key; /* the real path; NUL behind it */
	char *path;     /* as it was named first; this is opened */
	struct database *next;
	size_t attached_count; /* behind the registry's lock, as next */
	pthread_t thread;
	struct watch *watch;
	struct inbox inbox; /* the tail's */
	struct tail *tail;
	struct writer *writer;
	atomic_uint file;          /* raised when another file is opened by this name */
	_Atomic int64_t flight;    /* bytes of tidings under way */
	_Atomic int64_t row_bytes; /* of the log; as measured last */
	pthread_mutex_t lock;      /* around what is below, and what says so above */
	size_t reading_count;
	struct kept_reading {
		struct reading *reading;
		unsigned file;
		int64_t since;
	} readings[READINGS_MAX];
};

/* ---- database.c ---- */

void attached_ref(struct attached *a);
void attached_unref(struct attached *a); /* with the last one it is told home that it is detached */
/* The tables that must be captured for it: its own, and those that its rules look into. They lie in the definition. */
size_t attached_tables(const struct attached *a, struct str ret[ATTACHED_TABLES_MAX]);
struct database_options database_options(void);
/* Behind the tail's end: true when nobody has attached anything meanwhile; then the database is out of the registry. */
bool database_ends(struct database *db);
void post_home(struct worker *home, struct post *p); /* how these threads post to workers */
/* Answers, on the worker that asked: */
void step_home(struct post *p);
void write_home(struct post *p);

/* ---- readers.c: connections for reading ---- */

/* trouble: of this file; NULL with an error: nothing of the file's. */
enum err readings_take(
	struct database *db, struct reading **ret, const struct store_trouble **ret_trouble);
void readings_give(struct database *db, struct reading *r, unsigned file, bool sound);
void readings_close(struct database *db, int64_t unused_since);

/* ---- tail.c ---- */

struct tail *tail_new(struct database *db);
void tail_free(struct tail **t);
void *tail_main(void *database);
void tail_attach(struct post *p);  /* posts to its inbox: of an attached */
void tail_join(struct post *p);    /* of a step_job */
void tail_ensured(struct post *p); /* of an ensuring */
void tail_detach(struct attached *a);
/* On any thread: */
void tail_leave(struct attached *a, const struct shape *shape);
void tail_received(struct attached *a, size_t bytes); /* tidings are not under way any more */

/* ---- writer.c ---- */

struct writer *writer_start(struct database *db); /* NULL: no thread can be had (logged) */
void writer_stop(struct writer **w);              /* waits for all that is asked */
enum err writer_ask(struct writer *w, struct write_job *j);
void writer_ensure(struct writer *w, struct ensuring *e);

/* Prunes up to what the limits say, with what is known now: where the log stands, what is older than may be kept, and
 * how far the slowest reader is. By and by, between other work. */
struct prune_wish {
	int64_t seq, floor;
	int64_t aged; /* all up to here is too old */
	int64_t hold; /* nothing behind this may go */
};
void writer_prune(struct writer *w, const struct prune_wish *wish);
