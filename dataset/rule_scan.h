/* rule_scan.h: the text of a rule as tokens, as SQLite would see them, and nothing that a rule has no use for: no
 * comments, no semicolons, no parameters but :name.
 *
 * Any thread; the tokens lie in the text. */
#pragma once

#include "dataset/rule.h"

enum token_kind {
	TOKEN_WORD,   /* a name, or a keyword that rules may have */
	TOKEN_QUOTED, /* "a name" */
	TOKEN_LITERAL,
	TOKEN_PARAM,
	TOKEN_SIGN,
};

struct token {
	enum token_kind kind;
	struct str text;
	size_t match; /* of a bracket: where the other one is; of CASE: its END, and back */
};

struct tokens {
	struct str text;
	size_t count;
	struct token at[RULE_TOKENS_MAX];
};

/* With all brackets in pairs. */
enum err rule_scan(struct str text, struct tokens *ret, char *ret_why);

/* ERR_PARAMS with the sentence, and where: "…, at character 12". */
enum err rule_refuse(const struct tokens *t, size_t token, char *ret_why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A word without quotes, in any case. */
bool token_is(const struct token *t, const char *word);
bool token_is_name(const struct token *t); /* a word that is no keyword, or a quoted one */
/* The name that it means; room: for what has doubled quotes in it, t->text.n bytes. */
struct str token_name(const struct token *t, char *room);
