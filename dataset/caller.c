#include "dataset/caller.h"

#include "core/json_scan.h"
#include "core/log.h"
#include "core/mem.h"
#include "dataset/rule_scan.h"
#include "store/users.h"

#include <ctype.h>
#include <stdlib.h>

static bool is_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
			return false;
	return s.n > 0;
}

/* What stands behind a beginning: false when it does not begin so. */
static bool behind(struct str param, struct str prefix, struct str *ret)
{
	if (!str_starts(param, prefix))
		return false;
	*ret = (struct str){param.p + prefix.n, param.n - prefix.n};
	return true;
}

bool caller_knows(struct str param)
{
	static const char *const names[] = {":user", ":name", ":sub", ":iss", ":client"};
	struct str word;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_is(param, names[i]))
			return true;
	return param.n <= RULE_PARAM_MAX &&
		(behind(param, STR(":scope_"), &word) || behind(param, STR(":claim_"), &word)) &&
		is_word(word);
}

static struct value text(struct str s)
{
	return s.n ? (struct value){.kind = VALUE_TEXT, .bytes = s} : (struct value){0};
}

static struct value yes_or_no(bool yes)
{
	return (struct value){.kind = VALUE_INT, .number = yes};
}

/* Scopes. */

static bool same_word(struct str scope, struct str word)
{
	if (scope.n != word.n)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		char c = isalnum((unsigned char)scope.p[i]) ? scope.p[i] : '_';
		if (c != word.p[i])
			return false;
	}
	return true;
}

/* Words with spaces between them. */
static bool has_word(struct str list, struct str word)
{
	for (size_t i = 0, start = 0; i <= list.n; i++) {
		if (i < list.n && list.p[i] != ' ')
			continue;
		if (same_word((struct str){list.p + start, i - start}, word))
			return true;
		start = i + 1;
	}
	return false;
}

/* A claim that is a text of words, or an array of them. */
static bool claim_has_word(const struct principal *who, struct str claim, struct str word)
{
	struct str json, item;
	if (!principal_claim(who, claim, &json))
		return false;
	if (json_kind(json) == JSON_STRING)
		return has_word((struct str){json.p + 1, json.n - 2}, word);
	struct json_walk w = json_walk(json);
	while (!w.object && json_next(&w, NULL, &item))
		if (json_kind(item) == JSON_STRING &&
			same_word((struct str){item.p + 1, item.n - 2}, word))
			return true;
	return false;
}

static bool is_own_scope(struct str word, uint32_t *ret_bit)
{
	for (unsigned i = 0; i < SCOPE_BITS; i++) {
		*ret_bit = 1u << i;
		if (same_word(str_of(scope_word(*ret_bit)), word))
			return true;
	}
	return false;
}

static bool has_scope(const struct principal *who, struct str word)
{
	uint32_t bit;
	if (is_own_scope(word, &bit))
		return who->scopes & bit;
	return claim_has_word(who, STR("scope"), word) || claim_has_word(who, STR("scp"), word);
}

/* Claims. */

static struct value claim_value(const struct principal *who, struct str name, char **ret_own)
{
	struct value v = {0};
	struct str json;
	const char *why;
	if (!principal_claim(who, name, &json))
		return v;
	switch (json_kind(json)) {
	case JSON_TRUE:
	case JSON_FALSE:
		return yes_or_no(json_kind(json) == JSON_TRUE);
	case JSON_OBJECT:
	case JSON_ARRAY:
		return text(json);
	case JSON_STRING:
		*ret_own = mem_alloc(json.n);
		break;
	default:
		break;
	}
	/* what is no cell (a number past all reals, half of a surrogate pair) is as if it were not there */
	return value_read(json, *ret_own, &v, &why) == ERR_OK ? v : (struct value){0};
}

struct value caller_value(const struct principal *who, struct str param, char **ret_own)
{
	struct str word;
	*ret_own = NULL;
	if (behind(param, STR(":scope_"), &word))
		return yes_or_no(has_scope(who, word));
	if (behind(param, STR(":claim_"), &word))
		return claim_value(who, word, ret_own);
	if (str_is(param, ":user"))
		return text(who->user);
	if (str_is(param, ":name"))
		return user_name_valid(who->user) ? text(who->user) : (struct value){0};
	if (str_is(param, ":sub"))
		return text(who->subject);
	if (str_is(param, ":iss"))
		return text(who->issuer);
	return str_is(param, ":client") ? text(who->client) : (struct value){0};
}

void caller_claims(struct str rule, void (*claim)(void *context, struct str name), void *context)
{
	char why[RULE_WHY_MAX];
	struct str word;
	uint32_t bit;
	struct tokens *t = mem_new(struct tokens);
	if (rule_scan(rule, t, why) == ERR_OK)
		for (size_t i = 0; i < t->count; i++) {
			if (t->at[i].kind != TOKEN_PARAM)
				continue;
			if (behind(t->at[i].text, STR(":claim_"), &word))
				claim(context, word);
			if (behind(t->at[i].text, STR(":scope_"), &word) &&
				!is_own_scope(word, &bit)) {
				claim(context, STR("scope"));
				claim(context, STR("scp"));
			}
		}
	free(t);
}

/* Hidden columns. */

static enum err bind_all(sqlite3_stmt *s, const struct rule *r, const struct principal *who)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < r->param_count && !err; i++) {
		char name[RULE_PARAM_MAX + 1], *own;
		snprintf(name, sizeof(name), STR_FMT, STR_ARG(r->params[i]));
		struct value v = caller_value(who, r->params[i], &own);
		err = value_bind(s, sqlite3_bind_parameter_index(s, name), v);
		free(own);
	}
	return err;
}

/* Steps that a predicate over the caller alone may take: it has no rows to go through. */
enum { CALLER_STEPS_MAX = 100000 };

static int enough(void *context)
{
	(void)context;
	return 1;
}

/* By SQLite itself, on a database of nothing. What goes wrong does not hold. */
static bool holds(struct str unless, const struct principal *who)
{
	char why[RULE_WHY_MAX];
	struct rule *r;
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	struct buf sql = BUF_INIT(4 * RULE_MAX);
	bool yes = false;
	if (rule_new(unless, NULL, NULL, 0, &r, why) != ERR_OK) {
		log_error("a hidden column stays hidden", LOG_STR("unless", unless),
			LOG_TEXT("reason", why));
		return false;
	}
	buf_adds(&sql, STR("SELECT 1 WHERE "));
	rule_sql(r, RULE_NOW, 0, &sql);
	if (!sql.err &&
		sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			NULL) == SQLITE_OK) {
		sqlite3_progress_handler(db, CALLER_STEPS_MAX, enough, NULL);
		yes = sqlite3_prepare_v2(db, sql.p, -1, &s, NULL) == SQLITE_OK &&
			bind_all(s, r, who) == ERR_OK && sqlite3_step(s) == SQLITE_ROW;
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	buf_free(&sql);
	rule_free(&r);
	return yes;
}

void caller_columns(const struct definition *d, const struct layout *l, const struct principal *who,
	bool *ret_visible)
{
	for (size_t i = 0; i < l->count; i++)
		ret_visible[i] = true;
	for (size_t i = 0; i < d->hidden_count; i++) {
		const struct hidden_column *hidden = &d->hidden[i];
		size_t column = layout_find(l, hidden->column);
		if (column != SIZE_MAX)
			ret_visible[column] = hidden->unless.n && ret_visible[column] &&
				holds(hidden->unless, who);
	}
}
