/* images.h: rows of a captured table as they were and as they became, out of the log into a temporary table of a reading
 * that has the table's affinities and collations: a predicate says of them what it would have said of the table.
 *
 * Two kinds: of a dataset's own table, each image in a slot (its "_sb_slot"): twice the change's number, and one more for
 * the new one; and of a table that rules look into, as temp."_sb_dNAME", with a view temp."_sb_wNAME" that has all rows
 * of the table as well.
 *
 * Thread: the reading's, between reading_begin() and reading_end(). */
#pragma once

#include "core/buf.h"
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

enum { IMAGES_SQL_MAX = 256 * 1024 }; /* of one statement's text */

/* The temporary table for a layout, empty; made where it is not there. The pointer is good until reading_end(). */
enum err images_of(struct reading *r, const struct layout *l, struct images **ret);
/* The same for a table that rules look into, as it is in the transaction. ERR_NOT_FOUND: it is not captured. */
enum err images_of_depend(struct reading *r, struct str table, struct images **ret);
void images_forget(struct images **list); /* all; the tables are made anew then */

enum err images_clear(struct reading *r, struct images *i);
/* All of (from, upto]; the change of `from` + 1 has number 0. ret_any: there were some. */
enum err images_fill(
	struct reading *r, struct images *i, int64_t from, int64_t upto, bool *ret_any);
enum err images_put(struct reading *r, struct images *i, int64_t seq, bool new_image, int64_t slot);
/* Whether the log of a table has anything of (from, upto]. */
enum err images_any(
	struct reading *r, const struct images *i, int64_t from, int64_t upto, bool *ret_any);

/* Appends the declaration of a column that compares as this one does: 'TEXT COLLATE "NOCASE"'. */
void images_column(struct buf *sql, const struct images *i, size_t column);

/* Appends "a"."b" to SQL. */
void sql_dotted(struct buf *sql, struct str table, struct str column);
