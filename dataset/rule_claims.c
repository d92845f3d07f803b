#include "dataset/rule_claims.h"

static void add(struct rule_claims *c, struct str name)
{
	for (size_t i = 0; i < c->count; i++)
		if (str_eq(c->names[i], name))
			return;
	if (c->count == CLAIMS_KEPT_MAX || name.n > CLAIM_NAME_MAX)
		c->too_many = true;
	else
		c->names[c->count++] = name;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_';
}

/* "rooms:join" is rooms_join in a rule. */
static bool is_scope(struct str word, const char *scope)
{
	size_t i = 0;
	for (; i < word.n && scope[i]; i++)
		if (word.p[i] != (is_word(scope[i]) ? scope[i] : '_'))
			return false;
	return i == word.n && !scope[i];
}

static bool is_own_scope(struct str word)
{
	for (unsigned bit = 0; bit < SCOPE_BITS; bit++)
		if (is_scope(word, scope_word((enum scope)(1u << bit))))
			return true;
	return false;
}

static void add_param(struct rule_claims *c, struct str param)
{
	const struct str claim = STR("claim_"), scope = STR("scope_");
	struct str rest = {param.p + claim.n, param.n - claim.n}; /* both are as long */
	if (param.n > claim.n && str_starts(param, claim)) {
		add(c, rest);
	} else if (param.n > scope.n && str_starts(param, scope) && !is_own_scope(rest)) {
		add(c, STR("scope"));
		add(c, STR("scp"));
	}
}

static void add_text(struct rule_claims *c, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] != ':')
			continue;
		size_t end = i + 1;
		while (end < text.n && is_word(text.p[end]))
			end++;
		add_param(c, (struct str){text.p + i + 1, end - i - 1});
		i = end - 1;
	}
}

void rule_claims_add(struct rule_claims *c, const struct definition *d)
{
	for (int i = 0; i < RULES; i++)
		add_text(c, d->rules[i]);
	for (size_t i = 0; i < d->hidden_count; i++)
		add_text(c, d->hidden[i].unless);
}
