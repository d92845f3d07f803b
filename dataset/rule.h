/* rule.h: an operator's SQL predicate over a row and the caller, taken to pieces: what it may say, which of the
 * caller's values it uses, and the same predicate over other states of the tables that it looks into.
 *
 * What may stand in it (docs/PROTOCOL.md, "Rules"): columns, literals, the caller's values (caller.h), operators,
 * CASE, CAST, deterministic functions of a list. Subqueries only as EXISTS(SELECT … FROM … WHERE …) and
 * x IN (SELECT …), as whole operands of the AND and OR at the top, over tables of `depends`: then a row that is added
 * there can only make more visible, and one that goes only less. What is refused is refused by a sentence that says where.
 *
 * Immutable once made, one owner. Any thread. */
#pragma once

#include "core/buf.h"
#include "core/err.h"
#include "dataset/definition.h"
#include "dataset/layout.h"

#include <sqlite3.h>

enum {
	RULE_TOKENS_MAX = 1024,
	RULE_PARAMS_MAX = 32, /* different ones */
	RULE_PARAM_MAX = 35,  /* bytes of ":name" */
	RULE_PLACES_MAX = 16, /* where it looks into tables */
	RULE_DEPTH_MAX = 24,  /* brackets in brackets: SQLite's parser has 100 levels for all */
	RULE_WHY_MAX = 256,
};

/* `column = :param` holds of every row for which all holds. n 0: nothing like it is known. */
struct rule_equal {
	struct str column; /* as the rule spells it, without quotes */
	struct str param;  /* ":user" */
};

/* One table behind FROM, JOIN or a comma. */
struct rule_place {
	struct str depend; /* as `depends` spells it */
	struct rule_equal equal;
};

struct rule {
	size_t param_count, place_count;
	struct str params
		[RULE_PARAMS_MAX]; /* each once, in the order they come; in the rule's own text */
	struct rule_place places[RULE_PLACES_MAX];
	struct rule_equal equal; /* of the row itself */
	struct rule_private *own;
};

/* l NULL: a predicate over the caller alone, without a column or table (hidden_column.unless). ERR_PARAMS: it may not
 * be a rule, and ret_why (RULE_WHY_MAX bytes) says why. */
enum err rule_new(struct str text, const struct layout *l, const struct str *depends,
	size_t depend_count, struct rule **ret_rule, char *ret_why);
void rule_free(struct rule **r);

enum rule_view {
	RULE_NOW,  /* the tables as they are: main.NAME */
	RULE_WIDE, /* temp._sb_wNAME: with all images of a range as well */
	RULE_DELTA, /* one place looks into temp._sb_dNAME (those images alone), all others are wide */
};
/* Appends it as SQL, with brackets around it. place: of RULE_DELTA. */
void rule_sql(const struct rule *r, enum rule_view view, size_t place, struct buf *b);

/* Holds a rule against the database as SQLite understands it: it may read the dataset's table, `depends` and nothing else,
 * and every name in it is there. db: a connection without an authorizer, which is given one meanwhile. */
enum err rule_compile(const struct rule *r, sqlite3 *db, const struct layout *l,
	const struct str *depends, size_t depend_count, char *ret_why);

/* All rules of a definition and its hidden columns, for who adds it. ERR_PARAMS: ret_field (constant or the
 * definition's) says which, ret_why why. */
enum err rules_check(const struct definition *d, sqlite3 *db, const struct layout *l,
	struct str *ret_field, char *ret_why);

/* Whether a function may be called in a rule, and in what is made of one. */
bool rule_function(struct str name);
