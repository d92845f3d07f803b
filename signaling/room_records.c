/* room.get and room.list: rooms as they are kept. */
#include "signaling/access.h"
#include "signaling/methods.h"
#include "signaling/room_records.h"
#include "signaling/options.h"
#include "signaling/template.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	LIST_PAGE = 50,
	LIST_PAGE_BYTES = 160 * 1024,
	LIST_ROWS =
		12, /* a question: with the largest metadata still less than an answer may have */
	LIST_ROUNDS_MAX = 40,
};

void record_reply(struct call *c, struct place *p)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	rules_write(o, p->name, p->rules, rooms_template(p), access_role(p, c->who));
	json_int(o, "member_count", (int64_t)p->room->count);
	json_close(o, '}');
	call_reply(c);
}

static void get_visit(struct place *p, struct call *c)
{
	enum denial why = access_member(p, c) ? DENIAL_NONE : access_look(p, c->who);
	if (why)
		deny(c, why, 0);
	else
		record_reply(c, p);
}

void room_get_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, get_visit);
}

/* Listing: the store leaves out what the user may not see; what the token's own list hides is left
 * out here, so a page may take more than one question. */

static void list_more(struct call *c);

static size_t list_limit(const struct list_params *in)
{
	return in->limit.given ? (size_t)in->limit.n : LIST_PAGE;
}

/* Writes the rows that the token sees, until the page is full. False: it is. */
static bool write_rows(struct call *c, const struct store_op *op)
{
	struct list_params *in = c->params;
	struct json_out *o = &c->writer;
	for (size_t i = 0; i < op->rows; i++) {
		if (in->listed == list_limit(in) || c->out.n > LIST_PAGE_BYTES)
			return false;
		struct rules r = rules_of_row(op, i);
		in->after = r.id;
		if (!principal_sees_room(c->who, r.name))
			continue;
		json_open(o, NULL, '{');
		rules_write(o, r.name, &r, template_of(r.name),
			rules_role_granted(
				&r, r.name, c->who, role_parse(store_str(op, i, RULES_COLUMNS))));
		json_close(o, '}');
		in->listed++;
	}
	return true;
}

static void finish_list(struct call *c, bool more)
{
	const struct list_params *in = c->params;
	json_close(&c->writer, ']');
	if (more) {
		char cursor[24];
		snprintf(cursor, sizeof(cursor), "%" PRId64, in->after);
		json_text(&c->writer, "cursor", cursor);
	}
	json_close(&c->writer, '}');
	call_reply(c);
}

static void listed(struct store_op *op)
{
	struct call *c = op->context;
	struct list_params *in = c->params;
	rooms_asked_store(-1);
	if (op->err) {
		buf_free(&c->out);
		call_refuse(c, op->err);
		return;
	}
	bool room_left = write_rows(c, op);
	if (!room_left)
		finish_list(c, true);
	else if (op->rows < LIST_ROWS)
		finish_list(c, false);
	else if (++in->rounds == LIST_ROUNDS_MAX)
		finish_list(c, true);
	else
		list_more(c);
}

static void list_more(struct call *c)
{
	const struct list_params *in = c->params;
	bool all = c->who->scopes & (SCOPE_ADMIN | SCOPE_ROOMS_MODERATE);
	rooms_asked_store(1);
	store_ask(STORE_ROOM_LIST, listed, c, STORE_INT(in->after), STORE_TEXT(c->who->user),
		STORE_INT(all), STORE_INT(LIST_ROWS), STORE_INT(time(NULL)), STORE_END);
}

void room_list_run(struct call *c)
{
	struct list_params *in = c->params;
	if (in->cursor.p && json_decode_int(in->cursor, &in->after)) {
		deny_param(c, "cursor", "cursor must be one that was answered.");
		return;
	}
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "rooms", '[');
	list_more(c);
}
