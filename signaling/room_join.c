/* room.join and room.leave. */
#include "signaling/join.h"

#include "core/metrics.h"
#include "signaling/announce.h"
#include "signaling/asked.h"
#include "signaling/attendance.h"
#include "signaling/calls.h"
#include "signaling/ice.h"
#include "signaling/ice_renewal.h"
#include "signaling/options.h"
#include "signaling/recovery.h"
#include "signaling/roster.h"
#include "signaling/template.h"
#include "signaling/told.h"

static bool may_be_made(struct place *p, const struct principal *who)
{
	const struct room_template *t = rooms_template(p);
	return who->scopes & SCOPE_ROOMS_CREATE && !call_owns_room(p->name) &&
		template_is_ephemeral(t, p->name) && template_lets_create(t, who);
}

void join_make(struct place *p, const struct principal *who)
{
	if (p->kind == PLACE_ABSENT && may_be_made(p, who))
		rooms_make_ephemeral(p, who);
}

enum denial join_fits(struct place *p, bool has_place, size_t before, size_t *ret_limit)
{
	size_t most = rules_most_members(p->rules, rooms_template(p));
	if (p->room->count + before >= most) {
		*ret_limit = most;
		return DENIAL_ROOM_FULL;
	}
	if (!has_place) {
		*ret_limit = options()->rooms_per_session;
		return DENIAL_TOO_MANY_ROOMS;
	}
	return DENIAL_NONE;
}

/* Whether one more may come in, and to how many. */
static enum denial admit(struct place *p, const struct call *c, size_t *ret_limit)
{
	const struct join_params *in = c->params;
	enum denial why = access_enter(p, c->who);
	why = why ? why : access_use(p);
	if (why)
		return why;
	return join_fits(p, in->has_place, 0, ret_limit);
}

void join_write(struct json_out *o, const char *key, const struct member *m, struct join_params *in)
{
	json_open(o, key, '{');
	json_str(o, "room", m->room->name);
	json_text(o, "peer", m->peer);
	json_text(o, "role", role_word(m->role));
	json_bool(o, "muted", m->muted);
	roster_write(o, m->room, m, 0);
	ice_write(o, m->who->user, ice_expiry(), in ? in->region : STR(""));
	ice_given(m->addr, m->who->user, in ? in->region : STR(""));
	recovery_write(o, m->room, in);
	json_close(o, '}');
}

static void answer(struct call *c, const struct member *m)
{
	join_write(call_result(c), NULL, m, c->params);
	call_reply(c);
}

void join_again(struct member *m, bool has_place, struct str state)
{
	if (has_place)
		attendance_give_back(m->addr); /* it has one */
	announce_before(m->room);
	if (state.p) {
		member_set_state(m, state);
		announce_state(m);
	}
	announce_told(m);
}

struct member *join_enter(struct place *p, const struct principal *who, struct addr addr,
	struct str state, struct str peer)
{
	struct member *m = room_add(
		p->room, who, addr, access_role(p, who), state, peer, p->room->last_seq + 1);
	const struct standing *standing = standing_of(&p->standings, who->user);
	m->muted = standing && standing->muted;
	attendance_add(m);
	metric_add(METRIC_MEMBERS, 1);
	announce_joined(m);
	return m;
}

/* What the call took is not needed: a place among its session's rooms, what it has missed, the backend's
 * word. */
static void give_back(struct call *c)
{
	struct join_params *in = c->params;
	if (in->has_place)
		attendance_give_back(c->from);
	recovery_drop(in);
	asked_drop(&in->ahead);
}

static void join(struct place *p, struct call *c)
{
	const struct join_params *in = c->params;
	struct str peer = {in->peer, PEER_CHARS};
	if (recovery_ready(p, c, join))
		answer(c, join_enter(p, c->who, c->from, in->state, peer));
}

static void refused(struct call *c, enum err err, const char *reason)
{
	give_back(c);
	call_refuse(c, err, .reason = reason);
}

/* Its events are kept: now it happens. */
static void join_told(struct place *p, struct call *c, enum err err)
{
	if (err)
		refused(c, err, NULL);
	else
		join(p, c);
}

static void join_first_told(struct place *p, struct call *c)
{
	const struct join_params *in = c->params;
	struct hooks h = {0};
	told_joined(
		&h, p->room, 0, c->who, (struct str){in->peer, PEER_CHARS}, access_role(p, c->who));
	told_first(p, c, &h, join_told);
}

/* Somebody new, or once more somebody who is in it, knows by now what there is to tell. */
static void come_in(struct place *p, struct call *c, struct member *m)
{
	struct join_params *in = c->params;
	asked_drop(&in->ahead); /* it has joined meanwhile */
	if (m) {
		join_again(m, in->has_place, in->state);
		answer(c, m);
		return;
	}
	room_new_peer(in->peer);
	if (told_members())
		join_first_told(p, c);
	else
		join(p, c);
}

static void join_visit(struct place *p, struct call *c);

static void join_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	struct join_params *in = c->params;
	if (a->err) {
		give_back(c);
		call_fail(c, a->err, &a->why);
		return;
	}
	in->asked = true;
	asked_heed_role(p, c->who, a);
	join_visit(p, c);
}

/* Also about who would not get in but for a role that the backend gives. NULL: it is not asked. */
static struct backend_question *join_question(
	const struct place *p, const struct call *c, enum denial why)
{
	struct backend_question *q = NULL;
	if (!asked_wanted(BACKEND_JOIN, c) || (why && why != DENIAL_PRIVATE && why != DENIAL_LOBBY))
		return NULL;
	struct json_out *o = asked_begin(p, c, BACKEND_JOIN, &q);
	json_text(o, "role", role_word(access_role(p, c->who)));
	return q;
}

/* Who has to wait for the room need not wait for the answers about all who are before it. */
static void ask_ahead(struct place *p, struct call *c)
{
	struct join_params *in = c->params;
	size_t limit;
	if (in->ahead || !backend_is_at_ease() || access_member(p, c))
		return;
	struct backend_question *q = join_question(p, c, admit(p, c, &limit));
	if (q)
		in->ahead = asked_ahead(q);
}

static bool join_asks(struct place *p, struct call *c, enum denial why)
{
	struct join_params *in = c->params;
	struct backend_question *q = NULL;
	if (in->asked)
		return false;
	if (in->ahead) {
		asked_turn(p, c, &in->ahead, join_asked);
		return true;
	}
	if (!(q = join_question(p, c, why)))
		return false;
	asked_first(p, c, q, join_asked);
	rooms_each_waiting(p, join_visit, ask_ahead);
	return true;
}

static void join_visit(struct place *p, struct call *c)
{
	const struct join_params *in = c->params;
	struct member *m = access_member(p, c);
	enum denial why = DENIAL_NONE;
	size_t limit = 0;
	if (!m) {
		join_make(p, c->who);
		why = admit(p, c, &limit);
	}
	if (!m && join_asks(p, c, why))
		return;
	if (why) {
		give_back(c);
		deny_for_now(p, c, why, limit);
	} else if (in->missed.err) {
		refused(c, in->missed.err, NULL);
	} else if (recovery_ready(p, c, join_visit)) {
		come_in(p, c, m);
	}
}

bool since_read(struct call *c, struct str since, struct since_params *ret)
{
	struct params_problem problem;
	if (!params_decode(since, since_fields, ret, &problem))
		return true;
	deny_param(c, "since", "since must be {\"epoch\": string, \"offset\": number}.");
	return false;
}

static void arrive(struct post *p)
{
	struct call *c = (struct call *)p;
	const struct join_params *in = c->params;
	struct place *there = backend_asked(BACKEND_JOIN) ? rooms_place(in->room) : NULL;
	if (there && there->kind != PLACE_UNKNOWN && (there->first || there->held))
		ask_ahead(there, c);
	rooms_visit_or(c, VISIT_LOADED, join_visit, refused);
}

void room_join_run(struct call *c)
{
	struct join_params *in = c->params;
	if (in->state.n > options()->state_max) {
		deny_too_large(c, "state", options()->state_max);
		return;
	}
	if (in->since.p && !since_read(c, in->since, &in->from))
		return;
	in->has_place = attendance_take_place(c->from, options()->rooms_per_session);
	struct worker *home = worker_home(in->room);
	c->post.run = arrive;
	if (call_travel(c, home))
		refused(c, ERR_OVERLOADED, NULL);
}

/* Who is not there has left already. */
static void leave_visit(struct place *p, struct call *c)
{
	struct member *m = access_member(p, c);
	if (m)
		rooms_end_membership(m, "left");
	call_reply_empty(c);
}

void room_leave_run(struct call *c)
{
	rooms_visit(c, VISIT_ANY, leave_visit);
}
