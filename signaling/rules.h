/* rules.h: what the store says of a room: whose it is, who may come in and as what. An ephemeral room
 * can have rules, too (rooms_rules): the store does not know them.
 * Thread: the room's own worker. */
#pragma once

#include "core/call.h"
#include "core/map.h"
#include "core/role.h"
#include "signaling/signaling.h"
#include "store/store.h"

struct rules {
	int64_t id;                              /* 0: of an ephemeral room */
	struct str name, title, owner, metadata; /* own copies; title and metadata n 0: none */
	bool private, locked, lobby;
	int64_t max_members; /* 0: it does not say */
	/* Unix seconds, as is archived_at, 0: in use */
	int64_t created_at, updated_at, archived_at;
	/* what the room says itself of its history; age in seconds */
	struct param_int history_messages, history_age;
	struct param_bool history_durable;
	struct map roles; /* user → struct granted */
};

/* A copy of what is pointed to, without roles. */
struct rules *rules_new(const struct rules *from);
void rules_free(struct rules **rules);
/* Makes them what `is` says, but for the roles. */
void rules_change(struct rules *rules, const struct rules *is);

/* Those of an ephemeral room that this template applies to; the maker's role is among them. */
struct rules *rules_of_template(
	struct str name, const struct room_template *t, const struct principal *maker);

/* What a room keeps of its messages: as it says itself, as its template says, as the options say; and
 * never more than the last two allow. rules NULL: an ephemeral room's. */
struct history_rules {
	size_t messages;
	unsigned age_s;
	bool durable; /* of stored rooms only */
};
struct history_rules rules_history(const struct rules *rules, const struct room_template *t);
/* How many members there can be, by the same three. */
size_t rules_most_members(const struct rules *rules, const struct room_template *t);
/* The most that a room of this template may say. */
struct history_rules rules_history_most(const struct room_template *t);

enum { RULES_COLUMNS = 15 };
/* A row that begins with the columns STORE_ROOM_COLUMNS (store/verbs.def); points into the answer. */
struct rules rules_of_row(const struct store_op *op, size_t row);

void rules_put_role(struct rules *rules, struct str user, enum role role); /* NONE: takes it out */
/* What was given to this user; rules may be NULL. */
enum role rules_granted(const struct rules *rules, struct str user);
/* Whether a role for this user would be one too many. */
enum { ROLES_MAX = 10000 };
bool rules_are_full(const struct rules *rules, struct str user);
/* Walks them: for (size_t i = 0; (user = rules_next_role(r, &i, &role)).p;). No put meanwhile. */
struct str rules_next_role(const struct rules *rules, size_t *i, enum role *ret_role);

/* What this caller is in this room; rules NULL: an ephemeral one. A ban stands above everything; the
 * scopes rooms:moderate and admin make a moderator and an owner of who is less. */
enum role rules_role(const struct rules *rules, struct str room, const struct principal *who);
/* The same, when it is known what the store says of the user ("": nothing). */
enum role rules_role_granted(
	const struct rules *rules, struct str room, const struct principal *who, enum role granted);

/* The members of a room's record, all but member_count. rules NULL: of an ephemeral room. */
void rules_write(struct json_out *o, struct str name, const struct rules *rules,
	const struct room_template *t, enum role role);
void rules_write_history(struct json_out *o, struct history_rules h);
