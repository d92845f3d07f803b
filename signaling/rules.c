#include "signaling/rules.h"

#include "core/mem.h"
#include "signaling/options.h"

struct granted {
	enum role role;
	struct str user;
	char bytes[];
};

static struct str copy(struct str s)
{
	return s.n ? (struct str){mem_copy(s), s.n} : (struct str){0};
}

static void drop(struct str *s)
{
	free((char *)(uintptr_t)s->p);
	*s = (struct str){0};
}

struct rules *rules_new(const struct rules *from)
{
	struct rules *r = mem_new(struct rules);
	*r = *from;
	r->name = copy(from->name);
	r->title = copy(from->title);
	r->owner = copy(from->owner);
	r->metadata = copy(from->metadata);
	r->roles = (struct map){0};
	return r;
}

void rules_change(struct rules *rules, const struct rules *is)
{
	struct rules *fresh = rules_new(is), was = *rules;
	*rules = *fresh;
	rules->roles = was.roles;
	*fresh = was;
	fresh->roles = (struct map){0};
	rules_free(&fresh);
}

void rules_free(struct rules **rules)
{
	struct rules *r = *rules;
	*rules = NULL;
	if (!r)
		return;
	struct granted *g;
	for (size_t i = 0; (g = map_next(&r->roles, &i));)
		free(g);
	free(r->roles.slots);
	drop(&r->name);
	drop(&r->title);
	drop(&r->owner);
	drop(&r->metadata);
	free(r);
}

struct rules *rules_of_template(
	struct str name, const struct room_template *t, const struct principal *maker)
{
	struct rules *r = rules_new(&(struct rules){.name = name,
		.owner = t->maker_role == ROLE_OWNER ? maker->user : (struct str){0},
		.private = t->private,
		.lobby = t->lobby});
	if (t->maker_role != ROLE_OWNER && (t->maker_role > ROLE_MEMBER || t->private || t->lobby))
		rules_put_role(r, maker->user, t->maker_role);
	return r;
}

static size_t lesser(size_t most, int64_t n)
{
	return n > 0 && (uint64_t)n < most ? (size_t)n : most;
}

size_t rules_most_members(const struct rules *r, const struct room_template *t)
{
	size_t most = lesser(options()->members_per_room, (int64_t)t->max_members);
	return lesser(most, r ? r->max_members : 0);
}

struct history_rules rules_history_most(const struct room_template *t)
{
	const struct signaling_options *o = options();
	size_t messages = o->history_messages_max;
	unsigned age_s = o->history_age_max_s;
	messages = messages > o->history_messages ? messages : o->history_messages;
	age_s = age_s > o->history_age_s ? age_s : o->history_age_s;
	return (struct history_rules){
		.messages = t->history_messages ? t->history_messages : messages,
		.age_s = t->history_age_s ? t->history_age_s : age_s,
	};
}

struct history_rules rules_history(const struct rules *r, const struct room_template *t)
{
	const struct signaling_options *o = options();
	struct history_rules most = rules_history_most(t),
			     h = {
				     .messages = t->history_messages ? t->history_messages
								     : o->history_messages,
				     .age_s =
					     t->history_age_s ? t->history_age_s : o->history_age_s,
			     };
	if (r && r->history_messages.given)
		h.messages = (size_t)r->history_messages.n;
	if (r && r->history_age.given)
		h.age_s = (unsigned)r->history_age.n;
	if (r && r->id)
		h.durable = r->history_durable.given ? r->history_durable.yes : t->history_durable;
	h.messages = h.messages < most.messages ? h.messages : most.messages;
	h.age_s = h.age_s < most.age_s ? h.age_s : most.age_s;
	return h;
}

static struct param_int int_at(const struct store_op *op, size_t row, size_t column)
{
	bool given = op->cells[row * op->columns + column].kind == STORE_IS_INT;
	return (struct param_int){given, given ? store_int(op, row, column) : 0};
}

struct rules rules_of_row(const struct store_op *op, size_t row)
{
	struct param_int durable = int_at(op, row, 14);
	return (struct rules){
		.id = store_int(op, row, 0),
		.name = store_str(op, row, 1),
		.title = store_str(op, row, 2),
		.owner = store_str(op, row, 3),
		.private = str_is(store_str(op, row, 4), "private"),
		.max_members = store_int(op, row, 5),
		.locked = store_int(op, row, 6) != 0,
		.metadata = store_str(op, row, 7),
		.created_at = store_int(op, row, 8),
		.updated_at = store_int(op, row, 9),
		.archived_at = int_at(op, row, 10).n,
		.lobby = store_int(op, row, 11) != 0,
		.history_messages = int_at(op, row, 12),
		.history_age = int_at(op, row, 13),
		.history_durable = {durable.given, durable.n != 0},
	};
}

void rules_put_role(struct rules *rules, struct str user, enum role role)
{
	if (role == ROLE_NONE) {
		free(map_remove(&rules->roles, user));
		return;
	}
	struct granted *g = map_get(&rules->roles, user);
	if (!g) {
		g = mem_alloc(sizeof(*g) + user.n);
		if (user.n)
			memcpy(g->bytes, user.p, user.n);
		g->user = (struct str){g->bytes, user.n};
		map_put(&rules->roles, g->user, g);
	}
	g->role = role;
}

enum role rules_granted(const struct rules *rules, struct str user)
{
	const struct granted *g = rules ? map_get(&rules->roles, user) : NULL;
	return g ? g->role : ROLE_NONE;
}

bool rules_are_full(const struct rules *rules, struct str user)
{
	return rules && rules->roles.count >= ROLES_MAX && rules_granted(rules, user) == ROLE_NONE;
}

struct str rules_next_role(const struct rules *rules, size_t *i, enum role *ret_role)
{
	const struct granted *g = map_next(&rules->roles, i);
	if (!g)
		return (struct str){0};
	*ret_role = g->role;
	return g->user;
}

enum role rules_role_granted(
	const struct rules *rules, struct str room, const struct principal *who, enum role granted)
{
	enum role claimed = principal_room_role(who, room);
	enum role role = granted == ROLE_BANNED || granted > claimed ? granted : claimed;
	if (role == ROLE_NONE && (!rules || !(rules->private || rules->lobby)))
		role = ROLE_MEMBER;
	if (role == ROLE_BANNED)
		return role;
	if ((rules && str_eq(rules->owner, who->user)) || who->scopes & SCOPE_ADMIN)
		return ROLE_OWNER;
	if (role < ROLE_MODERATOR && who->scopes & SCOPE_ROOMS_MODERATE)
		return ROLE_MODERATOR;
	return role;
}

enum role rules_role(const struct rules *rules, struct str room, const struct principal *who)
{
	return rules_role_granted(rules, room, who, rules_granted(rules, who->user));
}

static void write_optional(struct json_out *o, const char *key, struct str s, bool raw)
{
	if (!s.n)
		json_nothing(o, key);
	else if (raw)
		json_raw(o, key, s);
	else
		json_str(o, key, s);
}

void rules_write_history(struct json_out *o, struct history_rules h)
{
	json_open(o, "history", '{');
	json_int(o, "messages", (int64_t)h.messages);
	json_int(o, "age", h.age_s);
	json_bool(o, "durable", h.durable);
	json_close(o, '}');
}

void rules_write(struct json_out *o, struct str name, const struct rules *rules,
	const struct room_template *t, enum role role)
{
	static const struct rules none = {0};
	const struct rules *r = rules ? rules : &none;
	json_str(o, "room", name);
	write_optional(o, "title", r->title, false);
	write_optional(o, "owner", r->owner, false);
	json_text(o, "visibility", r->private ? "private" : "public");
	json_int(o, "max_members", (int64_t)rules_most_members(rules, t));
	json_bool(o, "locked", r->locked);
	json_bool(o, "lobby", r->lobby);
	json_bool(o, "archived", r->archived_at != 0);
	write_optional(o, "metadata", r->metadata, true);
	rules_write_history(o, rules_history(rules, t));
	json_bool(o, "persistent", r->id != 0);
	if (r->id) {
		json_int(o, "created_at", r->created_at);
		json_int(o, "updated_at", r->updated_at);
	}
	json_text(o, "role", role_word(role));
}
