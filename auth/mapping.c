#include "auth/mapping.h"

#include "core/json_scan.h"
#include "core/principal.h"

/* Takes the next name of the path, its backslashes taken off; false: there is none, or it is no name. */
static bool next_name(struct str *path, char out[CLAIM_PATH_NAME + 1])
{
	size_t i = 0, n = 0;
	for (; i < path->n && path->p[i] != '.'; i++) {
		if (path->p[i] == '\\' && ++i == path->n)
			return false;
		if (n == CLAIM_PATH_NAME)
			return false;
		out[n++] = path->p[i];
	}
	out[n] = 0;
	bool last = i == path->n;
	*path = (struct str){path->p + i + !last, path->n - i - !last};
	return n > 0 && (last || path->n > 0);
}

bool claim_path_valid(struct str path)
{
	char name[CLAIM_PATH_NAME + 1];
	int steps = 0;
	do {
		if (!next_name(&path, name))
			return false;
		steps++;
	} while (path.n);
	return steps <= CLAIM_PATH_STEPS;
}

enum err claim_at(struct str payload, struct str path, struct str *ret_value)
{
	char name[CLAIM_PATH_NAME + 1];
	struct str value = payload;
	do {
		if (json_kind(value) != JSON_OBJECT || !next_name(&path, name))
			return ERR_NOT_FOUND;
		if (json_once(value))
			return ERR_PARAMS;
		if (!json_get(value, name, &value))
			return ERR_NOT_FOUND;
	} while (path.n);
	*ret_value = value;
	return ERR_OK;
}

/* A role as it stands between quotes. */
static void add_role(struct str inner, const struct claim_mapping *mapping, uint32_t *scopes)
{
	for (size_t i = 0; i < mapping->table_count; i++)
		if (json_string_is(inner, mapping->table[i].role))
			*scopes |= mapping->table[i].scopes;
}

/* A space can only stand as itself, or as an escape that nobody writes. */
static void add_words(struct str inner, const struct claim_mapping *mapping, uint32_t *scopes)
{
	while (inner.n) {
		const char *space = memchr(inner.p, ' ', inner.n);
		struct str word = {inner.p, space ? (size_t)(space - inner.p) : inner.n};
		size_t step = word.n + (space != NULL);
		inner = (struct str){inner.p + step, inner.n - step};
		add_role(word, mapping, scopes);
	}
}

enum err roles_scopes(
	struct str value, const struct claim_mapping *mapping, uint32_t *add_to_scopes)
{
	struct str key, item;
	uint32_t scopes = 0;
	enum json_kind kind = json_kind(value);
	if (kind == JSON_STRING)
		add_words((struct str){value.p + 1, value.n - 2}, mapping, &scopes);
	else if (kind != JSON_ARRAY && kind != JSON_OBJECT)
		return ERR_PARAMS;
	struct json_walk w = json_walk(value);
	while (json_next(&w, &key, &item)) {
		if (kind == JSON_ARRAY && json_kind(item) != JSON_STRING)
			return ERR_PARAMS;
		if (kind == JSON_ARRAY)
			key = (struct str){item.p + 1, item.n - 2};
		add_role(key, mapping, &scopes);
	}
	*add_to_scopes |= scopes;
	return ERR_OK;
}

bool role_scopes_read(
	struct str text, struct str *ret_role, uint32_t *ret_scopes, struct str *ret_wrong)
{
	const char *equals = memrchr(text.p, '=', text.n);
	*ret_wrong = (struct str){"", 0};
	*ret_scopes = 0;
	if (!equals || equals == text.p)
		return false;
	*ret_role = (struct str){text.p, (size_t)(equals - text.p)};
	struct str words = {equals + 1, text.n - ret_role->n - 1};
	while (words.n) {
		const char *space = memchr(words.p, ' ', words.n);
		struct str word = {words.p, space ? (size_t)(space - words.p) : words.n};
		size_t step = word.n + (space != NULL);
		words = (struct str){words.p + step, words.n - step};
		uint32_t scope = scopes_parse(word);
		if (word.n && !scope) {
			*ret_wrong = word;
			return false;
		}
		*ret_scopes |= scope;
	}
	return *ret_scopes != 0;
}
