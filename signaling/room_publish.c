/* room.publish: to all of the room, with a place in its history. */
#include "signaling/access.h"
#include "signaling/asked.h"
#include "signaling/durable.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/told.h"

/* ---- in memory ---- */

static struct message message_of(const struct place *p, const struct call *c)
{
	const struct publish_params *in = c->params;
	struct message m = message_by(p->room, c);
	m.offset = p->room->ring.top + 1;
	m.data = in->data;
	if (in->time)
		m.time = in->time;
	return m;
}

/* Its event is kept: the same message happens, as nothing else has meanwhile. */
static void publish_told(struct place *p, struct call *c, enum err err)
{
	const struct publish_params *in = c->params;
	struct room *room = p->room;
	if (err) {
		call_refuse(c, err);
		return;
	}
	struct message m = message_of(p, c);
	room->ring.limits = rooms_ring_limits(p); /* a reload may have changed them */
	message_tell(room, &m);
	if (in->idempotency_key.n)
		recent_add(&room->recent, c->who->user, in->idempotency_key, m.offset);
	message_reply_offset(c, room->epoch, m.offset);
}

static void publish(struct place *p, struct call *c)
{
	struct publish_params *in = c->params;
	if (!hook_wanted(HOOK_ROOM_PUBLISHED)) {
		publish_told(p, c, ERR_OK);
		return;
	}
	struct message m = message_of(p, c);
	in->time = m.time;
	told_message_first(p, c, &m, publish_told);
}

/* ---- in the store ---- */

/* This key was used before: it is answered as it was then. */
static void known(struct store_op *op)
{
	struct under_way *u = op->context;
	const struct room *room = durable_room(u);
	if (op->err)
		call_refuse(u->call, op->err == ERR_NOT_FOUND ? ERR_OVERLOADED : op->err);
	else if (!room)
		deny(u->call, DENIAL_NO_ROOM, 0);
	else
		message_reply_offset(u->call, room->epoch, (uint64_t)store_int(op, 0, 0));
	durable_end(&u);
}

static void kept(struct store_op *op)
{
	struct under_way *u = op->context;
	const struct publish_params *in = u->call->params;
	if (op->err == ERR_CONFLICT) {
		store_ask(STORE_MESSAGE_OF_KEY, known, u, STORE_INT(u->history),
			STORE_TEXT(u->message.user), STORE_TEXT(in->idempotency_key), STORE_END);
		return;
	}
	durable_done(u, op);
	durable_end(&u);
}

/* Others need not wait for it. */
static void keep(struct place *p, struct call *c)
{
	const struct publish_params *in = c->params;
	struct under_way *u = durable_begin(p, c, in->data);
	if (in->idempotency_key.n)
		durable_ask(u, STORE_MESSAGE_ADD_ONCE, kept, STORE_TEXT(in->idempotency_key),
			STORE_INT(u->message.time - DURABLE_KEYS_MS), STORE_END);
	else
		durable_ask(u, STORE_MESSAGE_ADD, kept, STORE_END);
}

static void visit(struct place *p, struct call *c);

static void publish_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	struct publish_params *in = c->params;
	in->asked = true;
	if (a->err)
		call_fail(c, a->err, &a->why);
	else
		visit(p, c);
}

static bool publish_asks(struct place *p, struct call *c)
{
	const struct publish_params *in = c->params;
	struct backend_question *q = NULL;
	if (in->asked || !asked_wanted(BACKEND_PUBLISH, c))
		return false;
	json_raw(asked_begin(p, c, BACKEND_PUBLISH, &q), "data", in->data);
	asked_first(p, c, q, publish_asked);
	return true;
}

static void visit(struct place *p, struct call *c)
{
	const struct publish_params *in = c->params;
	enum denial why = access_publish(p, c);
	uint64_t before = 0;
	if (why) {
		deny(c, why, 0);
		return;
	}
	if (publish_asks(p, c) || !durable_ready(p, c, visit))
		return;
	if (in->idempotency_key.n)
		before = recent_find(&p->room->recent, c->who->user, in->idempotency_key);
	if (before)
		message_reply_offset(c, p->room->epoch, before);
	else if (p->room->history)
		keep(p, c);
	else
		publish(p, c);
}

void room_publish_run(struct call *c)
{
	const struct publish_params *in = c->params;
	if (in->data.n > options()->data_max)
		deny_too_large(c, "data", options()->data_max);
	else
		rooms_visit(c, VISIT_LOADED, visit);
}
