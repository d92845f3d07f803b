/* Any bytes through json_scan: what is refused is left alone; what is accepted is walked whole and
 * decoded, and has to keep its promises. */
#include "core/json_scan.h"

#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static bool within(struct str part, struct str whole)
{
	return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static void decode(struct str value)
{
	char *out = malloc(value.n + 1);
	size_t n = 0;
	if (json_decode(value, out, &n) == ERR_OK) {
		MUST(n <= value.n && str_utf8_valid((struct str){out, n}));
		struct str inner = {value.p + 1, value.n - 2};
		out[n] = 0;
		if (!memchr(out, 0, n))
			MUST(json_string_is(inner, out));
		MUST(json_string_eq(inner, inner));
	}
	free(out);
}

static void walk(struct str value, int depth)
{
	MUST(depth <= JSON_DEPTH_MAX && json_kind(value) != JSON_NONE);
	MUST(json_check(value, NULL) == ERR_OK && str_eq(json_trim(value), value));
	if (json_kind(value) == JSON_STRING)
		decode(value);
	int64_t number;
	if (json_decode_int(value, &number) == ERR_OK)
		MUST(json_kind(value) == JSON_NUMBER);
	enum err once = json_once(value);
	struct json_walk w = json_walk(value);
	struct str key, item;
	size_t count = 0;
	for (; json_next(&w, &key, &item); count++) {
		MUST(within(key, value) && within(item, value) && item.n);
		if (count < 64 && depth < 8) /* each level checks its text again */
			walk(item, depth + 1);
	}
	MUST(once != ERR_TOO_LARGE || count > JSON_ONCE_MAX);
}

/* What a check notes is what walking finds. */
static void same_members(struct json_walk known, struct json_walk walked, bool outermost)
{
	struct str key, value, other_key, other_value;
	while (json_next(&walked, &key, &value)) {
		MUST(json_next(&known, &other_key, &other_value));
		MUST(key.p == other_key.p && key.n == other_key.n);
		MUST(value.p == other_value.p && value.n == other_value.n);
		if (outermost && json_kind(value) == JSON_OBJECT)
			same_members(json_walk_inside(&known), json_walk(value), false);
	}
	MUST(!json_next(&known, &other_key, &other_value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	size_t at = SIZE_MAX;
	struct json_outline outline;
	if (json_check_outline(text, &at, &outline) == ERR_OK) {
		MUST(at == SIZE_MAX && str_utf8_valid(text));
		if (outline.count)
			same_members(json_walk_outline(&outline), json_walk(text), true);
		walk(json_trim(text), 0);
		return 0;
	}
	MUST(at <= size);
	/* not to be done with unchecked text, but must stay in bounds all the same */
	struct json_walk w = json_walk(text);
	struct str key, item;
	for (int i = 0; i < 1000 && json_next(&w, &key, &item); i++)
		MUST(within(key, text) && within(item, text));
	return 0;
}
