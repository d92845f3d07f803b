/* rules.h: what the store says of a room: whose it is, who may come in and as what.
 * Thread: the room's own worker. */
#pragma once

#include "core/call.h"
#include "core/map.h"
#include "signaling/role.h"
#include "store/store.h"

struct rules {
	int64_t id;
	struct str name, title, owner, metadata; /* own copies; title and metadata n 0: none */
	bool private, locked;
	int64_t max_members; /* 0: as many as any room */
	int64_t created_at;  /* Unix seconds */
	struct map roles;    /* user → struct granted */
};

/* A copy of what is pointed to, without roles. */
struct rules *rules_new(const struct rules *from);
void rules_free(struct rules **rules);

/* A row of STORE_ROOM_GET or STORE_ROOM_LIST; points into the answer. */
struct rules rules_of_row(const struct store_op *op, size_t row);

void rules_put_role(struct rules *rules, struct str user, enum role role);

/* What this caller is here; rules NULL: in an ephemeral room. A ban stands above everything; the
 * scopes rooms:moderate and admin make a moderator and an owner of who is less. */
enum role rules_role(const struct rules *rules, const struct principal *who);
/* The same, when it is known what the store says of the user ("": nothing). */
enum role rules_role_granted(
	const struct rules *rules, const struct principal *who, enum role granted);

/* The members of a room's record, as room.create, room.get and room.list answer it. rules NULL: of
 * an ephemeral room. */
void rules_write(struct json_out *o, struct str name, const struct rules *rules, enum role role);
