/* room.get and room.list: rooms as they are kept. */
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/headcount.h"
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
 * out here, so a page may take more than one question. Behind each question the homes of its rooms say
 * how many are in them. */

/* What a question has brought, while the homes are asked. */
struct found {
	struct headcounts h;
	struct call *call;
	bool last; /* there are no more rows */
	size_t count;
	struct rules *rules[LIST_ROWS];
	enum role roles[LIST_ROWS];
	struct headcount list[LIST_ROWS];
};

static void list_more(struct call *c);

static size_t list_limit(const struct list_params *in)
{
	return in->limit.given ? (size_t)in->limit.n : LIST_PAGE;
}

/* Whether the room is in the list: the token may hide it, or show one that the store would not. */
static bool is_listed(
	const struct call *c, const struct rules *r, enum role granted, enum role role)
{
	const struct list_params *in = c->params;
	bool sees = role > ROLE_BANNED || (role == ROLE_NONE && !r->private);
	if (!sees || !principal_sees_room(c->who, r->name))
		return false;
	return !in->mine.yes || granted != ROLE_NONE || str_eq(r->owner, c->who->user) ||
		principal_room_role(c->who, r->name) != ROLE_NONE;
}

static void take_rows(struct found *f, const struct store_op *op)
{
	for (size_t i = 0; i < op->rows; i++) {
		struct rules r = rules_of_row(op, i);
		enum role granted = role_parse(store_str(op, i, RULES_COLUMNS));
		enum role role = rules_role_granted(&r, r.name, f->call->who, granted);
		((struct list_params *)f->call->params)->after = r.id;
		if (!is_listed(f->call, &r, granted, role))
			continue;
		f->rules[f->count] = rules_new(&r);
		f->roles[f->count] = role;
		f->list[f->count] = (struct headcount){f->rules[f->count]->name, true, 0, 0};
		f->count++;
	}
}

/* Writes what was found until the page is full. False: it is. */
static bool write_found(struct found *f)
{
	struct call *c = f->call;
	struct list_params *in = c->params;
	struct json_out *o = &c->writer;
	for (size_t i = 0; i < f->count; i++) {
		const struct rules *r = f->rules[i];
		if (in->listed == list_limit(in) || c->out.n > LIST_PAGE_BYTES)
			return false;
		in->written = r->id;
		json_open(o, NULL, '{');
		rules_write(o, r->name, r, template_of(r->name), f->roles[i]);
		json_int(o, "member_count", (int64_t)f->list[i].members);
		json_close(o, '}');
		in->listed++;
	}
	in->written = in->after;
	return true;
}

static void finish_list(struct call *c, bool more)
{
	const struct list_params *in = c->params;
	json_close(&c->writer, ']');
	if (more) {
		char cursor[24];
		snprintf(cursor, sizeof(cursor), "%" PRId64, in->written);
		json_text(&c->writer, "cursor", cursor);
	}
	json_close(&c->writer, '}');
	call_reply(c);
}

static void counted(struct headcounts *h)
{
	struct found *f = (struct found *)h;
	struct call *c = f->call;
	struct list_params *in = c->params;
	bool room_left = write_found(f), last = f->last;
	for (size_t i = 0; i < f->count; i++)
		rules_free(&f->rules[i]);
	free(f);
	if (!room_left || (!last && ++in->rounds == LIST_ROUNDS_MAX))
		finish_list(c, true);
	else if (last)
		finish_list(c, false);
	else
		list_more(c);
}

static void listed(struct store_op *op)
{
	struct call *c = op->context;
	rooms_asked_store(-1);
	if (op->err) {
		buf_free(&c->out);
		call_refuse(c, op->err);
		return;
	}
	struct found *f = mem_new(struct found);
	f->call = c;
	f->last = op->rows < LIST_ROWS;
	take_rows(f, op);
	f->h = (struct headcounts){.list = f->list, .count = f->count, .done = counted};
	headcount_ask(&f->h);
}

static void list_more(struct call *c)
{
	const struct list_params *in = c->params;
	bool all = c->who->scopes & (SCOPE_ADMIN | SCOPE_ROOMS_MODERATE) || c->who->room_role_count;
	rooms_asked_store(1);
	store_ask(STORE_ROOM_LIST, listed, c, STORE_INT(in->after), STORE_TEXT(c->who->user),
		STORE_INT(all), STORE_INT(LIST_ROWS), STORE_INT(time(NULL)),
		STORE_INT(in->archived.yes), STORE_TEXT(in->search),
		STORE_INT(in->mine.yes && !c->who->room_role_count), STORE_END);
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
