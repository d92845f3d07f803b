/* room.create, room.get and room.list: rooms as they are kept. */
#include "signaling/access.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum {
	LIST_PAGE = 50,
	LIST_PAGE_BYTES = 160 * 1024,
	LIST_ROWS =
		12, /* a question: with the largest metadata still less than an answer may have */
	LIST_ROUNDS_MAX = 40,
};

/* Creating: kept first, and only then answered. */

static void write_place(struct call *c, struct place *p)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	rules_write(o, p->name, p->rules, rooms_template(p), access_role(p, c->who));
	json_int(o, "member_count", (int64_t)p->room->count);
	json_close(o, '}');
	call_reply(c);
}

static void created(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	if (!op->err) {
		struct rules row = rules_of_row(op, 0);
		rooms_make_stored(p, rules_new(&row));
		write_place(c, p);
	} else {
		p->kind = PLACE_UNKNOWN; /* if it is there after all, the next one loads it */
		if (op->err == ERR_CONFLICT)
			deny(c, DENIAL_EXISTS, 0);
		else
			call_refuse(c, op->err);
	}
	rooms_release(p);
}

static struct store_value text_or_null(struct str s)
{
	return s.n ? STORE_TEXT(s) : STORE_NULL;
}

static struct store_value int_or_null(bool given, int64_t n)
{
	return given ? STORE_INT(n) : STORE_NULL;
}

/* What is not said is the template's: numbers each time they are asked for, the rest from now on. */
static void create_visit(struct place *p, struct call *c)
{
	const struct create_params *in = c->params;
	const struct room_template *t = rooms_template(p);
	if (p->room) {
		deny(c, DENIAL_EXISTS, 0);
		return;
	}
	bool private = in->visibility.p ? str_is(in->visibility, "private") : t->private;
	bool lobby = in->lobby.given ? in->lobby.yes : t->lobby;
	c->state = p;
	rooms_hold(p);
	store_ask(STORE_ROOM_ADD, created, c, STORE_TEXT(in->room), text_or_null(in->title),
		STORE_TEXT(c->who->user), STORE_TEXT(private ? STR("private") : STR("public")),
		int_or_null(in->max_members.given, in->max_members.n), text_or_null(in->metadata),
		STORE_INT(time(NULL)), STORE_INT(lobby),
		int_or_null(in->asked.messages.given, in->asked.messages.n),
		int_or_null(in->asked.age.given, in->asked.age.n),
		int_or_null(in->asked.durable.given, in->asked.durable.yes), STORE_END);
}

static void deny_limit(struct call *c, const char *field, const char *message, size_t limit)
{
	call_refuse(
		c, ERR_PARAMS, .field = str_of(field), .message = message, .limit = (int64_t)limit);
}

/* Whether the history that is asked for is one that there can be; else the call is refused. */
static bool read_history(
	struct call *c, struct str text, const struct room_template *t, struct keep_params *ret)
{
	struct params_problem problem;
	struct history_rules most = rules_history_most(t);
	if (text.p && params_decode(text, keep_fields, ret, &problem)) {
		deny_param(c, "history",
			"history must be {\"messages\"?: number, \"age\"?: seconds from 1, "
			"\"durable\"?: true or false}.");
		return false;
	}
	if (ret->messages.n > (int64_t)most.messages)
		deny_limit(c, "history", "history.messages is more than this room may keep.",
			most.messages);
	else if (ret->age.n > (int64_t)most.age_s)
		deny_limit(c, "history", "history.age is longer than this room may keep it.",
			most.age_s);
	else
		return true;
	return false;
}

static bool is_visibility(struct str word)
{
	return str_is(word, "public") || str_is(word, "private");
}

void room_create_run(struct call *c)
{
	struct create_params *in = c->params;
	const struct room_template *t = template_of(in->room);
	size_t most = rules_most_members(NULL, t);
	if (!principal_sees_room(c->who, in->room))
		deny(c, DENIAL_NOT_IN_TOKEN, 0);
	else if (!template_lets_create(t, c->who))
		deny(c, DENIAL_TEMPLATE, 0);
	else if (in->metadata.n > options()->metadata_max)
		deny_too_large(c, "metadata", options()->metadata_max);
	else if (in->visibility.p && !is_visibility(in->visibility))
		deny_param(c, "visibility", "visibility must be \"public\" or \"private\".");
	else if (in->max_members.n > (int64_t)most)
		deny_limit(
			c, "max_members", "max_members is larger than this server allows.", most);
	else if (read_history(c, in->history, t, &in->asked))
		rooms_visit(c, VISIT_ANY, create_visit);
}

static void get_visit(struct place *p, struct call *c)
{
	enum denial why = access_member(p, c) ? DENIAL_NONE : access_look(p, c->who);
	if (why)
		deny(c, why, 0);
	else
		write_place(c, p);
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
		STORE_INT(all), STORE_INT(LIST_ROWS), STORE_END);
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
