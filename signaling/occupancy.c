/* room.occupancy and room.watch: how many are in rooms, without being in them. */
#include "signaling/occupancy.h"

#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/methods.h"
#include "signaling/room_watch.h"
#include "signaling/signaling.h"

#include <time.h>

enum { ROOMS_RAW_MAX = 48 * 1024 };

struct occupancy_params {
	struct str rooms;
};

static const struct field occupancy_fields[] = {
	FIELD(struct occupancy_params, rooms, ARRAY, true, 0, ROOMS_RAW_MAX),
	{0},
};

/* A question on its way. */
struct asked {
	struct headcounts h;
	struct call *call;
	bool watch;
	char *text; /* that the names lie in */
	struct headcount list[ROOMS_WATCHED_MAX];
};

void occupancy_write(struct json_out *o, struct str room, size_t members, size_t users)
{
	json_open(o, NULL, '{');
	json_str(o, "room", room);
	json_int(o, "member_count", (int64_t)members);
	json_int(o, "user_count", (int64_t)users);
	json_close(o, '}');
}

static struct headcount *find(struct asked *a, struct str room)
{
	for (size_t i = 0; i < a->h.count; i++)
		if (str_eq(a->list[i].room, room))
			return &a->list[i];
	return NULL;
}

static void answer(struct headcounts *h)
{
	struct asked *a = (struct asked *)h;
	struct addr session = h->watch;
	struct json_out *o = call_result(a->call);
	json_open(o, NULL, '{');
	json_open(o, "rooms", '[');
	for (size_t i = 0; i < h->count; i++)
		if (h->list[i].shown)
			occupancy_write(o, h->list[i].room, h->list[i].members, h->list[i].users);
	json_close(o, ']');
	json_close(o, '}');
	call_reply(a->call);
	if (session.generation)
		room_watch_answered(session, h);
	free(a->text);
	free(a);
}

/* Columns: name, owner, visibility, lobby, role. */
static void take_row(struct asked *a, const struct store_op *op, size_t row)
{
	struct rules r = {.id = 1,
		.owner = store_str(op, row, 1),
		.private = str_is(store_str(op, row, 2), "private"),
		.lobby = store_int(op, row, 3) != 0};
	struct str name = store_str(op, row, 0);
	struct headcount *it = find(a, name);
	if (!it)
		return;
	enum role role =
		rules_role_granted(&r, name, a->call->who, role_parse(store_str(op, row, 4)));
	it->shown = role > ROLE_BANNED || (role == ROLE_NONE && !r.private);
}

static void seen(struct store_op *op)
{
	struct asked *a = op->context;
	rooms_asked_store(-1);
	if (op->err) {
		call_refuse(a->call, op->err);
		free(a->text);
		free(a);
		return;
	}
	for (size_t i = 0; i < op->rows; i++)
		take_row(a, op, i);
	a->h.list = a->list;
	a->h.who = a->call->who;
	a->h.done = answer;
	if (a->watch)
		room_watch_begin(&a->h, a->call->from);
	headcount_ask(&a->h);
}

/* Names that the token does not see are left out, as are those of rooms that nobody may look at. */
static const char *read_names(struct asked *a, struct str array, const struct principal *who)
{
	struct str item;
	size_t count = 0;
	a->text = mem_copy(array);
	array.p = a->text;
	for (struct json_walk w = json_walk(array); json_next(&w, NULL, &item);) {
		char *at = (char *)(uintptr_t)item.p;
		struct str name = {at, 0};
		if (++count > ROOMS_WATCHED_MAX)
			return "rooms must be at most 100 names.";
		if (json_kind(item) != JSON_STRING || json_decode(item, at, &name.n) || !name.n ||
			name.n > NAME_MAX_BYTES || str_has_control(name))
			return "rooms must be names of rooms.";
		if (principal_sees_room(who, name) && !find(a, name))
			a->list[a->h.count++].room = name;
	}
	return NULL;
}

static void ask(struct call *c, bool watch)
{
	const struct occupancy_params *in = c->params;
	struct asked *a = mem_new(struct asked);
	const char *wrong = read_names(a, in->rooms, c->who);
	a->call = c;
	a->watch = watch;
	if (wrong) {
		deny_param(c, "rooms", wrong);
		free(a->text);
		free(a);
		return;
	}
	rooms_asked_store(1);
	store_ask(STORE_ROOM_SEEN, seen, a, STORE_TEXT(in->rooms), STORE_TEXT(c->who->user),
		STORE_INT(time(NULL)), STORE_END);
}

static void occupancy_run(struct call *c)
{
	ask(c, false);
}

static void watch_run(struct call *c)
{
	ask(c, true);
}

const struct method occupancy_methods[] = {
	{"room.occupancy", SCOPE_ROOMS_JOIN, HOME_CALLER, 0, occupancy_fields,
		sizeof(struct occupancy_params), occupancy_run},
	{"room.watch", SCOPE_ROOMS_JOIN, HOME_CALLER, METHOD_SESSION, occupancy_fields,
		sizeof(struct occupancy_params), watch_run},
	{0},
};
