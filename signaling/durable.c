#include "signaling/durable.h"

#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/told.h"

/* ---- a room begins to be kept, or is no longer ---- */

static void began(struct store_op *op)
{
	struct halted *h = op->context;
	if (!op->err)
		h->place->room->history = store_int(op, 0, 0);
	rooms_go_on(h, op->err);
}

static void ended(struct store_op *op)
{
	struct halted *h = op->context;
	if (!op->err)
		h->place->room->history = 0;
	rooms_go_on(h, op->err);
}

/* Its epoch and its offsets go on: what was published before is kept where it was. A history that is over
 * is never gone on with: the offsets behind it would mean two things. */
bool durable_ready(struct place *p, struct call *c, place_visit *visit)
{
	bool wanted = p->rules && rules_history(p->rules, rooms_template(p)).durable;
	struct room *room = p->room;
	if (wanted == (room->history != 0))
		return true;
	struct halted *h = rooms_halt(p, c, visit);
	if (wanted)
		store_ask(STORE_HISTORY_ADD, began, h, STORE_INT(p->rules->id),
			STORE_TEXT(str_of(room->epoch)), STORE_INT(room->ring.top), STORE_END);
	else
		store_ask(STORE_HISTORY_END, ended, h, STORE_INT(room->history), STORE_END);
	return false;
}

/* ---- one message ---- */

struct under_way *durable_begin(struct place *p, struct call *c, struct str data)
{
	struct under_way *u = mem_new(struct under_way);
	u->call = c;
	u->place = p;
	u->history = p->room->history;
	u->message = message_by(p->room, c);
	u->message.data = data;
	if (u->message.peer.n) { /* the member may have left when it is told */
		memcpy(u->peer, u->message.peer.p, PEER_CHARS);
		u->message.peer.p = u->peer;
	}
	rooms_pin(p);
	return u;
}

/* The offset is not known before it is kept; its place in the event is. */
static void add_event(struct hooks *h, const struct under_way *u)
{
	const struct room *room = u->place->room;
	struct buf text = message_text(room->name, room->epoch, &u->message);
	told_published(h, room->name, buf_str(&text));
	hook_number(h, u->history);
	buf_free(&text);
}

void durable_submit(struct under_way *u, enum store_verb verb, void (*done)(struct store_op *op),
	const struct store_value *args)
{
	struct hooks h = {0};
	if (hook_wanted(HOOK_ROOM_PUBLISHED))
		add_event(&h, u);
	hook_submit(&h, verb, done, u, args);
}

/* What is deleted waits for the store behind all that was published before. So what was kept is told. */
struct room *durable_room(const struct under_way *u)
{
	struct room *room = u->place->room;
	return room && room->history == u->history ? room : NULL;
}

static void tell(struct under_way *u, struct room *room, uint64_t offset)
{
	if (offset != room->ring.top + 1)
		ring_restart(&room->ring, offset - 1); /* somebody else has written there */
	u->message.offset = offset;
	room->ring.limits = rooms_ring_limits(u->place); /* a reload may have changed them */
	message_tell(room, &u->message);
}

void durable_done(struct under_way *u, const struct store_op *op)
{
	struct room *room = durable_room(u);
	if (!op->err && room) {
		uint64_t offset = (uint64_t)store_int(op, 0, 0);
		tell(u, room, offset);
		message_reply_offset(u->call, room->epoch, offset);
	} else if (op->err && op->err != ERR_NOT_FOUND) {
		call_refuse(u->call, op->err);
	} else if (room) {
		room->history = 0; /* it is over: the next one begins another */
		call_refuse(u->call, ERR_OVERLOADED);
	} else {
		deny(u->call, DENIAL_NO_ROOM, 0);
	}
}

void durable_end(struct under_way **u)
{
	struct place *p = (*u)->place;
	free(*u);
	*u = NULL;
	rooms_unpin(p);
}

/* ---- reading ---- */

struct message durable_row(const struct store_op *op, size_t row)
{
	return (struct message){.offset = (uint64_t)store_int(op, row, 0),
		.time = store_int(op, row, 1),
		.user = store_str(op, row, 2),
		.peer = store_str(op, row, 3),
		.data = store_str(op, row, 4),
		.edits = (uint64_t)store_int(op, row, 5),
		.redacts = (uint64_t)store_int(op, row, 6),
		.edited_at = store_int(op, row, 7),
		.redacted = store_int(op, row, 8) != 0};
}
