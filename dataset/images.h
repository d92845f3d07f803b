/* images.h: rows of a captured table as they were and as they became, out of the log into a temporary table of a reading
 * that has the table's affinities and collations: a predicate says of them what it would have said of the table. Each is
 * in a slot ("_sb_slot"), even for what was, odd for what came to be.
 *
 * Of a dataset's own table: of a range, where the slot is twice the change's number, or of each key what it was before the
 * range and what it is behind it. Of a table that rules look into always the latter, and with it two views:
 * temp."_sb_wNAME", the whole table, and temp."_sb_dNAME", of it only what has changed in the range; both as it was
 * before, or as it is (images_as()).
 *
 * Thread: the reading's, between reading_begin() and reading_end(). */
#pragma once

#include "core/buf.h"
#include "dataset/changes.h"
#include "dataset/reading.h"

struct images {
	struct images *next;
	const struct layout *layout;
	bool of_depend; /* the second kind */
	bool strict;    /* the table is */
	bool filled;
	struct str name;               /* temp."_sb_…", quoted */
	struct str clear;              /* statements */
	struct str fill_old, fill_new; /* of a range */
	struct str put_old, put_new;   /* of one change */
	struct str any;                /* whether the log has something of a range */
	struct str log;                /* main."_sb_cN" */
};

enum {
	IMAGES_SQL_MAX = 256 * 1024, /* of one statement's text */
	IMAGES_BYTES_MAX = 48 << 20  /* of one table's images: they lie in memory */
};

/* The temporary table for a layout, empty; made where it is not there. The pointer is good until reading_end(). */
enum err images_of(struct reading *r, const struct layout *l, struct images **ret);
/* The same for a table that rules look into, as it is in the transaction. ERR_NOT_FOUND: it is not captured. */
enum err images_of_depend(struct reading *r, struct str table, struct images **ret);
/* Whether the images of one layout are those of the other. */
bool images_serve(const struct layout *a, const struct layout *b);
void images_forget(struct images **list); /* all; the tables are made anew then */

enum err images_clear(struct reading *r, struct images *i);
/* All of (from, upto], which the changes are of; the change of `from` + 1 has number 0. ERR_TOO_LARGE: more than
 * IMAGES_BYTES_MAX. */
enum err images_fill(struct reading *r, struct images *i, int64_t from, int64_t upto,
	const struct changes *changes);
/* Of each key, by its number: what it was, and what it is. ERR_TOO_LARGE: the same. */
enum err images_put(struct reading *r, struct images *i, const struct merging *m);
/* The same out of the log, of a table that rules look into. ERR_TOO_LARGE: also more than max changes. */
enum err images_fill_depend(
	struct reading *r, struct images *i, int64_t from, int64_t upto, size_t max, bool *ret_any);
/* How the views of all such tables are from here on. */
enum err images_as(struct reading *r, bool now);
/* Whether the log of a table has anything of (from, upto]. */
enum err images_any(
	struct reading *r, const struct images *i, int64_t from, int64_t upto, bool *ret_any);

/* Appends the declaration of a column that compares as this one does: 'TEXT COLLATE "NOCASE"'. */
void images_column(struct buf *sql, const struct images *i, size_t column);

/* Appends "a"."b" to SQL. */
void sql_dotted(struct buf *sql, struct str table, struct str column);
