/* mapping.h: where an issuer's tokens say what their bearer may do, and what that means here, as
 * data: paths to claims, and a table from roles to scopes.
 * Any thread; allocates nothing. To be used only on JSON that json_check() has passed.
 *
 * A path names a claim, or one inside another with dots between: `realm_access.roles`. A dot or a
 * backslash of a name itself has a backslash before it: `https://example\.com/roles`.
 * Limits: CLAIM_PATH_STEPS names in a path, CLAIM_PATH_NAME bytes each. */
#pragma once

#include "core/err.h"
#include "core/str.h"

#include <stdint.h>

enum { CLAIM_PATH_STEPS = 8, CLAIM_PATH_NAME = 128 };

/* Bearers of the role get the scopes. */
struct role_scopes {
	const char *role;
	uint32_t scopes;
};

/* Configuration: read-only, outlives all who use it. All zero: what RFC 9068 says. */
struct claim_mapping {
	struct str name;          /* path of what people read; n 0: `name`, `preferred_username` */
	const struct str *scopes; /* paths, taken together; none: `scope`, or else `scp` */
	size_t scope_count;
	const struct str *roles; /* paths, taken together */
	size_t role_count;
	const struct role_scopes *table;
	size_t table_count;
	struct str room_roles; /* path of what the bearer is in rooms; n 0: no such claim */
	struct str rooms;      /* path of the rooms that the bearer may enter; n 0: no such claim */
};

/* Whether this is a path. */
bool claim_path_valid(struct str path);

/* The claim at the path. ERR_NOT_FOUND: there is none. ERR_PARAMS: an object on the way has a
 * doubled member, so what it says depends on the reader. */
enum err claim_at(struct str payload, struct str path, struct str *ret_value);

/* Adds the scopes of all roles in the value: an array of roles, an object with a member for each, or
 * a text with spaces between them. ERR_PARAMS: it is something else. */
enum err roles_scopes(
	struct str value, const struct claim_mapping *mapping, uint32_t *add_to_scopes);

/* "ROLE=SCOPE SCOPE" taken apart, at its last `=`. False: it has no `=`, no role or no scope, or
 * *ret_wrong is a word that is no scope. */
bool role_scopes_read(
	struct str text, struct str *ret_role, uint32_t *ret_scopes, struct str *ret_wrong);
