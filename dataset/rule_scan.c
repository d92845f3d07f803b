#include "dataset/rule_scan.h"

#include "dataset/caller.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

/* Keywords of SQLite that have a place in rules. All others have to be quoted to be names. */
static const char *const keywords[] = {"AND", "AS", "BETWEEN", "CASE", "CAST", "COLLATE", "CROSS",
	"DISTINCT", "ELSE", "END", "ESCAPE", "EXISTS", "FROM", "GLOB", "IN", "INNER", "IS",
	"ISNULL", "JOIN", "LIKE", "NOT", "NOTNULL", "NULL", "ON", "OR", "SELECT", "THEN", "WHEN",
	"WHERE"};

enum err rule_refuse(const struct tokens *t, size_t token, char *ret_why, const char *format, ...)
{
	char sentence[RULE_WHY_MAX - 32];
	const char *at = token < t->count ? t->at[token].text.p : t->text.p + t->text.n;
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	snprintf(ret_why, RULE_WHY_MAX, "%s (at character %zu)", sentence,
		(size_t)(at - t->text.p) + 1);
	return ERR_PARAMS;
}

bool token_is(const struct token *t, const char *word)
{
	size_t n = strlen(word);
	return t->kind == TOKEN_WORD && t->text.n == n &&
		sqlite3_strnicmp(t->text.p, word, (int)n) == 0;
}

static bool is_keyword(const struct token *t)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
		if (token_is(t, keywords[i]))
			return true;
	return false;
}

bool token_is_name(const struct token *t)
{
	return t->kind == TOKEN_QUOTED || (t->kind == TOKEN_WORD && !is_keyword(t));
}

struct str token_name(const struct token *t, char *room)
{
	if (t->kind != TOKEN_QUOTED)
		return t->text;
	size_t n = 0;
	for (size_t i = 1; i + 1 < t->text.n; i++) {
		room[n++] = t->text.p[i];
		if (t->text.p[i] == '"')
			i++; /* the second of two */
	}
	return (struct str){room, n};
}

static bool begins_word(char c)
{
	return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool in_word(char c)
{
	return begins_word(c) || isdigit((unsigned char)c);
}

static size_t run(const char *p, const char *end, bool (*is)(char c))
{
	size_t n = 0;
	while (p + n < end && is(p[n]))
		n++;
	return n;
}

static bool is_digit(char c)
{
	return isdigit((unsigned char)c);
}

static bool is_hex(char c)
{
	return isxdigit((unsigned char)c);
}

/* From a quote to its end, with doubled ones in it; 0: it has none. */
static size_t quoted(const char *p, const char *end)
{
	for (size_t n = 1; p + n < end; n++) {
		if (p[n] != *p)
			continue;
		if (p + n + 1 == end || p[n + 1] != *p)
			return n + 1;
		n++;
	}
	return 0;
}

/* 0: it is none that SQLite would take as a whole. */
static size_t number(const char *p, const char *end)
{
	size_t n = 0;
	if (end - p > 2 && *p == '0' && (p[1] == 'x' || p[1] == 'X')) {
		n = 2 + run(p + 2, end, is_hex);
		return n > 2 && n <= 18 && (p + n == end || !in_word(p[n])) ? n : 0;
	}
	n = run(p, end, is_digit);
	if (p + n < end && p[n] == '.')
		n += 1 + run(p + n + 1, end, is_digit);
	if (p + n < end && (p[n] == 'e' || p[n] == 'E')) {
		n++;
		if (p + n < end && (p[n] == '+' || p[n] == '-'))
			n++;
		size_t digits = run(p + n, end, is_digit);
		if (!digits)
			return 0;
		n += digits;
	}
	return p + n < end && (in_word(p[n]) || p[n] == '.') ? 0 : n;
}

static size_t blob(const char *p, const char *end)
{
	size_t digits = run(p + 2, end, is_hex);
	return digits % 2 == 0 && p + 2 + digits < end && p[2 + digits] == '\'' ? digits + 3 : 0;
}

static size_t sign(const char *p, const char *end)
{
	static const char *const signs[] = {"->>", "->", "||", "==", "<>", "!=", "<=", ">=", "<<",
		">>", "(", ")", ",", ".", "+", "-", "*", "/", "%", "=", "<", ">", "&", "|", "~"};
	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
		size_t n = strlen(signs[i]);
		if ((size_t)(end - p) >= n && memcmp(p, signs[i], n) == 0)
			return n;
	}
	return 0;
}

static size_t measure(const char *p, const char *end, enum token_kind *ret_kind)
{
	bool two = end - p > 1;
	*ret_kind = TOKEN_LITERAL;
	if (is_digit(*p) || (*p == '.' && two && is_digit(p[1])))
		return number(p, end);
	if (*p == '\'')
		return quoted(p, end);
	if ((*p == 'x' || *p == 'X') && two && p[1] == '\'')
		return blob(p, end);
	*ret_kind = TOKEN_QUOTED;
	if (*p == '"')
		return quoted(p, end);
	*ret_kind = TOKEN_WORD;
	if (begins_word(*p))
		return run(p, end, in_word);
	*ret_kind = TOKEN_PARAM;
	if (*p == ':')
		return two && begins_word(p[1]) ? 1 + run(p + 1, end, in_word) : 0;
	*ret_kind = TOKEN_SIGN;
	return sign(p, end);
}

/* What is a token, but none for a rule. */
static enum err check_token(const struct tokens *t, size_t i, char *ret_why)
{
	const struct token *token = &t->at[i];
	const char *before = i ? t->at[i - 1].text.p + t->at[i - 1].text.n : NULL;
	struct str s = token->text;
	if (before == s.p && token->kind == TOKEN_SIGN &&
		((*s.p == '-' && s.p[-1] == '-') || (*s.p == '*' && s.p[-1] == '/')))
		return rule_refuse(t, i, ret_why, "rules have no comments");
	if (token->kind == TOKEN_PARAM && !caller_knows(s))
		return rule_refuse(t, i, ret_why,
			STR_FMT
			" is no value of the caller; there are :user :name :sub :iss :client"
			" :scope_WORD :claim_NAME",
			STR_ARG(s));
	if (token->kind == TOKEN_QUOTED && s.n == 2)
		return rule_refuse(t, i, ret_why, "a name is empty");
	if (token->kind == TOKEN_WORD && sqlite3_keyword_check(s.p, (int)s.n) &&
		!is_keyword(token) && !rule_function(s))
		return rule_refuse(t, i, ret_why,
			STR_FMT " has no place in rules; a column of that name needs double quotes",
			STR_ARG(s));
	return ERR_OK;
}

/* Pairs of brackets, and of CASE and END, none across another. */
static enum err match(struct tokens *t, char *ret_why)
{
	size_t open[RULE_DEPTH_MAX], depth = 0;
	for (size_t i = 0; i < t->count; i++) {
		struct token *token = &t->at[i];
		bool bracket = token->kind == TOKEN_SIGN && *token->text.p == ')';
		token->match = i;
		if ((token->kind == TOKEN_SIGN && *token->text.p == '(') ||
			token_is(token, "CASE")) {
			if (depth == RULE_DEPTH_MAX)
				return rule_refuse(t, i, ret_why, "this is nested too deep");
			open[depth++] = i;
		} else if (bracket || token_is(token, "END")) {
			if (!depth || token_is(&t->at[open[depth - 1]], "CASE") == bracket)
				return rule_refuse(t, i, ret_why, "this closes nothing");
			token->match = open[--depth];
			t->at[token->match].match = i;
		}
	}
	return depth ? rule_refuse(t, open[depth - 1], ret_why, "this is never closed") : ERR_OK;
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

enum err rule_scan(struct str text, struct tokens *ret, char *ret_why)
{
	const char *p = text.p, *end = text.p + text.n;
	*ret = (struct tokens){.text = text};
	if (text.n > RULE_MAX || !str_utf8_valid(text) || memchr(text.p, 0, text.n))
		return rule_refuse(ret, 0, ret_why,
			"a rule is at most %d bytes of UTF-8 without NUL", RULE_MAX);
	for (p = skip_space(p, end); p < end; p = skip_space(p, end)) {
		struct token *token = &ret->at[ret->count];
		if (ret->count == RULE_TOKENS_MAX)
			return rule_refuse(ret, ret->count - 1, ret_why, "the rule is too long");
		*token = (struct token){.text = {p, 1}};
		size_t n = measure(p, end, &token->kind);
		ret->count++;
		if (!n)
			return rule_refuse(ret, ret->count - 1, ret_why,
				"this is nothing that a rule may have");
		token->text.n = n;
		p += n;
		enum err err = check_token(ret, ret->count - 1, ret_why);
		if (err)
			return err;
	}
	return ret->count ? match(ret, ret_why) : rule_refuse(ret, 0, ret_why, "the rule is empty");
}
