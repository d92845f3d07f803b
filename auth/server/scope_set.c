#include "auth/server/scope_set.h"

struct str word_next(struct str *rest)
{
	while (rest->n && *rest->p == ' ') {
		rest->p++;
		rest->n--;
	}
	struct str word = {rest->p, 0};
	while (rest->n && *rest->p != ' ') {
		word.n++;
		rest->p++;
		rest->n--;
	}
	return word;
}

bool words_have(struct str words, const char *word)
{
	struct str one;
	while ((one = word_next(&words)).n)
		if (str_is(one, word))
			return true;
	return false;
}

struct scope_set scope_set_parse(struct str words)
{
	return (struct scope_set){scopes_parse(words), words_have(words, "openid"),
		words_have(words, "profile"), words_have(words, "offline_access")};
}

struct scope_set scope_set_common(struct scope_set a, struct scope_set b)
{
	return (struct scope_set){a.scopes & b.scopes, a.openid && b.openid, a.profile && b.profile,
		a.offline && b.offline};
}

struct scope_set scope_set_both(struct scope_set a, struct scope_set b)
{
	return (struct scope_set){a.scopes | b.scopes, a.openid || b.openid, a.profile || b.profile,
		a.offline || b.offline};
}

bool scope_set_empty(struct scope_set s)
{
	return !s.scopes && !s.openid && !s.profile && !s.offline;
}

static void put(char *out, size_t *n, struct str words)
{
	if (!words.n)
		return;
	if (*n)
		out[(*n)++] = ' ';
	memcpy(out + *n, words.p, words.n);
	*n += words.n;
}

struct str scope_set_text(struct scope_set s, char *out)
{
	char own[SCOPES_TEXT_MAX];
	size_t n = 0;
	if (s.openid)
		put(out, &n, STR("openid"));
	if (s.profile)
		put(out, &n, STR("profile"));
	if (s.offline)
		put(out, &n, STR("offline_access"));
	put(out, &n, scopes_text(s.scopes, own));
	return (struct str){out, n};
}
