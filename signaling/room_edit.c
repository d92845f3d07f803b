#include "signaling/room_edit.h"

#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/message.h"
#include "signaling/methods.h"
#include "signaling/options.h"

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
	struct buf b;
	struct str text;
	if (!message_write(&b, room, m, &text))
		ring_replace(&room->ring, m->offset, text);
	buf_free(&b);
}

static void change(struct message *m, struct str data, int64_t now)
{
	m->data = data;
	m->redacted = !data.n;
	m->edited_at = data.n ? now : 0;
}

/* What others said of a message that was taken back says nothing any more. */
static void redact_edits(struct room *room, uint64_t of)
{
	struct ring *r = &room->ring;
	for (uint64_t at = of + 1; at <= r->top; at++) {
		struct message m;
		char *text = NULL;
		struct str value;
		if (!ring_has(r, at) || !json_get(ring_at(r, at), "edits", &value))
			continue;
		if (read_at(r, at, &text, &m) && m.edits == of) {
			change(&m, (struct str){0}, 0);
			put_at(room, &m);
		}
		free(text);
	}
}

/* The room keeps it changed, and tells so with the next offset. data n 0: it is taken back. */
static void apply(struct room *room, struct call *c, struct message *target, struct str data)
{
	struct message news = message_by(room, c);
	struct buf b;
	struct str text;
	news.data = data;
	*(data.n ? &news.edits : &news.redacts) = target->offset;
	if (message_write(&b, room, &news, &text)) {
		deny_too_large(c, "data", options()->data_max);
	} else {
		change(target, data, news.time);
		put_at(room, target);
		if (!data.n)
			redact_edits(room, target->offset);
		message_add(room, text);
		message_reply_offset(c, room->epoch, news.offset);
	}
	buf_free(&b);
}

/* Who may, when the message is this author's. */
static enum denial may_change(const struct place *p, const struct call *c, struct str author)
{
	const struct edit_params *in = c->params;
	const struct member *m = access_member(p, c);
	enum role role = m ? m->role : access_role(p, c->who);
	if (str_eq(author, c->who->user) || (!in->data.p && role >= ROLE_MODERATOR))
		return DENIAL_NONE;
	return DENIAL_NOT_YOURS;
}

static void visit(struct place *p, struct call *c)
{
	const struct edit_params *in = c->params;
	struct message target;
	char *text = NULL;
	enum denial why = in->data.p  ? access_publish(p, c)
		: access_member(p, c) ? DENIAL_NONE
				      : access_look(p, c->who);
	if (!why) {
		uint64_t offset = (uint64_t)in->offset.n;
		ring_expire(&p->room->ring, worker_now_ms());
		bool found = (!in->epoch.p || str_is(in->epoch, p->room->epoch)) &&
			ring_has(&p->room->ring, offset) &&
			read_at(&p->room->ring, offset, &text, &target) && !target.edits &&
			!target.redacts && !target.redacted;
		why = found ? may_change(p, c, target.user) : DENIAL_NO_MESSAGE;
	}
	if (why)
		deny(c, why, 0);
	else
		apply(p->room, c, &target, in->data);
	free(text);
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
