/* presence.set, presence.watch, presence.unwatch and presence.get. */
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/options.h"
#include "signaling/people.h"
#include "signaling/presence.h"
#include "signaling/presence_ask.h"
#include "signaling/presence_watch.h"

enum { USERS_BYTES = 48 * 1024, WORD_MAX = 16 };

struct set_params {
	struct str status, note;
};

struct users_params {
	struct str users;
};

static const struct field set_fields[] = {
	FIELD(struct set_params, status, STRING, true, 0, WORD_MAX),
	FIELD(struct set_params, note, RAW, false, 0, PRESENCE_NOTE_MAX),
	{0},
};

static const struct field users_fields[] = {
	FIELD(struct users_params, users, ARRAY, true, 0, USERS_BYTES),
	{0},
};

static const struct field unwatch_fields[] = {
	FIELD(struct users_params, users, ARRAY, false, 0, USERS_BYTES),
	{0},
};

/* ---- presence.set ---- */

static void say(struct post *p)
{
	struct call *c = (struct call *)p;
	const struct set_params *in = c->params;
	struct person_session *s = person_session_find(c->from);
	struct str note = json_kind(in->note) == JSON_NULL ? STR("") : in->note;
	if (s)
		presence_say(s, str_is(in->status, "away"), note);
	call_reply_empty(c);
}

/* Whoever calls is known at its user's home: it was told of the session when that was opened. */
static void set_run(struct call *c)
{
	const struct set_params *in = c->params;
	if (!str_is(in->status, "online") && !str_is(in->status, "away")) {
		deny_param(c, "status", "status must be online or away.");
		return;
	}
	struct worker *home = worker_home(c->who->user);
	c->post.run = say;
	if (home == worker_self())
		say(&c->post);
	else if (worker_post_call(home, &c->post))
		call_refuse(c, ERR_OVERLOADED);
}

/* ---- the others ---- */

/* Names, each once. Their bytes lie in what is freed with them. */
struct names {
	struct str list[ASK_MAX];
	size_t count;
	char *bytes;
};

static bool add_name(struct names *names, struct str value, char **at)
{
	size_t n = 0;
	if (json_kind(value) != JSON_STRING || json_decode(value, *at, &n))
		return false;
	struct str name = {*at, n};
	if (!n || n > ASK_USER_MAX || str_has_control(name))
		return false;
	for (size_t i = 0; i < names->count; i++)
		if (str_eq(names->list[i], name))
			return true;
	names->list[names->count++] = name;
	*at += n;
	return true;
}

/* False: it has been refused. */
static bool read_names(struct call *c, struct names *ret_names)
{
	const struct users_params *in = c->params;
	struct names names = {.bytes = mem_alloc(in->users.n + 1)};
	char *at = names.bytes;
	struct json_walk walk = json_walk(in->users);
	struct str value;
	size_t mentioned = 0;
	bool ok = true;
	for (; ok && json_next(&walk, NULL, &value); mentioned++)
		ok = mentioned < ASK_MAX && add_name(&names, value, &at);
	if (ok && mentioned) {
		*ret_names = names;
		return true;
	}
	free(names.bytes);
	deny_param(c, "users", "users must be an array of 1 to 256 names of users.");
	return false;
}

static bool may_look(struct call *c)
{
	enum denial why = DENIAL_NONE;
	if (principal_is_guest(c->who))
		why = DENIAL_GUEST;
	else if (options()->presence_hidden && !(c->who->scopes & SCOPE_ADMIN))
		why = DENIAL_PRESENCE_HIDDEN;
	if (why)
		deny(c, why, 0);
	return !why;
}

static void get_run(struct call *c)
{
	struct names names;
	if (!may_look(c) || !read_names(c, &names))
		return;
	presence_ask(c, names.list, names.count, false);
	free(names.bytes);
}

static void watch_run(struct call *c)
{
	struct names names;
	if (!may_look(c) || !read_names(c, &names))
		return;
	if (watch_add(c->from, c->who, names.list, names.count))
		presence_ask(c, names.list, names.count, true);
	else
		deny(c, DENIAL_TOO_MANY_WATCHED, WATCHED_MAX);
	free(names.bytes);
}

static void unwatch_run(struct call *c)
{
	const struct users_params *in = c->params;
	struct names names;
	if (in->users.p && !read_names(c, &names))
		return;
	if (in->users.p) {
		watch_remove(c->from, names.list, names.count);
		free(names.bytes);
	} else {
		watch_remove_all(c->from);
	}
	call_reply_empty(c);
}

const struct method presence_methods[] = {
	{"presence.set", SCOPE_ROOMS_JOIN, HOME_CALLER, METHOD_SESSION, set_fields,
		sizeof(struct set_params), set_run},
	{"presence.watch", SCOPE_ROOMS_JOIN, HOME_CALLER, METHOD_SESSION, users_fields,
		sizeof(struct users_params), watch_run},
	{"presence.unwatch", SCOPE_ROOMS_JOIN, HOME_CALLER, METHOD_SESSION, unwatch_fields,
		sizeof(struct users_params), unwatch_run},
	{"presence.get", SCOPE_ROOMS_JOIN, HOME_CALLER, 0, users_fields,
		sizeof(struct users_params), get_run},
	{0},
};
