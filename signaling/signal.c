/* signal.send: from one member to another, to a user's devices, or to all of the room. */
#include "core/metrics.h"
#include "signaling/access.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/roster.h"

bool signal_is_type(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_')
			return false;
	}
	return s.n >= 1 && s.n <= TYPE_MAX_LETTERS;
}

/* Neither peer nor user: all of the room. */
static bool read_to(struct call *c, struct signal_to *ret)
{
	struct signal_params *in = c->params;
	struct params_problem problem;
	struct str inner = in->to;
	switch (json_kind(in->to)) {
	case JSON_STRING:
		inner.p++;
		inner.n -= 2;
		if (json_string_is(inner, "room"))
			return true;
		break;
	case JSON_OBJECT:
		if (!params_decode(in->to, signal_to_fields, ret, &problem) &&
			(ret->peer.p != NULL) != (ret->user.p != NULL))
			return true;
		break;
	default:
		break;
	}
	deny_param(c, "to", "to must be {\"peer\": …}, {\"user\": …} or \"room\".");
	return false;
}

/* sender NULL: a backend, say, that is in no room. */
static struct frame *received(
	const struct room *room, const struct call *c, const struct member *sender)
{
	const struct signal_params *in = c->params;
	struct event e;
	event_begin(&e, "signal.received");
	json_str(&e.params, "room", room->name);
	roster_from(&e.params, sender ? sender->who : c->who, sender, true);
	json_str(&e.params, "type", in->type);
	json_raw(&e.params, "data", in->data);
	return event_take(&e);
}

static size_t send_to_peer(const struct room *room, struct str peer, struct frame *f)
{
	struct member *to = room_by_peer(room, peer);
	if (!to) {
		frame_unref(&f);
		return 0;
	}
	addr_send(to->addr, f);
	return 1;
}

/* Each of the user's peers but the sender. */
static size_t send_to_user(
	const struct room *room, const struct member *sender, struct str user, struct frame *f)
{
	size_t n = 0;
	struct member *m = room_by_user(room, user);
	for (; m; m = m->next_of_user) {
		if (m == sender)
			continue;
		addr_send(m->addr, frame_ref(f));
		n++;
	}
	frame_unref(&f);
	return n;
}

static size_t send_to_room(struct room *room, const struct member *sender, struct frame *f)
{
	room_tell(room, sender ? sender->addr : (struct addr){0}, f);
	return room->count - (sender != NULL);
}

static void reply_queued(struct call *c, size_t n)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_int(o, "queued", (int64_t)n);
	json_close(o, '}');
	call_reply(c);
}

static void relay(
	struct room *room, struct call *c, const struct member *sender, const struct signal_to *to)
{
	struct frame *f = received(room, c, sender);
	if (!f) {
		deny_too_large(c, "data", options()->data_max);
		return;
	}
	size_t n = 0;
	announce_before(room);
	if (to->peer.p)
		n = send_to_peer(room, to->peer, f);
	else if (to->user.p)
		n = send_to_user(room, sender, to->user, f);
	else
		n = send_to_room(room, sender, f);
	metric_add(METRIC_SIGNALS, (int64_t)n);
	if (!n && to->peer.p)
		deny(c, DENIAL_NO_PEER, 0);
	else if (!n && to->user.p)
		deny(c, DENIAL_NO_USER, 0);
	else
		reply_queued(c, n);
}

static bool is_muted(const struct place *p, const struct call *c)
{
	const struct signal_params *in = c->params;
	return standing_mutes_signal(standing_of(&p->standings, c->who->user), in->type);
}

/* Who is not in the room may as its owner or moderator, or with the scope admin; unless it was put out
 * of it or silenced. */
static enum denial may_from_outside(const struct place *p, const struct call *c)
{
	if (access_role(p, c->who) < ROLE_MODERATOR)
		return DENIAL_NOT_MEMBER;
	enum denial why = access_look(p, c->who);
	const struct standing *standing = standing_of(&p->standings, c->who->user);
	if (!why && standing_is_kicked(standing, worker_now_ms()))
		why = DENIAL_KICKED;
	return why || !is_muted(p, c) ? why : DENIAL_MUTED;
}

static void from_outside(struct place *p, struct call *c)
{
	struct signal_to to = {0};
	enum denial why = may_from_outside(p, c);
	if (why)
		deny(c, why, 0);
	else if (read_to(c, &to))
		relay(p->room, c, NULL, &to);
}

static void visit(struct place *p, struct call *c)
{
	struct member *sender = access_member(p, c);
	struct signal_to to = {0};
	if (!sender && p->kind == PLACE_UNKNOWN)
		rooms_visit(c, VISIT_LOADED, visit); /* whose it is has to be known */
	else if (!sender)
		from_outside(p, c);
	else if (sender->role == ROLE_VIEWER)
		deny(c, DENIAL_VIEWER, 0);
	else if (sender->muted && is_muted(p, c))
		deny(c, DENIAL_MUTED, 0);
	else if (read_to(c, &to))
		relay(p->room, c, sender, &to);
}

void signal_send_run(struct call *c)
{
	struct signal_params *in = c->params;
	if (in->data.n > options()->data_max)
		deny_too_large(c, "data", options()->data_max);
	else if (!signal_is_type(in->type))
		deny_param(c, "type", "type must be a word of letters, digits, '-' and '_'.");
	else
		rooms_visit(c, VISIT_ANY, visit);
}
