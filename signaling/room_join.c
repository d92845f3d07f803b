/* room.join and room.leave. */
#include "core/metrics.h"
#include "signaling/access.h"
#include "signaling/announce.h"
#include "signaling/attendance.h"
#include "signaling/ice.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/roster.h"
#include "signaling/template.h"
#include "signaling/told.h"

enum {
	RECOVERY_MAX_BYTES = 128 * 1024,
	RECOVERY_FRAME_BYTES = 512, /* all that stands around the messages and behind them */
};

static bool may_be_made(struct place *p, const struct principal *who)
{
	const struct room_template *t = rooms_template(p);
	return who->scopes & SCOPE_ROOMS_CREATE && template_is_ephemeral(t, p->name) &&
		template_lets_create(t, who);
}

/* Whether one more may come in, as what, and to how many. */
static enum denial admit(struct place *p, const struct call *c, size_t *ret_limit)
{
	const struct join_params *in = c->params;
	enum denial why = access_look(p, c->who);
	if (why)
		return why;
	if (p->rules && p->rules->locked && access_role(p, c->who) < ROLE_MODERATOR)
		return DENIAL_LOCKED;
	size_t most = rules_most_members(p->rules, rooms_template(p));
	if (p->room->count >= most) {
		*ret_limit = most;
		return DENIAL_ROOM_FULL;
	}
	if (!in->has_place) {
		*ret_limit = options()->rooms_per_session;
		return DENIAL_TOO_MANY_ROOMS;
	}
	return DENIAL_NONE;
}

/* How many bytes of messages after the offset still fit into the answer, with a comma for each. */
static size_t recovery_room(const struct json_out *o, uint64_t messages)
{
	size_t used = frame_buf_str(o->b).n + RECOVERY_FRAME_BYTES + (size_t)messages;
	size_t left = used < FRAME_MAX_BYTES ? FRAME_MAX_BYTES - used : 0;
	return left < RECOVERY_MAX_BYTES ? left : RECOVERY_MAX_BYTES;
}

static bool recovers(const struct json_out *o, struct room *room, const struct join_params *in)
{
	uint64_t offset = (uint64_t)in->from.offset.n;
	ring_expire(&room->ring, worker_now_ms());
	if (!in->since.p || !str_is(in->from.epoch, room->epoch) || offset > room->ring.top)
		return false;
	uint64_t missed = room->ring.top - offset;
	return missed <= room->ring.count &&
		ring_holds_after(&room->ring, offset, recovery_room(o, missed));
}

/* The last of the answer: the member is in the room already, so it must not become too large. */
static void write_recovery(struct json_out *o, struct room *room, const struct join_params *in)
{
	uint64_t offset = (uint64_t)in->from.offset.n;
	bool recovered = recovers(o, room, in);
	json_text(o, "epoch", room->epoch);
	json_int(o, "offset", (int64_t)room->ring.top);
	json_bool(o, "recovered", recovered);
	json_open(o, "messages", '[');
	while (recovered && offset < room->ring.top)
		json_raw(o, NULL, ring_at(&room->ring, ++offset));
	json_close(o, ']');
}

static void answer(struct call *c, const struct member *m)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "room", m->room->name);
	json_text(o, "peer", m->peer);
	json_text(o, "role", role_word(m->role));
	roster_write(o, m->room, m, 0);
	ice_write(o, c->who->user, ice_expiry());
	write_recovery(o, m->room, c->params);
	json_close(o, '}');
	call_reply(c);
}

/* Once more by who is a member: the same peer, and everything told again. */
static void join_again(struct call *c, struct member *m)
{
	const struct join_params *in = c->params;
	if (in->has_place)
		attendance_give_back(c->from); /* it has one */
	announce_before(m->room);
	if (in->state.p) {
		member_set_state(m, in->state);
		announce_state(m);
	}
	announce_told(m);
	answer(c, m);
}

static void join(struct place *p, struct call *c)
{
	const struct join_params *in = c->params;
	struct member *m = room_add_again(p->room, c->who, c->from, access_role(p, c->who),
		in->state, (struct str){in->peer, PEER_CHARS}, p->room->last_seq + 1);
	attendance_add(m);
	metric_add(METRIC_MEMBERS, 1);
	announce_joined(m);
	answer(c, m);
}

/* Its events are kept: now it happens. */
static void join_told(struct place *p, struct call *c, enum err err)
{
	const struct join_params *in = c->params;
	if (!err) {
		join(p, c);
		return;
	}
	if (in->has_place)
		attendance_give_back(c->from);
	call_refuse(c, err);
}

static void join_first_told(struct place *p, struct call *c)
{
	const struct join_params *in = c->params;
	struct hooks h = {0};
	told_joined(
		&h, p->room, c->who, (struct str){in->peer, PEER_CHARS}, access_role(p, c->who));
	told_first(p, c, &h, join_told);
}

static void join_visit(struct place *p, struct call *c)
{
	struct join_params *in = c->params;
	struct member *m = access_member(p, c);
	if (m) {
		join_again(c, m);
		return;
	}
	if (p->kind == PLACE_ABSENT && may_be_made(p, c->who))
		rooms_make_ephemeral(p, c->who);
	size_t limit = 0;
	enum denial why = admit(p, c, &limit);
	if (why) {
		if (in->has_place)
			attendance_give_back(c->from);
		deny(c, why, limit);
		return;
	}
	room_new_peer(in->peer);
	if (told_members())
		join_first_told(p, c);
	else
		join(p, c);
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
	rooms_visit((struct call *)p, VISIT_LOADED, join_visit);
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
	if (home == worker_self()) {
		arrive(&c->post);
		return;
	}
	struct endpoint *from = addr_find(c->from);
	if (from)
		from->workers_called |= UINT64_C(1) << home->index;
	if (!worker_post_call(home, &c->post))
		return;
	if (in->has_place)
		attendance_give_back(c->from);
	call_refuse(c, ERR_OVERLOADED);
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
