/* capture_parts.h: what the files of capture share: all that its triggers must know of a table, and their SQL.
 * Thread: any; a table's description belongs to whoever asked for it. */
#pragma once

#include "core/buf.h"
#include "dataset/capture.h"

enum {
	UNIQUES_MAX = 64,        /* UNIQUE indexes of one table */
	SQL_BYTES_MAX = 1 << 20, /* of one statement of ours */
	OBJECTS_MAX = 11,
};

/* What stands at one place of a UNIQUE index. */
struct unique_part {
	enum { UNIQUE_COLUMN, UNIQUE_ROWID, UNIQUE_EXPRESSION } kind;
	size_t column;    /* its place in the layout */
	char *expression; /* as the index has it, without comments */
	char *collation;
};

struct unique {
	size_t count;
	struct unique_part *parts;
	char *where; /* of a partial index; NULL: all rows are in it */
	bool key;    /* the table's own key */
};

struct captured {
	struct layout *layout;
	const char *rowid; /* a name by which the rowid can be asked for; NULL: there is none */
	bool null_keys; /* SQLite lets NULL into the key: rows with one are no part of a dataset */
	size_t unique_count;
	struct unique uniques[UNIQUES_MAX]; /* the key is the first */
	char *defaults
		[LAYOUT_COLUMNS_MAX]; /* of columns that REPLACE gives their default instead of NULL */
};

/* As capture_layout(), with all else. */
enum err captured_read(sqlite3 *db, struct str table, struct captured **ret, char *ret_why);
void captured_free(struct captured **c);

/* capture_unique.c: reads the table's UNIQUE indexes into it. */
enum err uniques_read(sqlite3 *db, struct captured *c, char *ret_why);
void uniques_free(struct captured *c);

/* capture_sql.c: what stands in the file for table N; each as SQLite keeps its text. */
struct objects {
	size_t count;
	struct object {
		char name[32];
		struct buf sql;
	} list[OBJECTS_MAX];
};
void objects_make(const struct captured *c, struct objects *ret);
void objects_free(struct objects *o);
/* What the columns were when the table was captured. */
void columns_describe(const struct captured *c, struct buf *b);

/* capture.c: what writes stands between these; with err it is rolled back, and err comes back. */
enum err capture_begin(sqlite3 *db, char *ret_why);
enum err capture_end(sqlite3 *db, enum err err, char *ret_why);

/* capture_log.c: the numbers of the tables that are captured; the caller frees them. */
enum err log_ids(sqlite3 *db, int64_t **ret_ids, size_t *ret_count, char *ret_why);

/* capture_run.c: statements. What fails is said in ret_why: ERR_OVERLOADED where the file is in trouble (trouble_of()
 * of the connection says which), else ERR_INTERNAL. */
enum err sql_failed(sqlite3 *db, char *ret_why);
enum err sql_run(sqlite3 *db, const char *sql, char *ret_why);
enum err sql_run_buf(sqlite3 *db, struct buf *b, char *ret_why); /* frees it */
/* A statement to be finalized; numbers or texts for its parameters. NULL: failed, and said why. */
sqlite3_stmt *sql_ask(sqlite3 *db, const char *sql, struct str text, char *ret_why);
/* Calls row() for each of its rows, until one fails. */
enum err sql_each(sqlite3 *db, const char *sql, struct str text,
	enum err (*row)(void *context, sqlite3_stmt *s, char *ret_why), void *context,
	char *ret_why);
/* The first column of its first row. absent: what it is without one. */
enum err sql_number(sqlite3 *db, const char *sql, int64_t absent, int64_t *ret, char *ret_why);
struct str text_of(sqlite3_stmt *s, int column); /* until its next step */
