/* room.history: what a room still holds of what was published there, a page at a time. */
#include "signaling/access.h"
#include "signaling/durable.h"
#include "signaling/methods.h"
#include "signaling/room_edit.h"
#include "signaling/signaling.h"

enum {
	PAGE_MESSAGES = 100,
	PAGE_MESSAGES_MAX = 1000,
	PAGE_BYTES = 128 * 1024,
	/* What the store is asked for: so much data is more than fits on a page, also when the next
	 * message, the largest there is, is not among it. So a page that is not full is the last. */
	ASK_BYTES = PAGE_BYTES + 2 * DATA_CEILING,
};

struct history_params {
	struct str room, since;
	struct param_int limit;
	struct param_bool reverse;
	/* the handler's own */
	struct since_params from; /* since, when it was given */
	size_t messages, bytes;   /* on the page so far */
	char epoch[EPOCH_CHARS + 1];
	uint64_t top; /* the room's, when the store was asked */
};

static const struct field history_fields[] = {
	FIELD(struct history_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct history_params, since, OBJECT, false, 0, NAME_MAX_BYTES),
	FIELD(struct history_params, limit, INT, false, 1, PAGE_MESSAGES_MAX),
	FIELD(struct history_params, reverse, BOOL, false, 0, 0),
	{0},
};

static size_t page_messages(const struct history_params *in)
{
	return in->limit.given ? (size_t)in->limit.n : PAGE_MESSAGES;
}

/* False: the page is full without it. */
static bool add(struct call *c, struct str text)
{
	struct history_params *in = c->params;
	if (in->messages == page_messages(in) || in->bytes + text.n > PAGE_BYTES)
		return false;
	json_raw(&c->writer, NULL, text);
	in->messages++;
	in->bytes += text.n + 1;
	return true;
}

static void begin(struct call *c)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "messages", '[');
}

static void finish(struct call *c, const char *epoch, uint64_t top, bool more)
{
	struct json_out *o = &c->writer;
	json_close(o, ']');
	json_text(o, "epoch", epoch);
	json_int(o, "offset", (int64_t)top);
	json_bool(o, "more", more);
	json_close(o, '}');
	call_reply(c);
}

/* ---- out of the ring ---- */

/* Whether all is held that was there behind the position (in reverse: before it). */
static bool is_held(const struct room *room, const struct history_params *in)
{
	const struct ring *r = &room->ring;
	uint64_t offset = (uint64_t)in->from.offset.n, oldest = r->top - r->count + 1;
	if (!in->since.p)
		return true;
	return in->reverse.yes ? offset >= oldest && offset <= r->top + 1
			       : offset + 1 >= oldest && offset <= r->top;
}

static void answer(struct call *c, const struct room *room)
{
	const struct history_params *in = c->params;
	const struct ring *r = &room->ring;
	const uint64_t step = in->reverse.yes ? UINT64_MAX : 1; /* backwards, or forwards */
	uint64_t oldest = r->top - r->count + 1, at = in->reverse.yes ? r->top : oldest;
	if (in->since.p)
		at = (uint64_t)in->from.offset.n + step;
	begin(c);
	while (at >= oldest && at <= r->top && add(c, ring_at(r, at)))
		at += step;
	finish(c, room->epoch, r->top, at >= oldest && at <= r->top);
}

/* ---- out of the store ---- */

/* Whether the first row is where the page is to begin; *ret_begin: which row that is. */
static bool begins(const struct history_params *in, const struct store_op *op, size_t *ret_begin)
{
	uint64_t offset = (uint64_t)in->from.offset.n;
	uint64_t first = op->rows ? durable_row(op, 0).offset : 0;
	*ret_begin = 0;
	if (!in->since.p || offset > in->top || (!in->reverse.yes && offset == in->top))
		return true;
	*ret_begin =
		in->reverse
			.yes; /* the position's own message comes first, which says that it is held */
	return first == offset + !in->reverse.yes;
}

static void found(struct store_op *op)
{
	struct call *c = op->context;
	const struct history_params *in = c->params;
	size_t i;
	bool room_left = true;
	rooms_asked_store(-1);
	if (op->err) {
		call_refuse(c, op->err);
		return;
	}
	if (!begins(in, op, &i)) {
		deny(c, DENIAL_HISTORY_GONE, 0);
		return;
	}
	begin(c);
	for (; i < op->rows && room_left; i += room_left) {
		struct message m = durable_row(op, i);
		struct buf text = message_text(in->room, in->epoch, &m);
		room_left = add(c, buf_str(&text));
		buf_free(&text);
	}
	finish(c, in->epoch, in->top, i < op->rows);
}

/* What has not been told yet is not read either. */
static void ask(const struct room *room, struct call *c)
{
	struct history_params *in = c->params;
	memcpy(in->epoch, room->epoch, sizeof(in->epoch));
	in->top = room->ring.top;
	int64_t offset = in->from.offset.n, top = (int64_t)in->top;
	size_t most = page_messages(in);
	rooms_asked_store(1);
	if (in->reverse.yes)
		store_ask(STORE_MESSAGES_BEFORE, found, c, STORE_INT(room->history),
			STORE_INT(in->since.p && offset < top ? offset : top), STORE_INT(most + 2),
			STORE_INT(ASK_BYTES), STORE_END);
	else
		store_ask(STORE_MESSAGES_AFTER, found, c, STORE_INT(room->history),
			STORE_INT(offset), STORE_INT(top), STORE_INT(most + 1),
			STORE_INT(ASK_BYTES), STORE_END);
}

/* Whether the ring has all of the page that is asked for, and knows what comes behind it. */
static bool ring_is_enough(const struct room *room, const struct history_params *in)
{
	const struct ring *r = &room->ring;
	uint64_t offset = (uint64_t)in->from.offset.n, oldest = r->top - r->count + 1;
	if (!room->history || oldest == 1)
		return true;
	if (!in->reverse.yes)
		return in->since.p && ring_holds_after(r, offset, SIZE_MAX);
	return (in->since.p ? offset - 1 : r->top) >= oldest + page_messages(in);
}

/* ---- asking ---- */

static void visit(struct place *p, struct call *c)
{
	const struct history_params *in = c->params;
	enum denial why = access_member(p, c) ? DENIAL_NONE : access_read(p, c->who);
	if (why) {
		deny(c, why, 0);
		return;
	}
	struct room *room = p->room;
	uint64_t most = room->ring.top + in->reverse.yes;
	ring_expire(&room->ring, worker_now_ms());
	if (in->since.p &&
		(!str_is(in->from.epoch, room->epoch) || (uint64_t)in->from.offset.n > most))
		deny(c, DENIAL_HISTORY_GONE, 0);
	else if (!ring_is_enough(room, in))
		ask(room, c);
	else if (is_held(room, in))
		answer(c, room);
	else
		deny(c, DENIAL_HISTORY_GONE, 0);
}

static void run(struct call *c)
{
	struct history_params *in = c->params;
	if (!in->since.p || since_read(c, in->since, &in->from))
		rooms_visit(c, VISIT_LOADED, visit);
}

const struct method history_methods[] = {
	{"room.history", SCOPE_ROOMS_JOIN, HOME_NAME, 0, history_fields,
		sizeof(struct history_params), run},
	{"room.edit", SCOPE_ROOMS_JOIN, HOME_NAME, 0, edit_fields, sizeof(struct edit_params),
		room_edit_run},
	{"room.redact", SCOPE_ROOMS_JOIN, HOME_NAME, 0, redact_fields, sizeof(struct edit_params),
		room_redact_run},
	{0},
};
