#include "signaling/message.h"

#include "core/clock.h"
#include "core/metrics.h"
#include "signaling/announce.h"

#include <assert.h>

enum { WORD_MAX = 4096 };

struct message message_by(const struct room *room, const struct call *c)
{
	const struct member *m = room_by_endpoint(room, c->from);
	return (struct message){.peer = m ? member_peer(m) : (struct str){0},
		.user = c->who->user,
		.time = clock_unix_ms()};
}

static void write_from(struct json_out *o, const struct message *m)
{
	json_open(o, "from", '{');
	if (m->peer.n)
		json_str(o, "peer", m->peer);
	else
		json_nothing(o, "peer");
	json_str(o, "user", m->user);
	json_close(o, '}');
}

static void write_data(struct json_out *o, struct str data)
{
	if (data.n)
		json_raw(o, "data", data);
	else
		json_nothing(o, "data");
}

struct buf message_text(struct str room, const char *epoch, const struct message *m)
{
	struct buf b = BUF_INIT(MESSAGE_MAX_BYTES);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_str(&o, "room", room);
	json_text(&o, "epoch", epoch);
	json_int(&o, "offset", (int64_t)m->offset);
	write_from(&o, m);
	write_data(&o, m->data);
	json_int(&o, "time", m->time);
	if (m->edits)
		json_int(&o, "edits", (int64_t)m->edits);
	if (m->redacts)
		json_int(&o, "redacts", (int64_t)m->redacts);
	if (m->edited_at)
		json_int(&o, "edited_at", m->edited_at);
	if (m->redacted)
		json_bool(&o, "redacted", true);
	json_close(&o, '}');
	assert(!b.err);
	return b;
}

/* ---- the way back ---- */

struct text {
	struct str room, epoch, from, data;
	struct param_int offset, time, edits, redacts, edited_at;
	struct param_bool redacted;
};

static const struct field text_fields[] = {
	FIELD(struct text, room, STRING, true, 0, WORD_MAX),
	FIELD(struct text, epoch, STRING, true, 0, WORD_MAX),
	FIELD(struct text, offset, INT, true, 1, INT64_MAX),
	FIELD(struct text, from, OBJECT, true, 0, 2 * WORD_MAX),
	FIELD(struct text, data, RAW, true, 1, MESSAGE_MAX_BYTES),
	FIELD(struct text, time, INT, true, 0, INT64_MAX),
	FIELD(struct text, edits, INT, false, 1, INT64_MAX),
	FIELD(struct text, redacts, INT, false, 1, INT64_MAX),
	FIELD(struct text, edited_at, INT, false, 1, INT64_MAX),
	FIELD(struct text, redacted, BOOL, false, 0, 0),
	{0},
};

bool message_read(char *text, size_t n, struct message *ret)
{
	struct params_problem problem;
	struct text in = {0};
	struct str peer, user;
	if (params_decode((struct str){text, n}, text_fields, &in, &problem) ||
		!json_get(in.from, "peer", &peer) || !json_get(in.from, "user", &user) ||
		json_decode(user, (char *)(uintptr_t)user.p, &user.n))
		return false;
	bool none = json_kind(peer) == JSON_NULL;
	if (!none && json_decode(peer, (char *)(uintptr_t)peer.p, &peer.n))
		return false;
	bool gone = in.redacts.given || in.redacted.yes;
	*ret = (struct message){.offset = (uint64_t)in.offset.n,
		.peer = none ? (struct str){0} : peer,
		.user = user,
		.data = gone ? (struct str){0} : in.data,
		.time = in.time.n,
		.edits = (uint64_t)in.edits.n,
		.redacts = (uint64_t)in.redacts.n,
		.edited_at = in.edited_at.n,
		.redacted = in.redacted.yes};
	return true;
}

/* ---- telling ---- */

void message_tell(struct room *room, const struct message *m)
{
	struct buf b = message_text(room->name, room->epoch, m);
	struct str text = buf_str(&b);
	struct event e;
	event_begin(&e, "room.message");
	json_raw(&e.params, NULL, (struct str){text.p + 1, text.n - 2}); /* without its braces */
	struct frame *f = event_take(&e);
	assert(f); /* a text is far smaller than a frame may be */
	announce_before(room);
	ring_put(&room->ring, text, worker_now_ms());
	room_tell(room, (struct addr){0}, f);
	metric_add(METRIC_PUBLISHED, 1);
	buf_free(&b);
}

void message_reply_offset(struct call *c, const char *epoch, uint64_t offset)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "epoch", epoch);
	json_int(o, "offset", (int64_t)offset);
	json_close(o, '}');
	call_reply(c);
}
