/* room.create, room.update and room.delete: what becomes of a room is kept first, and only then
 * true, told and answered. */
#include "auth/withdrawal.h"
#include "signaling/access.h"
#include "signaling/act.h"
#include "signaling/asked.h"
#include "signaling/calls.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/room_records.h"
#include "signaling/signaling.h"
#include "signaling/spelling.h"
#include "signaling/template.h"
#include "signaling/wish.h"
#include "store/outbox.h"

#include <time.h>

static struct store_value text_or_null(struct str s)
{
	return s.n ? STORE_TEXT(s) : STORE_NULL;
}

static struct store_value int_or_null(bool given, int64_t n)
{
	return given ? STORE_INT(n) : STORE_NULL;
}

static struct str visibility_word(const struct rules *r)
{
	return r->private ? STR("private") : STR("public");
}

/* ---- room.create ---- */

static void created(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	if (!op->err) {
		struct rules row = rules_of_row(op, 0);
		rooms_make_stored(p, rules_new(&row));
		record_reply(c, p);
	} else {
		p->kind = PLACE_UNKNOWN; /* if it is there after all, the next one loads it */
		if (op->err == ERR_CONFLICT)
			deny(c, DENIAL_EXISTS, 0);
		else
			call_refuse(c, op->err);
	}
	rooms_release(p);
}

static void tell_created(struct hooks *h, const struct call *c, const struct rules *r)
{
	if (!hook_wanted(HOOK_ROOM_CREATED))
		return;
	struct json_out *o = hook_begin(h, HOOK_ROOM_CREATED, "room", r->name);
	json_str(o, "by", c->who->user);
	rules_write(o, r->name, r, template_of(r->name), ROLE_OWNER);
	hook_end(h);
}

/* What is not said is the template's: numbers each time they are asked for, the rest from now on. */
static void create(struct place *p, struct call *c)
{
	const struct room_wish *in = c->params;
	const struct room_template *t = rooms_template(p);
	struct hooks told = {0};
	int64_t now = time(NULL);
	struct rules plain = {.id = -1, /* will be another */
		.name = p->name,
		.owner = c->who->user,
		.private = t->private,
		.lobby = t->lobby,
		.created_at = now,
		.updated_at = now};
	struct rules r = wish_applied(&plain, in);
	c->state = p;
	rooms_hold(p);
	tell_created(&told, c, &r);
	hook_ask(&told, STORE_ROOM_ADD, created, c, STORE_TEXT(r.name), text_or_null(r.title),
		STORE_TEXT(r.owner), STORE_TEXT(visibility_word(&r)),
		int_or_null(r.max_members > 0, r.max_members), text_or_null(r.metadata),
		STORE_INT(now), STORE_INT(r.lobby),
		int_or_null(r.history_messages.given, r.history_messages.n),
		int_or_null(r.history_age.given, r.history_age.n),
		int_or_null(r.history_durable.given, r.history_durable.yes), STORE_END);
}

static void create_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	if (a->err)
		call_fail(c, a->err, &a->why);
	else
		create(p, c);
}

static void create_visit(struct place *p, struct call *c)
{
	const struct room_wish *in = c->params;
	struct backend_question *q = NULL;
	if (p->room) {
		deny(c, DENIAL_EXISTS, 0);
	} else if (asked_wanted(BACKEND_CREATE, c)) {
		struct json_out *o = asked_begin(p, c, BACKEND_CREATE, &q);
		json_str(o, "title", in->title);
		if (in->metadata.n)
			json_raw(o, "metadata", in->metadata);
		asked_first(p, c, q, create_asked);
	} else {
		create(p, c);
	}
}

static void create_run(struct call *c)
{
	const struct room_wish *in = c->params;
	if (!principal_sees_room(c->who, in->room))
		deny(c, DENIAL_NOT_IN_TOKEN, 0);
	else if (call_owns_room(in->room))
		deny(c, DENIAL_RESERVED, 0);
	else if (!template_lets_create(template_of(in->room), c->who))
		deny(c, DENIAL_TEMPLATE, 0);
	else if (wish_read(c))
		rooms_visit(c, VISIT_ANY, create_visit);
}

/* ---- room.update ---- */

static void write_text(struct json_out *o, const char *key, struct str is, struct str was)
{
	if (!str_eq(is, was))
		json_str_if(o, key, is);
}

static bool same_history(struct history_rules a, struct history_rules b)
{
	return a.messages == b.messages && a.age_s == b.age_s && a.durable == b.durable;
}

/* "changes": what is another than before, in the words of a record. */
static void write_changes(struct json_out *o, const struct rules *is, const struct rules *was)
{
	const struct room_template *t = template_of(is->name);
	struct history_rules history = rules_history(is, t);
	size_t most = rules_most_members(is, t);
	json_open(o, "changes", '{');
	write_text(o, "title", is->title, was->title);
	write_text(o, "owner", is->owner, was->owner);
	if (is->private != was->private)
		json_str(o, "visibility", visibility_word(is));
	if (most != rules_most_members(was, t))
		json_int(o, "max_members", (int64_t)most);
	if (is->lobby != was->lobby)
		json_bool(o, "lobby", is->lobby);
	if (!is->archived_at != !was->archived_at)
		json_bool(o, "archived", is->archived_at != 0);
	if (!str_eq(is->metadata, was->metadata)) {
		if (is->metadata.n)
			json_raw(o, "metadata", is->metadata);
		else
			json_nothing(o, "metadata");
	}
	if (!same_history(history, rules_history(was, t)))
		rules_write_history(o, history);
	json_close(o, '}');
}

static void tell_members(struct place *p, const struct rules *is)
{
	struct event e;
	announce_before(p->room);
	event_begin(&e, "room.updated");
	json_str(&e.params, "room", p->name);
	write_changes(&e.params, is, p->rules);
	struct frame *f = event_take(&e);
	if (f && p->room->count)
		room_tell(p->room, (struct addr){0}, f);
	else
		frame_unref(&f);
}

static void tell_updated(
	struct hooks *h, const struct call *c, const struct rules *is, const struct rules *was)
{
	if (!hook_wanted(HOOK_ROOM_UPDATED))
		return;
	struct json_out *o = hook_begin(h, HOOK_ROOM_UPDATED, "room", was->name);
	json_str(o, "room", was->name);
	json_str(o, "by", c->who->user);
	write_changes(o, is, was);
	hook_end(h);
}

static bool differs(const struct rules *a, const struct rules *b)
{
	return !str_eq(a->title, b->title) || !str_eq(a->owner, b->owner) ||
		!str_eq(a->metadata, b->metadata) || a->private != b->private ||
		a->lobby != b->lobby || a->max_members != b->max_members ||
		a->archived_at != b->archived_at ||
		a->history_messages.given != b->history_messages.given ||
		a->history_messages.n != b->history_messages.n ||
		a->history_age.given != b->history_age.given ||
		a->history_age.n != b->history_age.n ||
		a->history_durable.given != b->history_durable.given ||
		a->history_durable.yes != b->history_durable.yes;
}

/* It is so from now on, for who is in the room, too. */
static void apply(struct place *p, struct call *c, const struct rules *is)
{
	const struct rules *was = p->rules;
	bool handed_over = !str_eq(is->owner, was->owner);
	bool closed = is->private && !was->private;
	bool archived = is->archived_at && !was->archived_at;
	bool opened = is->lobby && !was->lobby;
	bool woken = !is->archived_at && was->archived_at;
	if (handed_over)
		act_audit(c, p->name, is->owner, NULL, STR("owner"));
	if (archived || woken)
		act_audit(c, p->name, STR(""), NULL,
			archived ? STR("archived") : STR("not archived"));
	tell_members(p, is);
	if (handed_over && was->owner.n)
		rules_put_role(p->rules, was->owner, ROLE_MODERATOR);
	rules_put_role(p->rules, is->owner, ROLE_NONE);
	rules_change(p->rules, is);
	p->room->ring.limits = rooms_ring_limits(p);
	if (opened)
		lobby_opened(p);
	if (archived || !is->lobby)
		lobby_close(p);
	if (archived)
		rooms_empty(p);
	else if (handed_over || closed)
		rooms_meet_rules(p, (struct str){0});
	record_reply(c, p);
}

static void updated(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	if (op->err) {
		call_refused(c, op->err, .reason = "no_such_room");
	} else {
		struct rules row = rules_of_row(op, 0);
		apply(p, c, &row);
	}
	rooms_release(p);
}

static void keep(struct place *p, struct call *c, const struct rules *r)
{
	struct hooks told = {0};
	c->state = p;
	rooms_hold(p);
	tell_updated(&told, c, r, p->rules);
	hook_ask(&told, STORE_ROOM_UPDATE, updated, c, STORE_INT(r->id), text_or_null(r->title),
		STORE_TEXT(r->owner), STORE_TEXT(visibility_word(r)),
		int_or_null(r->max_members > 0, r->max_members), text_or_null(r->metadata),
		STORE_INT(r->lobby), int_or_null(r->history_messages.given, r->history_messages.n),
		int_or_null(r->history_age.given, r->history_age.n),
		int_or_null(r->history_durable.given, r->history_durable.yes),
		int_or_null(r->archived_at != 0, r->archived_at), STORE_INT(time(NULL)), STORE_END);
}

/* What a room is for belongs to its moderators, whose it is and who comes in to its owner; and what
 * says how it is kept says nothing of one that is not. */
static enum denial may_update(const struct place *p, const struct call *c)
{
	const struct room_wish *in = c->params;
	enum denial why = access_look(p, c->who);
	if (why)
		return why;
	enum role role = access_role(p, c->who);
	bool keeps = in->history.p || in->archived.given;
	bool owners = keeps || in->visibility.p || in->owner.p || in->most.given;
	if (role < ROLE_MODERATOR)
		return DENIAL_NOT_MODERATOR;
	if (owners && role < ROLE_OWNER)
		return DENIAL_NOT_OWNER;
	return keeps && p->kind == PLACE_EPHEMERAL ? DENIAL_NOT_KEPT : DENIAL_NONE;
}

static void update(struct place *p, struct call *c)
{
	struct rules r = wish_applied(rooms_rules(p), c->params);
	if (!differs(&r, p->rules)) {
		record_reply(c, p);
	} else if (p->kind == PLACE_STORED) {
		keep(p, c, &r);
	} else {
		struct hooks told = {0};
		tell_updated(&told, c, &r, p->rules);
		hook_tell(&told);
		apply(p, c, &r);
	}
}

static void update_visit(struct place *p, struct call *c)
{
	const struct room_wish *in = c->params;
	enum denial why = may_update(p, c);
	if (why)
		deny(c, why, 0);
	else if (in->owner.p)
		spell_user(p, c, in->owner, update);
	else
		update(p, c);
}

static void update_run(struct call *c)
{
	if (wish_read(c))
		rooms_visit(c, VISIT_LOADED, update_visit);
}

/* ---- room.delete ---- */

static void tell_deleted(struct hooks *h, const struct place *p, const struct call *c)
{
	if (!hook_wanted(HOOK_ROOM_DELETED))
		return;
	struct json_out *o = hook_begin(h, HOOK_ROOM_DELETED, "room", p->name);
	json_str(o, "room", p->name);
	json_str(o, "by", c->who->user);
	hook_end(h);
}

static void remove_room(struct place *p, struct call *c)
{
	act_audit(c, p->name, STR(""), NULL, STR(""));
	rooms_end(p);
	call_reply_empty(c);
}

/* Rows: the invitations whose guests can be there still. */
static void deleted(struct store_op *op)
{
	struct call *c = op->context;
	struct place *p = c->state;
	c->state = NULL;
	for (size_t i = 0; !op->err && i < op->rows; i++)
		withdrawals_take(
			WITHDRAWN_GRANT, store_str(op, i, 0), time(NULL), store_int(op, i, 1));
	if (op->err)
		call_refused(c, op->err, .reason = "no_such_room");
	else
		remove_room(p, c);
	rooms_release(p);
}

static void delete_visit(struct place *p, struct call *c)
{
	enum denial why = access_look(p, c->who);
	struct hooks told = {0};
	if (!why && access_role(p, c->who) < ROLE_OWNER)
		why = DENIAL_NOT_OWNER;
	if (why) {
		deny(c, why, 0);
		return;
	}
	tell_deleted(&told, p, c);
	if (p->kind == PLACE_STORED) {
		c->state = p;
		rooms_hold(p);
		hook_ask(&told, STORE_ROOM_DELETE, deleted, c, STORE_INT(p->rules->id),
			STORE_INT(time(NULL)), STORE_END);
	} else {
		hook_tell(&told);
		remove_room(p, c);
	}
}

static void delete_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, delete_visit);
}

static const struct field delete_fields[] = {
	FIELD(struct room_wish, room, STRING, true, 1, NAME_MAX_BYTES),
	{0},
};

const struct method room_update_methods[] = {
	{"room.create", SCOPE_ROOMS_CREATE, HOME_NAME, 0, create_fields, sizeof(struct room_wish),
		create_run},
	{"room.update", SCOPE_ROOMS_JOIN, HOME_NAME, 0, update_fields, sizeof(struct room_wish),
		update_run},
	{"room.delete", SCOPE_ROOMS_JOIN, HOME_NAME, 0, delete_fields, sizeof(struct room_wish),
		delete_run},
	{0},
};
