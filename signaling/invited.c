/* invitation.look and invitation.accept: by who has the token of an invitation (invitations.h). */
#include "auth/guesses.h"
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/invitations.h"
#include "signaling/methods.h"
#include "signaling/signaling.h"

#include <stdio.h>
#include <time.h>

/* Beside those that are counted for the account itself (auth/guesses.h). */
enum { GUESSER_MAX = 600 };

struct invited_params {
	struct str room; /* the handler's own: in text, once it is known */
	struct str token;
	char text[NAME_MAX_BYTES];
	enum role role;
	bool taken;
};

static const struct field invited_fields[] = {
	FIELD(struct invited_params, token, STRING, true, 1, INVITATION_TOKEN_MAX),
	{0},
};

static struct str guesser(const struct call *c, char *out)
{
	int n = snprintf(out, GUESSER_MAX, "invitation " STR_FMT, STR_ARG(c->who->user));
	return (struct str){out, n < GUESSER_MAX ? (size_t)n : GUESSER_MAX - 1};
}

/* False: refused. */
static bool may_try(struct call *c)
{
	char text[GUESSER_MAX];
	int64_t wait = principal_is_guest(c->who) ? 0 : guess_take(guesser(c, text), STR(""));
	if (principal_is_guest(c->who))
		deny(c, DENIAL_GUEST, 0);
	else if (wait)
		call_refuse(c, ERR_RATE_LIMITED, .reason = "too_many_failures", .retry_after = wait,
			.message = "Too many invitations that are none; wait a while.");
	else
		return true;
	return false;
}

static void ask(struct call *c, enum store_verb verb, void (*done)(struct store_op *op))
{
	const struct invited_params *in = c->params;
	unsigned char hash[SECRET_HASH];
	secret_hash(in->token, hash);
	rooms_asked_store(1);
	store_ask(verb, done, c, STORE_HASH(hash), STORE_TEXT(c->who->user), STORE_INT(time(NULL)),
		STORE_INT(ROLES_MAX), STORE_END);
}

/* What it is, when it is good for this caller; else the call is refused. */
static bool read_invitation(const struct store_op *op, struct invitation *ret)
{
	struct call *c = op->context;
	char text[GUESSER_MAX];
	if (op->err && op->err != ERR_NOT_FOUND) {
		call_refuse(c, op->err);
		return false;
	}
	if (!op->err)
		*ret = invitation_of_row(op);
	if (op->err || (!ret->uses_left && !ret->kept)) {
		deny(c, DENIAL_NO_INVITATION, 0);
		return false;
	}
	guess_right(guesser(c, text), STR(""));
	return true;
}

/* ---- invitation.look ---- */

static void looked(struct store_op *op)
{
	struct call *c = op->context;
	struct invitation i = {0};
	rooms_asked_store(-1);
	if (!read_invitation(op, &i))
		return;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "room", i.room);
	json_str_if(o, "title", i.title);
	json_str(o, "role", i.role);
	json_bool(o, "guests", i.guests);
	json_int(o, "expires_at", i.expires_at);
	json_close(o, '}');
	call_reply(c);
}

static void look_run(struct call *c)
{
	if (may_try(c))
		ask(c, STORE_ROOM_INVITATION_GET, looked);
}

/* ---- invitation.accept: the store first, then the room, if it is in memory ---- */

static void answer(struct call *c)
{
	const struct invited_params *in = c->params;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "room", in->room);
	json_text(o, "role", role_word(in->role));
	json_close(o, '}');
	call_reply(c);
}

/* None: it was taken away again. */
static void role_known(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	if (!op->err) {
		rules_put_role(p->rules, c->who->user, role_parse(store_str(op, 0, 0)));
		rooms_meet_rules(p, c->who->user);
	}
	if (op->err && op->err != ERR_NOT_FOUND)
		call_refuse(c, op->err); /* tried again it is found to have been done */
	else
		answer(c);
	rooms_release(p);
}

/* Moderators may have given and taken since: what the store says while nobody else is here is the last
 * word. */
static void accept_visit(struct place *p, struct call *c)
{
	if (p->kind != PLACE_STORED) {
		answer(c);
		return;
	}
	c->state = p;
	rooms_hold(p);
	store_ask(STORE_ROOM_ROLE, role_known, c, STORE_INT(p->rules->id), STORE_TEXT(c->who->user),
		STORE_END);
}

static void arrive(struct post *post)
{
	rooms_visit((struct call *)post, VISIT_ANY, accept_visit);
}

static void go_to_room(struct call *c)
{
	const struct invited_params *in = c->params;
	struct worker *home = worker_home(in->room);
	c->post.run = arrive;
	if (home == worker_self())
		arrive(&c->post);
	else if (worker_post_call(home, &c->post))
		call_refuse(c, ERR_OVERLOADED); /* here, too */
}

static void refuse_use(struct call *c, const struct invitation *i)
{
	bool full = i->uses_left && i->roles >= ROLES_MAX;
	if (i->banned)
		deny(c, DENIAL_BANNED, 0);
	else
		deny(c, full ? DENIAL_TOO_MANY_ROLES : DENIAL_NO_INVITATION, full ? ROLES_MAX : 0);
}

static void accepted(struct store_op *op)
{
	struct call *c = op->context;
	struct invited_params *in = c->params;
	struct invitation i = {0};
	rooms_asked_store(-1);
	if (!read_invitation(op, &i))
		return;
	bool lesser = str_is(i.role, "viewer") && i.mine.n; /* there everybody is more */
	if (i.banned || (!i.kept && !lesser)) {
		refuse_use(c, &i);
		return;
	}
	in->role = role_parse(i.mine);
	memcpy(in->text, i.room.p, i.room.n);
	in->room = (struct str){in->text, i.room.n};
	if (in->taken)
		act_audit(c, i.room, c->who->user, NULL, STR(""));
	go_to_room(c);
}

/* A row: a use was taken. Without one they may have as much already, or there is no such invitation. */
static void taken(struct store_op *op)
{
	struct call *c = op->context;
	struct invited_params *in = c->params;
	rooms_asked_store(-1);
	in->taken = op->rows > 0;
	if (op->err)
		call_refuse(c, op->err);
	else
		ask(c, STORE_ROOM_INVITATION_GET, accepted);
}

/* The caller's token names rooms: whether this is one of them. */
static void seen(struct store_op *op)
{
	struct call *c = op->context;
	struct invitation i = {0};
	rooms_asked_store(-1);
	if (!read_invitation(op, &i))
		return;
	if (principal_sees_room(c->who, i.room))
		ask(c, STORE_ROOM_INVITATION_TAKE, taken);
	else
		deny(c, DENIAL_NOT_IN_TOKEN, 0);
}

static void accept_run(struct call *c)
{
	if (!may_try(c))
		return;
	if (c->who->rooms_limited)
		ask(c, STORE_ROOM_INVITATION_GET, seen);
	else
		ask(c, STORE_ROOM_INVITATION_TAKE, taken);
}

#define ROW(name, flags, run) \
	{ \
		"invitation." name, SCOPE_ROOMS_JOIN, HOME_CALLER, flags, invited_fields, \
			sizeof(struct invited_params), run \
	}

const struct method invitation_methods[] = {
	ROW("look", METHOD_READS, look_run),
	ROW("accept", 0, accept_run),
	{0},
};
