/* shape.h: what one reader asked to see, as whom: the dataset's read rule with the caller's values in it, a filter,
 * columns, an order with a limit. Readers that see the same rows in the same way have the same shape, whoever they
 * are. Compiled once to SQL text with named parameters; never with a client's text in it.
 *
 * Immutable, counted references, any thread. */
#pragma once

#include "core/principal.h"
#include "core/refusal.h"
#include "dataset/definition.h"
#include "dataset/layout.h"
#include "dataset/value.h"

enum {
	SHAPE_ID_BYTES = 22,
	SHAPE_LIMIT_MAX = 1000, /* rows of a window */
	SHAPE_WHERE_MAX = 8192, /* bytes of JSON */
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

/* ERR_PARAMS, ERR_TOO_LARGE with what is wrong; ERR_FORBIDDEN: the rule says nobody, or a column is not for them (a
 * hidden one is as if it did not exist). The strings of ret_why are constant or lie in the wish. */
enum err shape_new(const struct shape_wish *wish, const struct definition *d,
	const struct layout *l, const struct principal *who, struct shape **ret_shape,
	struct refusal *ret_why);
struct shape *shape_ref(const struct shape *s);
void shape_unref(struct shape **s);
