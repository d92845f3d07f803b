/* room.history: what a room still holds of what was published there, a page at a time. */
#include "signaling/access.h"
#include "signaling/methods.h"
#include "signaling/room_edit.h"
#include "signaling/signaling.h"

enum { PAGE_MESSAGES = 100, PAGE_MESSAGES_MAX = 1000, PAGE_BYTES = 128 * 1024 };

struct history_params {
	struct str room, since;
	struct param_int limit;
	struct param_bool reverse;
	/* the handler's own */
	struct since_params from; /* since, when it was given */
	size_t messages, bytes;   /* on the page so far */
};

static const struct field history_fields[] = {
	FIELD(struct history_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct history_params, since, OBJECT, false, 0, NAME_MAX_BYTES),
	FIELD(struct history_params, limit, INT, false, 1, PAGE_MESSAGES_MAX),
	FIELD(struct history_params, reverse, BOOL, false, 0, 0),
	{0},
};

/* False: the page is full without it. */
static bool add(struct call *c, struct str text)
{
	struct history_params *in = c->params;
	size_t most = in->limit.given ? (size_t)in->limit.n : PAGE_MESSAGES;
	if (in->messages == most || in->bytes + text.n > PAGE_BYTES)
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

static void finish(struct call *c, const struct room *room, bool more)
{
	struct json_out *o = &c->writer;
	json_close(o, ']');
	json_text(o, "epoch", room->epoch);
	json_int(o, "offset", (int64_t)room->ring.top);
	json_bool(o, "more", more);
	json_close(o, '}');
	call_reply(c);
}

/* Whether all is held that was there behind the position (in reverse: before it). */
static bool is_held(const struct room *room, const struct history_params *in)
{
	const struct ring *r = &room->ring;
	uint64_t offset = (uint64_t)in->from.offset.n, oldest = r->top - r->count + 1;
	if (!in->since.p)
		return true;
	if (!str_is(in->from.epoch, room->epoch))
		return false;
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
	finish(c, room, at >= oldest && at <= r->top);
}

static void visit(struct place *p, struct call *c)
{
	enum denial why = access_member(p, c) ? DENIAL_NONE : access_look(p, c->who);
	if (why) {
		deny(c, why, 0);
		return;
	}
	ring_expire(&p->room->ring, worker_now_ms());
	if (is_held(p->room, c->params))
		answer(c, p->room);
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
