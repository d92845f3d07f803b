/* room.publish: to all of the room, with a place in its history. */
#include "signaling/access.h"
#include "signaling/message.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/told.h"

static void add(struct place *p, struct call *c, const struct message *message, struct str text)
{
	struct room *room = p->room;
	const struct publish_params *in = c->params;
	room->ring.limits = rooms_ring_limits(p); /* a reload may have changed them */
	message_add(room, text);
	if (in->idempotency_key.n)
		recent_add(&room->recent, c->who->user, in->idempotency_key, message->offset);
	message_reply_offset(c, room->epoch, message->offset);
}

static void publish(struct place *p, struct call *c, struct message *message, bool is_told);

/* Its event is kept: the same message happens, as nothing else has meanwhile. */
static void publish_told(struct place *p, struct call *c, enum err err)
{
	const struct publish_params *in = c->params;
	struct message message = message_by(p->room, c);
	message.time = in->time;
	if (err)
		call_refuse(c, err);
	else
		publish(p, c, &message, true);
}

static void publish(struct place *p, struct call *c, struct message *message, bool is_told)
{
	struct publish_params *in = c->params;
	struct buf b;
	struct str text;
	message->data = in->data;
	if (message_write(&b, p->room, message, &text)) {
		deny_too_large(c, "data", options()->data_max);
	} else if (!is_told && hook_wanted(HOOK_ROOM_PUBLISHED)) {
		struct hooks h = {0};
		in->time = message->time;
		told_published(&h, p->name, text);
		told_first(p, c, &h, publish_told);
	} else {
		add(p, c, message, text);
	}
	buf_free(&b);
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
	if (in->idempotency_key.n)
		before = recent_find(&p->room->recent, c->who->user, in->idempotency_key);
	if (before) {
		message_reply_offset(c, p->room->epoch, before);
	} else {
		struct message message = message_by(p->room, c);
		publish(p, c, &message, false);
	}
}

void room_publish_run(struct call *c)
{
	const struct publish_params *in = c->params;
	if (in->data.n > options()->data_max)
		deny_too_large(c, "data", options()->data_max);
	else
		rooms_visit(c, VISIT_LOADED, visit);
}
