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

struct rules rules_of_row(const struct store_op *op, size_t row)
{
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
	};
}

void rules_put_role(struct rules *rules, struct str user, enum role role)
{
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

enum role rules_role_granted(
	const struct rules *rules, const struct principal *who, enum role granted)
{
	enum role role = granted;
	if (role == ROLE_NONE && (!rules || !rules->private))
		role = ROLE_MEMBER;
	if (role == ROLE_BANNED)
		return role;
	if ((rules && str_eq(rules->owner, who->user)) || who->scopes & SCOPE_ADMIN)
		return ROLE_OWNER;
	if (role < ROLE_MODERATOR && who->scopes & SCOPE_ROOMS_MODERATE)
		return ROLE_MODERATOR;
	return role;
}

enum role rules_role(const struct rules *rules, const struct principal *who)
{
	const struct granted *g = rules ? map_get(&rules->roles, who->user) : NULL;
	return rules_role_granted(rules, who, g ? g->role : ROLE_NONE);
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

void rules_write(struct json_out *o, struct str name, const struct rules *rules, enum role role)
{
	static const struct rules none = {0};
	const struct rules *r = rules ? rules : &none;
	int64_t most = (int64_t)options()->members_per_room;
	json_str(o, "room", name);
	write_optional(o, "title", r->title, false);
	write_optional(o, "owner", r->owner, false);
	json_text(o, "visibility", r->private ? "private" : "public");
	json_int(o, "max_members", r->max_members && r->max_members < most ? r->max_members : most);
	json_bool(o, "locked", r->locked);
	write_optional(o, "metadata", r->metadata, true);
	json_bool(o, "persistent", rules != NULL);
	if (rules)
		json_int(o, "created_at", r->created_at);
	json_text(o, "role", role_word(role));
}
