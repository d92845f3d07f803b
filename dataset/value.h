/* value.h: one cell as SQLite holds it, and as JSON says it (docs/PROTOCOL.md, "Values"): numbers, texts and
 * null as they are, and tagged what JSON would change: {"$b": base64} {"$i": "9007199254740993"} {"$r": "Inf"}
 * {"$t": base64} {"$big": bytes}. Doubles come out so that they read back bit for bit, and always with a point or an
 * exponent, so that 1.0 is no integer; NaN is null, as SQLite itself has it. Base64 is RFC 4648 section 4, with its
 * padding. Any thread. */
#pragma once

#include "core/buf.h"
#include "core/err.h"
#include "core/record.h"

#include <sqlite3.h>
#include <stdint.h>

struct value {
	enum value_kind { VALUE_NULL, VALUE_INT, VALUE_REAL, VALUE_TEXT, VALUE_BLOB } kind;
	int64_t number;
	double real;
	struct str bytes; /* text or blob */
};

enum {
	CELL_BYTES_MAX =
		192 * 1024,     /* of a row's JSON; past it its largest cells are told as $big */
	CELL_NUMBER_MAX = 1100, /* characters of a number that a client sends */
	CELLS_MAX = 256,        /* of one row: LAYOUT_COLUMNS_MAX */
};

struct value value_of(sqlite3_stmt *s, int column); /* lies in the statement, until its next step */
enum err value_bind(sqlite3_stmt *s, int index, struct value v); /* copies the bytes */
void value_write(struct buf *b, struct value v);
void value_write_big(struct buf *b, struct value v); /* as {"$big": bytes} */
/* One row: an array of count cells, of which the largest are told as $big as far as they have to be. */
void value_write_row(struct buf *b, const struct value *cells, size_t count);
/* The same; those that are marked in whole (a place for each cell) stay what they are. */
void value_write_row_with(
	struct buf *b, const struct value *cells, size_t count, const bool *whole);
/* Reads a cell that a client sent, JSON that has been checked. Bytes are decoded into arena (which the caller gives
 * with room for json.n bytes, and frees behind the value). ERR_PARAMS: it is no cell; why is a constant text that
 * goes on where a sentence has named the field ("is …"). A whole number past 64 bits is a real, as in SQLite. */
enum err value_read(struct str json, char *arena, struct value *ret, const char **ret_why);
/* A position as clients say it, a whole number as a string. False: it is none. */
bool value_read_seq(struct str text, int64_t *ret_seq);
/* As a record, and back: bytes lie in what is read, at most max of them. */
void value_put(struct buf *b, struct value v);
struct value value_get(struct record_reader *r, size_t max);
bool value_eq(struct value a, struct value b); /* the same kind and bits */
