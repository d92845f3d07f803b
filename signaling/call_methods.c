/* The methods call.*: what is asked for, on the worker of the session that asks. */
#include "signaling/access.h"
#include "signaling/attendance.h"
#include "signaling/call_records.h"
#include "signaling/calls.h"
#include "signaling/meeting.h"
#include "signaling/options.h"

#include <stdio.h>

enum { TIMEOUT_S = 45, TIMEOUT_MIN_S = 5, TIMEOUT_MAX_S = 120, GUESS_CHARS = 22 };

struct call_to {
	struct str user;
};

static const struct field to_fields[] = {
	FIELD(struct call_to, user, STRING, true, 1, CALL_USER_MAX),
	{0},
};

static bool read_to(struct call *c)
{
	struct call_params *in = c->params;
	struct call_to to = {0};
	struct params_problem problem;
	if (params_decode(in->to, to_fields, &to, &problem)) {
		deny_param(c, "to", "to must be {\"user\": string}.");
		return false;
	}
	in->user = to.user;
	if (!str_eq(to.user, c->who->user))
		return true;
	deny_param(c, "to", "Nobody rings themselves.");
	return false;
}

/* Random, and at the end where the call lives: the hash that says which the callee's home is. */
static void name_call(struct call_params *in)
{
	random_letters(in->id, GUESS_CHARS);
	snprintf(in->id + GUESS_CHARS, sizeof(in->id) - GUESS_CHARS, "%016llx", str_hash(in->user));
	if (in->room.p)
		return;
	in->own_room = true;
	int n = snprintf(in->room_name, sizeof(in->room_name), CALL_ROOM_PREFIX "%s", in->id);
	in->room = (struct str){in->room_name, (size_t)n};
}

static void invite_run(struct call *c)
{
	struct call_params *in = c->params;
	in->word = CALL_INVITE;
	if (principal_is_guest(c->who)) {
		deny(c, DENIAL_GUEST, 0);
		return;
	}
	if (in->room.p && call_owns_room(in->room)) {
		deny(c, DENIAL_RESERVED, 0);
		return;
	}
	if (!read_to(c))
		return;
	if (!in->timeout.given)
		in->timeout.n = TIMEOUT_S;
	name_call(in);
	meeting_invite(c);
}

/* To the home of the call that is named. */
static void ask(struct call *c, enum call_word word)
{
	struct call_params *in = c->params;
	struct worker *home = call_home(in->call);
	in->word = word;
	if (!home) {
		deny(c, DENIAL_NO_CALL, 0);
		return;
	}
	c->post.run = calls_ask;
	call_travel(c, home);
}

static void accept_run(struct call *c)
{
	ask(c, CALL_ACCEPT);
}

static void decline_run(struct call *c)
{
	ask(c, CALL_DECLINE);
}

static void cancel_run(struct call *c)
{
	ask(c, CALL_CANCEL);
}

static void hangup_run(struct call *c)
{
	ask(c, CALL_HANGUP);
}

static const struct field invite_fields[] = {
	FIELD(struct call_params, to, OBJECT, true, 0, TO_MAX_BYTES),
	FIELD(struct call_params, room, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct call_params, data, RAW, false, 0, CALL_DATA_CEILING),
	FIELD(struct call_params, timeout, INT, false, TIMEOUT_MIN_S, TIMEOUT_MAX_S),
	{0},
};

static const struct field ask_fields[] = {
	FIELD(struct call_params, call, STRING, true, 1, NAME_MAX_BYTES),
	{0},
};

static const struct field history_fields[] = {
	FIELD(struct call_list_params, cursor, STRING, false, 0, NAME_MAX_BYTES),
	FIELD(struct call_list_params, limit, INT, false, 1, 100),
	{0},
};

static const struct field seen_fields[] = {
	FIELD(struct call_seen_params, calls, ARRAY, false, 0, CALLS_SEEN_MAX * 64),
	FIELD(struct call_seen_params, all, BOOL, false, 0, 0),
	{0},
};

#define ROW(name, flags, fields, params, run) \
	{ \
		name, SCOPE_ROOMS_JOIN, HOME_CALLER, flags, fields, sizeof(struct params), run \
	}

/* All begin where the session lives, because they need its place among its rooms, or find their home by
 * themselves. */
const struct method call_methods[] = {
	ROW("call.invite", METHOD_SESSION | METHOD_BARRIER, invite_fields, call_params, invite_run),
	ROW("call.accept", METHOD_SESSION | METHOD_BARRIER, ask_fields, call_params, accept_run),
	ROW("call.decline", METHOD_SESSION, ask_fields, call_params, decline_run),
	ROW("call.cancel", METHOD_SESSION, ask_fields, call_params, cancel_run),
	ROW("call.hangup", METHOD_SESSION, ask_fields, call_params, hangup_run),
	ROW("call.history", 0, history_fields, call_list_params, call_history_run),
	ROW("call.seen", METHOD_SESSION, seen_fields, call_seen_params, call_seen_run),
	{0},
};
