/* shape.h: what one reader asked to see, as whom: the dataset's read rule with the caller's values in it, a filter,
 * columns, an order with a limit. Readers that see the same rows in the same way have the same shape, whoever they
 * are. Compiled once to SQL text with named parameters; never with a client's text in it.
 *
 * Immutable, counted references, any thread. */
#pragma once

#include "core/principal.h"
#include "dataset/definition.h"
#include "dataset/layout.h"
#include "dataset/value.h"
#include "dataset/where.h"

enum {
	SHAPE_ID_BYTES = 22,
	SHAPE_LIMIT_MAX = 1000, /* rows of a window */
	SHAPE_WHERE_MAX = WHERE_BYTES_MAX,
	SHAPE_ORDER_MAX = 8,
	SHAPE_PARAMS_MAX = 256,
};

struct shape_wish { /* JSON as it came, n 0: not given; all checked to be well-formed */
	struct str where, columns, order;
	int64_t limit; /* 0: none */
	bool notify;
};

struct shape_param {
	char name[36]; /* ":user", ":w3" */
	struct value value;
};

struct order_term {
	size_t column;
	bool descending;
};

/* column = value holds for every row of the shape, by the column's affinity and collation */
struct shape_equal {
	size_t column; /* SIZE_MAX: none is known */
	struct value value;
};

struct shape {
	char id[SHAPE_ID_BYTES + 1]; /* `shape` and `sub` */
	const struct definition *definition;
	const struct layout *layout;
	size_t column_count, order_count, param_count;
	size_t *columns; /* places in the layout, in the order that rows have */
	struct order_term *order;
	int64_t limit; /* 0: no window */
	bool notify;
	struct str
		predicate; /* rule and filter; the table is called by its name, depends are main's */
	struct str predicate_wide; /* the same, depends as temp."_sb_w<their name>" */
	size_t delta_count;        /* places where the rule looks into a depends table */
	struct shape_delta {
		struct str
			predicate; /* this place looks into temp."_sb_d<name>", all others are wide */
		struct str depend;
		/* column = value in it holds of all rows of that table that count here; column n 0: unknown */
		struct str column;
		struct value value;
	} * deltas;
	struct shape_param *params;
	struct shape_equal equal;
};

/* ERR_PARAMS, ERR_TOO_LARGE with what is wrong (a hidden column is as if it did not exist: no_such_column);
 * ERR_FORBIDDEN not_readable: there is no rule for reading; ERR_OVERLOADED dataset_unavailable: the rule does not fit the
 * table any more. It keeps references to d and l. */
enum err shape_new(const struct shape_wish *wish, const struct definition *d,
	const struct layout *l, const struct principal *who, struct shape **ret_shape,
	struct wish_problem *ret_problem);
struct shape *shape_ref(const struct shape *s);
void shape_unref(struct shape **s);

/* Binds each parameter that the statement has by its name; those of the statement that are not among them stay. */
enum err shape_bind(sqlite3_stmt *stmt, const struct shape_param *params, size_t count);

/* The order in full: the shape's own, then what of the key is not in it. Returns how many. */
enum { SHAPE_TERMS_MAX = SHAPE_ORDER_MAX + KEY_COLUMNS_MAX };
size_t shape_terms(const struct shape *s, struct order_term ret_terms[SHAPE_TERMS_MAX]);
/* Appends a column as BINARY compares it. */
void shape_column_sql(struct buf *b, const struct shape *s, size_t column);
/* Appends ' ORDER BY …': all terms as BINARY has them (NULL first). */
void shape_order_sql(struct buf *b, const struct shape *s);

/* A rule for writing with the caller's values in it: the table is called by its name, depends are main's. In one block:
 * free(). ERR_FORBIDDEN: there is no such rule; ERR_OVERLOADED: it does not fit the table any more. */
struct ruling {
	struct str predicate;
	size_t param_count;
	struct shape_param params[];
};
enum err ruling_new(const struct definition *d, enum rule_of which, const struct layout *l,
	const struct principal *who, struct ruling **ret_ruling);
