/* Any bytes as an issuer's answer about a token, by an issuer that has all its claims elsewhere; and as
 * the paths to them. */
#include "auth/claims.h"

#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

enum { NOW = 1000 };

static const struct str audience = {"a", 1};
static const struct str scope_paths[] = {{"scope", 5}, {"m.s", 3}};
static const struct str role_paths[] = {{"r", 1}, {"m.r", 3}};
static const struct role_scopes table[] = {{"admin", SCOPE_ADMIN}, {"\"\\", SCOPE_RPC_CALL}};
static const struct issuer_rule rule = {.issuer = {"i", 1},
	.alias = {"x", 1},
	.audiences = &audience,
	.audience_count = 1,
	.default_scopes = SCOPE_ROOMS_JOIN,
	.mapping = {.name = {"m.n", 3},
		.scopes = scope_paths,
		.scope_count = 2,
		.roles = role_paths,
		.role_count = 2,
		.table = table,
		.table_count = 2,
		.rooms = {"m.e", 3}}};

static void must_be_clean(struct str s)
{
	MUST(str_utf8_valid(s) && !str_has_control(s));
}

static void as_answer(struct str text)
{
	static struct claims claims;
	const char *why = NULL;
	if (claims_read_answer(text, &rule, NOW, &claims, &why)) {
		MUST(why && claims.step < CHECK_STEPS_COUNT);
		return;
	}
	MUST(memmem(text.p, text.n, "true", 4) && claims.exp > NOW && claims.rooms_limited);
	struct principal *p = claims_principal(&claims, &rule);
	must_be_clean(p->user);
	must_be_clean(p->name);
	MUST(str_starts(p->user, STR("x|")) && p->name.n && p->room_count <= CLAIM_GLOBS_MAX);
	for (size_t i = 0; i < p->room_count; i++)
		must_be_clean(p->rooms[i]);
	principal_unref(&p);
}

static void as_path(struct str text)
{
	static const struct str payload = {"{\"a\":{\"b\":[1],\"c.d\":{}},\"\\\\\":1}", 31};
	struct str value = {"", 0}, role, wrong;
	uint32_t scopes = 0;
	bool valid = claim_path_valid(text);
	if (valid && !claim_at(payload, text, &value))
		MUST(value.p >= payload.p && value.p + value.n <= payload.p + payload.n);
	if (role_scopes_read(text, &role, &scopes, &wrong))
		MUST(scopes && role.n && role.p == text.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	as_answer(text);
	as_path(text);
	return 0;
}
