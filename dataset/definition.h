/* definition.h: what an operator says about a dataset: where its table is, and who may do what with its
 * rows. Immutable once made, counted references, any thread. A changed dataset is another definition. */
#pragma once

#include "core/str.h"

#include <stddef.h>

enum { DATASET_NAME_MAX = 64, DEPENDS_MAX = 8, HIDDEN_MAX = 32, RULE_MAX = 4096 };

enum rule_of { RULE_READ, RULE_INSERT, RULE_UPDATE, RULE_DELETE, RULES };

/* A column that is not there for a caller, unless the predicate over the caller holds. */
struct hidden_column {
	struct str column;
	struct str unless; /* SQL over the caller alone; n 0: nobody sees it */
};

struct definition {
	struct str name;
	struct str database;     /* an absolute path */
	struct str table;        /* or a view, which then has key columns */
	struct str rules[RULES]; /* SQL predicates (rule.h); n 0: nobody */
	size_t depend_count, hidden_count, key_count;
	struct str *depends; /* tables that rules look into */
	struct hidden_column *hidden;
	struct str *key; /* of a view */
	bool configured; /* by the configuration file: no command changes it */
};

/* A copy of everything in it, with one reference. */
struct definition *definition_new(const struct definition *from);
struct definition *definition_ref(const struct definition *d);
void definition_unref(struct definition **d);
