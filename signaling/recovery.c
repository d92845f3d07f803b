#include "signaling/recovery.h"

#include "signaling/durable.h"

enum {
	AROUND_BYTES = 512,   /* all that stands around the messages and behind them */
	TEXT_MIN_BYTES = 100, /* of a message: so many are too many, however short they are */
	RECOVERY_MESSAGES = RECOVERY_MAX_BYTES / TEXT_MIN_BYTES,
	TEXTS_MAX_BYTES = RECOVERY_MAX_BYTES + RECOVERY_MESSAGES, /* commas are not counted */
};

/* Whether the position is one of this room, so that its messages are worth looking for. */
static bool is_position(const struct room *room, const struct join_params *in)
{
	return in->since.p && str_is(in->from.epoch, room->epoch) &&
		(uint64_t)in->from.offset.n <= room->ring.top &&
		room->ring.top - (uint64_t)in->from.offset.n <= RECOVERY_MESSAGES;
}

static void add(struct buf *b, struct str text)
{
	if (b->n)
		buf_addc(b, ',');
	buf_adds(b, text);
}

void recovery_drop(struct join_params *in)
{
	buf_free(&in->missed.texts);
	in->missed.upto = 0;
}

/* What members have not been told yet, they will be. */
static void take(struct recovery *r, const struct room *room, const struct store_op *op)
{
	for (size_t i = 0; i < op->rows; i++) {
		struct message m = durable_row(op, i);
		if (m.offset != r->upto + 1 || m.offset > room->ring.top)
			return;
		struct buf text = message_text(room->name, room->epoch, &m);
		add(&r->texts, buf_str(&text));
		buf_free(&text);
		r->upto++;
	}
}

static void found(struct store_op *op)
{
	struct halted *h = op->context;
	struct join_params *in = h->call->params;
	in->missed.err = op->err;
	in->missed.texts = BUF_INIT(TEXTS_MAX_BYTES);
	in->missed.upto = (uint64_t)in->from.offset.n;
	if (!op->err)
		take(&in->missed, h->place->room, op);
	rooms_go_on(h, ERR_OK);
}

/* Whether what is at hand reaches to the newest, or the store has nothing to add. What was under way to
 * the store while it was read may have moved the ring on: then it is read again. No message begins
 * meanwhile, so that this ends. */
static bool is_enough(const struct room *room, const struct join_params *in)
{
	const struct recovery *r = &in->missed;
	uint64_t offset = r->upto ? r->upto : (uint64_t)in->from.offset.n;
	return offset >= room->ring.top || ring_holds_after(&room->ring, offset, SIZE_MAX) ||
		r->err || r->texts.err || (r->top && offset < r->top);
}

bool recovery_ready(struct place *p, struct call *c, place_visit *visit)
{
	struct join_params *in = c->params;
	struct room *room = p->room;
	ring_expire(&room->ring, worker_now_ms());
	if (!room->history || !is_position(room, in) || is_enough(room, in))
		return true;
	recovery_drop(in);
	in->missed.top = room->ring.top;
	store_ask(STORE_MESSAGES_AFTER, found, rooms_halt(p, c, visit), STORE_INT(room->history),
		STORE_INT(in->from.offset.n), STORE_INT(INT64_MAX), STORE_INT(RECOVERY_MESSAGES),
		STORE_INT(RECOVERY_MAX_BYTES), STORE_END);
	return false;
}

/* What the store had, then the ring. False: there is a hole, or it is too much. */
static bool gather(const struct room *room, struct join_params *in)
{
	struct recovery *r = &in->missed;
	if (!is_position(room, in))
		return false;
	if (!r->upto) {
		r->texts = BUF_INIT(TEXTS_MAX_BYTES);
		r->upto = (uint64_t)in->from.offset.n;
	}
	while (r->upto < room->ring.top && ring_has(&room->ring, r->upto + 1))
		add(&r->texts, ring_at(&room->ring, ++r->upto));
	return r->upto == room->ring.top && !r->texts.err;
}

void recovery_write(struct json_out *o, struct room *room, struct join_params *in)
{
	ring_expire(&room->ring, worker_now_ms());
	bool recovered = in && gather(room, in) &&
		frame_buf_str(o->b).n + AROUND_BYTES + in->missed.texts.n <= FRAME_MAX_BYTES;
	json_text(o, "epoch", room->epoch);
	json_int(o, "offset", (int64_t)room->ring.top);
	json_bool(o, "recovered", recovered);
	json_open(o, "messages", '[');
	if (recovered && in->missed.texts.n)
		json_raw(o, NULL, buf_str(&in->missed.texts));
	json_close(o, ']');
	if (in)
		recovery_drop(in);
}
