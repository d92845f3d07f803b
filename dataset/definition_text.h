/* definition_text.h: a definition as operators write it: in the configuration, on the command line, as the params of
 * dataset.add; and as it is shown and kept, which is the same JSON. Any thread. */
#pragma once

#include "core/json_out.h"
#include "core/refusal.h"
#include "dataset/definition.h"

enum { DEFINITION_WHY_MAX = 512, DATABASE_PATH_MAX = 4000, TABLE_NAME_MAX = 255 };

/* As it is written: `hide` has "column" and "column unless SQL". */
struct definition_words {
	struct str dataset, database, table, read, insert, update, delete;
	struct str depends, hide, key; /* JSON arrays of strings; n 0: none */
};
/* For a table of core/params.h. */
#define DEFINITION_FIELDS \
	FIELD(struct definition_words, dataset, STRING, true, 1, DATASET_NAME_MAX), \
		FIELD(struct definition_words, database, STRING, true, 1, DATABASE_PATH_MAX), \
		FIELD(struct definition_words, table, STRING, true, 1, TABLE_NAME_MAX), \
		FIELD(struct definition_words, read, STRING, false, 0, RULE_MAX), \
		FIELD(struct definition_words, insert, STRING, false, 0, RULE_MAX), \
		FIELD(struct definition_words, update, STRING, false, 0, RULE_MAX), \
		FIELD(struct definition_words, delete, STRING, false, 0, RULE_MAX), \
		FIELD(struct definition_words, depends, ARRAY, false, 0, 16384), \
		FIELD(struct definition_words, hide, ARRAY, false, 0, 65536), \
		FIELD(struct definition_words, key, ARRAY, false, 0, 16384)

/* Why a definition is none: `field` is constant, why a sentence. */
struct definition_problem {
	const char *field;
	char why[DEFINITION_WHY_MAX];
};

/* ERR_PARAMS with the problem. Only what can be said without the database (dataset/definition_check.h). */
enum err definition_read(const struct definition_words *words, struct definition **ret_definition,
	struct definition_problem *ret_problem);
/* The same of one that was put together otherwise. */
enum err definition_sound(const struct definition *d, struct definition_problem *ret_problem);

/* "column unless SQL". */
struct hidden_column hidden_read(struct str text);

/* The members, into an object that is open: what definition_read() reads. */
void definition_write(struct json_out *o, const struct definition *d);

/* "read", "insert", … */
const char *rule_word(enum rule_of which);
bool definition_same(const struct definition *a, const struct definition *b);
