#include "signaling/room_edit.h"

#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/asked.h"
#include "signaling/durable.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/told.h"

const struct field edit_fields[] = {
	FIELD(struct edit_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct edit_params, offset, INT, true, 1, INT_MAX_SAFE),
	FIELD(struct edit_params, epoch, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct edit_params, data, RAW, true, 0, DATA_CEILING),
	{0},
};

const struct field redact_fields[] = {
	FIELD(struct edit_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct edit_params, offset, INT, true, 1, INT_MAX_SAFE),
	FIELD(struct edit_params, epoch, STRING, false, 1, NAME_MAX_BYTES),
	{0},
};

/* What the ring has at an offset; its strings point into *ret_text, which the caller frees. */
static bool read_at(
	const struct ring *r, uint64_t offset, char **ret_text, struct message *ret_message)
{
	struct str text = ring_at(r, offset);
	*ret_text = mem_copy(text);
	return message_read(*ret_text, text.n, ret_message);
}

static void put_at(struct room *room, const struct message *m)
{
	struct buf b = message_text(room->name, room->epoch, m);
	ring_replace(&room->ring, m->offset, buf_str(&b));
	buf_free(&b);
}

static void change(struct message *m, struct str data, int64_t now)
{
	m->data = data;
	m->redacted = !data.n;
	m->edited_at = data.n ? now : 0;
}

/* The next piece of news behind `at` that this message has other data, as read_at(). Its offset; 0: there is
 * none, and nothing to be freed. */
static uint64_t next_edit(const struct ring *r, uint64_t of, uint64_t at, char **ret_text,
	struct message *ret_message)
{
	struct str value;
	uint64_t before = r->top - r->count;
	for (at = at > before ? at : before; ++at <= r->top;) {
		if (!json_get(ring_at(r, at), "edits", &value))
			continue;
		if (read_at(r, at, ret_text, ret_message) && ret_message->edits == of)
			return at;
		free(*ret_text);
		*ret_text = NULL;
	}
	return 0;
}

/* What others said of a message that was taken back says nothing any more. */
static void redact_edits(struct room *room, uint64_t of)
{
	struct message m;
	char *text = NULL;
	for (uint64_t at = of; (at = next_edit(&room->ring, of, at, &text, &m));) {
		change(&m, (struct str){0}, 0);
		put_at(room, &m);
		free(text);
	}
}

/* What the ring has of it changes. data n 0: it is taken back. */
static void change_in_ring(struct room *room, uint64_t offset, struct str data, int64_t now)
{
	struct message m;
	char *text = NULL;
	if (ring_has(&room->ring, offset) && read_at(&room->ring, offset, &text, &m)) {
		change(&m, data, now);
		put_at(room, &m);
	}
	free(text);
	if (!data.n)
		redact_edits(room, offset);
}

static struct message news_of(const struct edit_params *in, struct message m)
{
	m.data = in->data;
	*(in->data.n ? &m.edits : &m.redacts) = (uint64_t)in->offset.n;
	if (in->time)
		m.time = in->time;
	return m;
}

static bool moderates(const struct place *p, const struct call *c)
{
	const struct member *m = access_member(p, c);
	return (m ? m->role : access_role(p, c->who)) >= ROLE_MODERATOR;
}

/* Who may, when the message is this author's. */
static enum denial may_change(const struct place *p, const struct call *c, struct str author)
{
	const struct edit_params *in = c->params;
	if (str_eq(author, c->who->user) || (!in->data.p && moderates(p, c)))
		return DENIAL_NONE;
	return DENIAL_NOT_YOURS;
}

/* ---- in memory ---- */

/* The event of it is kept, when anybody wants that: now it happens. */
static void change_told(struct place *p, struct call *c, enum err err)
{
	const struct edit_params *in = c->params;
	struct room *room = p->room;
	if (err) {
		call_refuse(c, err);
		return;
	}
	struct message news = news_of(in, message_by(room, c));
	news.offset = room->ring.top + 1;
	change_in_ring(room, (uint64_t)in->offset.n, in->data, news.time);
	message_tell(room, &news);
	message_reply_offset(c, room->epoch, news.offset);
}

/* What is to be changed: a message, or, to be taken back, what news still say of one that is held no more. */
static bool find(const struct ring *r, const struct edit_params *in, char **ret_text,
	struct message *ret_message)
{
	uint64_t offset = (uint64_t)in->offset.n;
	if (ring_has(r, offset))
		return read_at(r, offset, ret_text, ret_message) && !ret_message->edits &&
			!ret_message->redacts && !ret_message->redacted;
	return !in->data.p && next_edit(r, offset, offset, ret_text, ret_message) &&
		!ret_message->redacted;
}

static enum denial may_change_here(const struct place *p, const struct call *c)
{
	struct ring *r = &p->room->ring;
	struct message target;
	char *text = NULL;
	ring_expire(r, worker_now_ms());
	bool found = find(r, c->params, &text, &target);
	enum denial why = found ? may_change(p, c, target.user) : DENIAL_NO_MESSAGE;
	free(text);
	return why;
}

static void change_here(struct place *p, struct call *c)
{
	struct edit_params *in = c->params;
	enum denial why = may_change_here(p, c);
	if (why) {
		deny(c, why, 0);
	} else if (hook_wanted(HOOK_ROOM_PUBLISHED)) {
		struct message news = news_of(in, message_by(p->room, c));
		news.offset = p->room->ring.top + 1;
		in->time = news.time;
		told_message_first(p, c, &news, change_told);
	} else {
		change_told(p, c, ERR_OK);
	}
}

/* ---- in the store ---- */

static void explain(struct store_op *op)
{
	struct under_way *u = op->context;
	bool can = !op->err && store_int(op, 0, 1);
	if (op->err && op->err != ERR_NOT_FOUND)
		call_refuse(u->call, op->err);
	else
		deny(u->call, can ? DENIAL_NOT_YOURS : DENIAL_NO_MESSAGE, 0);
	durable_end(&u);
}

static void kept(struct store_op *op)
{
	struct under_way *u = op->context;
	const struct edit_params *in = u->call->params;
	struct room *room = durable_room(u);
	if (op->err == ERR_NOT_FOUND) {
		store_ask(STORE_MESSAGE_GET, explain, u, STORE_INT(u->history),
			STORE_INT(in->offset.n), STORE_END);
		return;
	}
	if (!op->err && room)
		change_in_ring(room, (uint64_t)in->offset.n, in->data, u->message.time);
	durable_done(u, op);
	durable_end(&u);
}

static void change_kept(struct place *p, struct call *c)
{
	const struct edit_params *in = c->params;
	struct under_way *u = durable_begin(p, c, in->data);
	u->message = news_of(in, u->message);
	if (in->data.n)
		durable_ask(u, STORE_MESSAGE_EDIT, kept, STORE_INT(in->offset.n), STORE_END);
	else
		durable_ask(u, STORE_MESSAGE_REDACT, kept, STORE_INT(in->offset.n),
			STORE_INT(moderates(p, c)), STORE_END);
}

static void visit(struct place *p, struct call *c);

static void edit_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	struct edit_params *in = c->params;
	in->asked = true;
	if (a->err)
		call_fail(c, a->err, &a->why);
	else
		visit(p, c);
}

/* Other data is published, too: what the backend would not let pass does not come in by an edit. */
static bool edit_asks(struct place *p, struct call *c)
{
	const struct edit_params *in = c->params;
	struct backend_question *q = NULL;
	if (!in->data.p || in->asked || !asked_wanted(BACKEND_PUBLISH, c))
		return false;
	struct json_out *o = asked_begin(p, c, BACKEND_PUBLISH, &q);
	json_raw(o, "data", in->data);
	json_int(o, "edits", in->offset.n);
	asked_first(p, c, q, edit_asked);
	return true;
}

static void visit(struct place *p, struct call *c)
{
	const struct edit_params *in = c->params;
	enum denial why = in->data.p  ? access_publish(p, c)
		: access_member(p, c) ? DENIAL_NONE
				      : access_read(p, c->who);
	if (!why && in->epoch.p && !str_is(in->epoch, p->room->epoch))
		why = DENIAL_NO_MESSAGE;
	if (why)
		deny(c, why, 0);
	else if (edit_asks(p, c) || !durable_ready(p, c, visit))
		return;
	else if (p->room->history)
		change_kept(p, c);
	else
		change_here(p, c);
}

void room_edit_run(struct call *c)
{
	const struct edit_params *in = c->params;
	if (in->data.n > options()->data_max)
		deny_too_large(c, "data", options()->data_max);
	else
		rooms_visit(c, VISIT_LOADED, visit);
}

void room_redact_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, visit);
}
