/* principal.h: who a request is made for and what they may do, as plain data. auth/ makes it from
 * a token; everything else only reads it. Immutable once made, counted references, any thread. */
#pragma once

#include "core/record.h"
#include "core/role.h"

#include <stdint.h>

/* SCOPE(name, word): what a token can allow. */
#define SCOPES(SCOPE) \
	SCOPE(ROOMS_JOIN, "rooms:join") \
	SCOPE(ROOMS_CREATE, "rooms:create") \
	SCOPE(ROOMS_MODERATE, "rooms:moderate") \
	SCOPE(DATASETS_READ, "datasets:read") \
	SCOPE(DATASETS_WRITE, "datasets:write") \
	SCOPE(RPC_CALL, "rpc:call") \
	SCOPE(RPC_SERVE, "rpc:serve") \
	SCOPE(ADMIN, "admin")

/* clang-format off */
enum scope_bit {
#define SCOPE(name, word) SCOPE_BIT_##name,
	SCOPES(SCOPE)
#undef SCOPE
	SCOPE_BITS
};
/* clang-format on */

enum scope {
	SCOPE_NONE = 0,
#define SCOPE(name, word) SCOPE_##name = 1 << SCOPE_BIT_##name,
	SCOPES(SCOPE)
#undef SCOPE
	/* what a token gets when nobody says which scopes */
	SCOPES_DEFAULT =
		(1 << SCOPE_BITS) - 1 - (SCOPE_ADMIN | SCOPE_ROOMS_MODERATE | SCOPE_RPC_SERVE),
};

/* What the token makes its bearer in rooms: of one name, or (with *) of those that match. */
struct room_role {
	struct str names;
	enum role role; /* at most a moderator */
};

/* A claim of the token that a rule of some dataset names: its value as JSON, as it stood there. */
struct principal_claim {
	struct str name, json;
};

struct principal {
	struct str user; /* the one stable string for this user, see docs/PROTOCOL.md */
	struct str name; /* for people */
	struct str issuer;
	struct str subject; /* as the issuer says it */
	struct str client;  /* client_id, may be empty */
	struct str jti;     /* may be empty */
	struct str sid;     /* the sign-in that it came from; may be empty */
	uint32_t scopes;    /* of enum scope */
	bool rooms_limited; /* the token names the rooms: only those that match */
	bool datasets_limited;
	size_t room_count, dataset_count, room_role_count;
	struct str *rooms; /* globs */
	struct str *datasets;
	struct room_role *room_roles;
	size_t claim_count; /* 0 where no rule asks for any */
	struct principal_claim *claims;
	int64_t expires_at; /* Unix seconds */
	int64_t issued_at;  /* the same; 0: nobody says */
};

/* A copy of everything in it, with one reference. */
struct principal *principal_new(const struct principal *from);
struct principal *principal_ref(const struct principal *p);
void principal_unref(struct principal **p);

/* As a record, and back; NULL: it is damaged. */
void principal_put(struct buf *b, const struct principal *p);
struct principal *principal_read(struct record_reader *r);

/* Whether it is somebody without an account, who came by an invitation to a room (POST /v1/guests). No
 * account, client or foreign user can be called so. */
static inline bool user_is_guest(struct str user)
{
	return str_starts(user, STR("guest:"));
}

static inline bool principal_is_guest(const struct principal *p)
{
	return user_is_guest(p->user);
}

/* Whether the token's own list lets it near this room or dataset. The rooms of a guest are names, not
 * globs: a room may be called "*". */
bool principal_sees_room(const struct principal *p, struct str room);
/* What the token makes them in this room: as it says of this name, or else the highest of those that
 * match. ROLE_NONE: it does not say. */
enum role principal_room_role(const struct principal *p, struct str room);
bool principal_sees_dataset(const struct principal *p, struct str dataset);

/* A claim that was kept. False: the token has none of that name, or it was checked before a rule named it. */
bool principal_claim(const struct principal *p, struct str name, struct str *ret_json);

const char *scope_word(enum scope scope);          /* "rooms:join" */
uint32_t scopes_parse(struct str space_separated); /* unknown words are passed over */
struct json_out;
void scopes_write(struct json_out *o, uint32_t scopes); /* "scopes": [ … ] */
/* Writes the words with single spaces between them; out has room for SCOPES_TEXT_MAX bytes. */
enum { SCOPES_TEXT_MAX = 160 };
struct str scopes_text(uint32_t scopes, char *out);
