/* room.publish: to all of the room, with a place in its history. */
#include "core/clock.h"
#include "core/metrics.h"
#include "signaling/access.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/roster.h"

/* The first peer of this user that is no viewer, or NULL. */
static const struct member *present(const struct room *room, struct str user)
{
	const struct member *m = room_by_user(room, user);
	while (m && m->role == ROLE_VIEWER)
		m = m->next_of_user;
	return m;
}

/* A member may; who is none (a backend, say) only for a user that is in the room, or as its owner or
 * moderator. */
static enum denial may_publish(const struct place *p, const struct call *c)
{
	const struct member *m = access_member(p, c);
	if (m)
		return m->role == ROLE_VIEWER ? DENIAL_VIEWER : DENIAL_NONE;
	enum denial why = access_look(p, c->who);
	if (why)
		return why;
	enum role role = access_role(p, c->who);
	if (role == ROLE_VIEWER)
		return DENIAL_VIEWER;
	return role >= ROLE_MODERATOR || present(p->room, c->who->user) ? DENIAL_NONE
									: DENIAL_NOT_PRESENT;
}

/* The params of the event, which is also what the ring keeps. */
static struct buf message_text(const struct room *room, const struct call *c)
{
	const struct publish_params *in = c->params;
	struct buf b = BUF_INIT(FRAME_MAX_BYTES);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_str(&o, "room", room->name);
	json_text(&o, "epoch", room->epoch);
	json_int(&o, "offset", (int64_t)room->ring.top + 1);
	roster_from(&o, c->who, room_by_endpoint(room, c->from), false);
	json_raw(&o, "data", in->data);
	json_int(&o, "time", clock_unix_ms());
	json_close(&o, '}');
	return b;
}

static enum err publish(struct room *room, const struct call *c)
{
	struct buf text = message_text(room, c);
	struct str s = buf_str(&text);
	struct event e;
	event_begin(&e, "room.message");
	if (!text.err)
		json_raw(&e.params, NULL, (struct str){s.p + 1, s.n - 2}); /* without its braces */
	struct frame *f = event_take(&e);
	enum err err = text.err ? text.err : f ? ERR_OK : ERR_TOO_LARGE;
	if (!err) {
		room->ring.limits = rooms_ring_limits(); /* a reload may have changed them */
		announce_before(room);
		ring_put(&room->ring, s, worker_now_ms());
		room_tell(room, (struct addr){0}, f);
		metric_add(METRIC_PUBLISHED, 1);
	} else {
		frame_unref(&f);
	}
	buf_free(&text);
	return err;
}

static void reply_offset(struct call *c, const struct room *room, uint64_t offset)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "epoch", room->epoch);
	json_int(o, "offset", (int64_t)offset);
	json_close(o, '}');
	call_reply(c);
}

static void visit(struct place *p, struct call *c)
{
	const struct publish_params *in = c->params;
	enum denial why = may_publish(p, c);
	if (why) {
		deny(c, why, 0);
		return;
	}
	struct room *room = p->room;
	uint64_t before = 0;
	if (in->idempotency_key.n)
		before = recent_find(&room->recent, c->who->user, in->idempotency_key);
	if (before) {
		reply_offset(c, room, before);
		return;
	}
	if (publish(room, c)) {
		deny_too_large(c, "data", options()->data_max);
		return;
	}
	if (in->idempotency_key.n)
		recent_add(&room->recent, c->who->user, in->idempotency_key, room->ring.top);
	reply_offset(c, room, room->ring.top);
}

void room_publish_run(struct call *c)
{
	const struct publish_params *in = c->params;
	if (in->data.n > options()->data_max)
		deny_too_large(c, "data", options()->data_max);
	else
		rooms_visit(c, VISIT_LOADED, visit);
}
