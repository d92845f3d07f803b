#include "signaling/rooms.h"

#include "core/mem.h"
#include "core/metrics.h"
#include "signaling/access.h"
#include "signaling/announce.h"
#include "signaling/attendance.h"
#include "signaling/calls.h"
#include "signaling/meeting.h"
#include "signaling/options.h"
#include "signaling/template.h"
#include "signaling/told.h"

#include <assert.h>
#include <time.h>

enum { LOAD_PAGE = 500, SWEEP_MIN_MS = 10, SWEEP_MAX_MS = 10000 };

/* What happens to an endpoint: it ended, or has no connection, or has one again, or may do other things
 * than before. */
struct fate {
	struct addr endpoint;
	enum { FATE_LEFT, FATE_LOST, FATE_AWAY, FATE_BACK, FATE_GRANT, FATE_CLOSED } kind;
	const struct principal *who; /* of a grant; one that waits has a reference */
};

/* What waits at a place: a call, or the fate of an endpoint. */
struct waiting {
	struct waiting *next;
	struct call *call; /* NULL: fate */
	enum visit_needs needs;
	place_visit *visit;
	visit_refused *refused;
	struct fate fate;
};

static _Thread_local struct {
	struct map places;
	struct place *listed; /* where something waits */
	uv_timer_t sweep;
	int asked; /* operations of the store that have not come back */
} here;

void rooms_asked_store(int n)
{
	here.asked += n;
}

/* Places */

/* None of the rooms of calls is kept. */
static enum place_kind kind_at_first(struct str name)
{
	return call_owns_room(name) ? PLACE_ABSENT : PLACE_UNKNOWN;
}

static struct place *find_or_make(struct str name)
{
	struct place *p = map_get(&here.places, name);
	if (p)
		return p;
	p = mem_new(struct place);
	p->name = (struct str){mem_copy(name), name.n};
	p->kind = kind_at_first(name);
	p->last = &p->first;
	map_put(&here.places, p->name, p);
	return p;
}

static void free_place(struct place *p)
{
	assert(!p->busy && !p->held && !p->pins && !p->first && !p->listed);
	map_remove(&here.places, p->name);
	metric_add(METRIC_ROOMS, p->room ? -1 : 0);
	room_free(&p->room);
	rules_free(&p->rules);
	standings_free(&p->standings);
	lobby_drop(&p->lobby);
	free((char *)(uintptr_t)p->name.p);
	free(p);
}

static void list(struct place *p)
{
	if (p->listed)
		return;
	p->listed = true;
	p->previous = NULL;
	p->next = here.listed;
	if (here.listed)
		here.listed->previous = p;
	here.listed = p;
}

static void unlist(struct place *p)
{
	if (!p->listed)
		return;
	p->listed = false;
	if (p->next)
		p->next->previous = p->previous;
	if (p->previous)
		p->previous->next = p->next;
	else
		here.listed = p->next;
}

const struct room_template *rooms_template(struct place *p)
{
	if (!p->template || p->template_generation != options_generation()) {
		p->template = template_of(p->name);
		p->template_generation = options_generation();
	}
	return p->template;
}

struct ring_limits rooms_ring_limits(struct place *p)
{
	struct history_rules h = rules_history(p->rules, rooms_template(p));
	size_t most = options()->history_messages;
	if (h.durable && h.messages > most)
		h.messages = most; /* the rest is in the store */
	return (struct ring_limits){h.messages, options()->history_bytes, UINT64_C(1000) * h.age_s};
}

static void make_room(struct place *p, enum place_kind kind)
{
	assert(!p->room);
	p->kind = kind;
	p->room = room_new(p->name, rooms_ring_limits(p));
	metric_add(METRIC_ROOMS, 1);
}

void rooms_make_ephemeral(struct place *p, const struct principal *maker)
{
	const struct room_template *t = rooms_template(p);
	make_room(p, PLACE_EPHEMERAL);
	if (t->private || t->lobby || t->maker_role > ROLE_MEMBER)
		p->rules = rules_of_template(p->name, t, maker);
}

void rooms_make_for_call(struct place *p, struct str caller, struct str callee)
{
	make_room(p, PLACE_EPHEMERAL);
	p->rules = rules_new(&(struct rules){.name = p->name, .private = true});
	rules_put_role(p->rules, caller, ROLE_MEMBER);
	rules_put_role(p->rules, callee, ROLE_MEMBER);
}

struct rules *rooms_rules(struct place *p)
{
	assert(p->room && p->kind != PLACE_UNKNOWN);
	if (!p->rules)
		p->rules = rules_new(&(struct rules){.name = p->name});
	return p->rules;
}

void rooms_make_stored(struct place *p, struct rules *rules)
{
	p->rules = rules;
	make_room(p, PLACE_STORED);
}

/* Waiting and running */

static void append(struct place *p, struct waiting w)
{
	struct waiting *own = mem_new(struct waiting);
	*own = w;
	*p->last = own;
	p->last = &own->next;
	p->waiting++;
	list(p);
}

static struct waiting take(struct place *p)
{
	struct waiting *own = p->first;
	struct waiting w = *own;
	p->first = own->next;
	if (!p->first)
		p->last = &p->first;
	p->waiting--;
	free(own);
	return w;
}

/* Whether the member may still be in its room. What only the rules say is asked where they are there. */
static bool may_stay(const struct place *p, const struct principal *who)
{
	if (!(who->scopes & SCOPE_ROOMS_JOIN) || !principal_sees_room(who, p->name))
		return false;
	return p->kind == PLACE_UNKNOWN || access_role(p, who) > ROLE_BANNED;
}

static void meet_role(struct member *m, enum role role)
{
	if (m->role == role)
		return;
	announce_before(m->room);
	m->role = role;
	announce_role(m);
}

void rooms_meet_rules(struct place *p, struct str user)
{
	struct room *room = p->room;
	lobby_meet_rules(p, user);
	for (size_t i = 0; i < room->count;) {
		struct member *m = room->members[i];
		bool meant = !user.n || str_eq(m->who->user, user);
		if (meant && !may_stay(p, m->who)) {
			rooms_put_out(m, "kicked");
			continue;
		}
		if (meant)
			meet_role(m, access_role(p, m->who));
		i++;
	}
}

/* Another token, of the same user: what it does not allow ends, and the member is told of it as of a
 * room that is over. */
static void meet_grant(struct member *m, const struct principal *who)
{
	struct place *p = map_get(&here.places, m->room->name);
	if (!may_stay(p, who)) {
		announce_out(m, "closed");
		rooms_end_membership(m, "left");
		return;
	}
	member_set_who(m, who);
	if (p->kind != PLACE_UNKNOWN)
		meet_role(m, access_role(p, who));
}

static void meet_fate(struct member *m, struct fate fate)
{
	if (fate.kind == FATE_GRANT) {
		meet_grant(m, fate.who);
	} else if (fate.kind == FATE_CLOSED) {
		rooms_put_out(m, "closed");
	} else if (fate.kind == FATE_LEFT || fate.kind == FATE_LOST) {
		rooms_end_membership(m, fate.kind == FATE_LEFT ? "left" : "lost");
	} else if (m->connected != (fate.kind == FATE_BACK)) {
		announce_before(m->room);
		m->connected = !m->connected;
		announce_connected(m);
	}
}

/* Somebody who knocks: who has no connection just now still does. */
static void meet_fate_outside(struct knock *k, struct fate fate)
{
	if (fate.kind == FATE_LEFT || fate.kind == FATE_LOST)
		lobby_end(k, KNOCK_GONE);
}

static void meet_fate_here(struct place *p, struct fate fate)
{
	struct member *m = p->room ? room_by_endpoint(p->room, fate.endpoint) : NULL;
	struct knock *k = lobby_by_endpoint(&p->lobby, fate.endpoint);
	if (m)
		meet_fate(m, fate);
	if (k)
		meet_fate_outside(k, fate);
	if (fate.who) {
		struct principal *who = (struct principal *)(uintptr_t)fate.who;
		principal_unref(&who);
	}
}

/* Nothing runs or waits here any more: is the place still of use? */
static void settle(struct place *p)
{
	unlist(p);
	if (p->pins || (p->room && p->room->count))
		return;
	if (p->room && p->kind != PLACE_EPHEMERAL) {
		p->empty_since = worker_now_ms();
	} else {
		lobby_close(p);
		free_place(p);
	}
}

static void load(struct place *p);

static void advance(struct place *p)
{
	if (p->busy)
		return;
	p->busy = true;
	while (!p->held && p->first) {
		if (p->first->call && p->first->needs == VISIT_LOADED && p->kind == PLACE_UNKNOWN) {
			load(p);
			break;
		}
		struct waiting w = take(p);
		if (w.call) {
			p->visitor = w.call->from;
			w.visit(p, w.call);
		} else {
			meet_fate_here(p, w.fate);
		}
	}
	p->busy = false;
	if (!p->held)
		settle(p);
}

static void refuse_visit(struct call *c, visit_refused *refused, enum err err, const char *reason)
{
	if (refused)
		refused(c, err, reason);
	else
		call_refuse(c, err, .reason = reason);
}

void rooms_visit(struct call *c, enum visit_needs needs, place_visit *visit)
{
	rooms_visit_or(c, needs, visit, NULL);
}

void rooms_visit_or(
	struct call *c, enum visit_needs needs, place_visit *visit, visit_refused *refused)
{
	struct place *p = find_or_make(*(struct str *)c->params);
	if (p->waiting >= WAITING_MAX) {
		refuse_visit(c, refused, ERR_OVERLOADED, "room_busy");
		return;
	}
	bool must_load = needs == VISIT_LOADED && p->kind == PLACE_UNKNOWN;
	if (p->busy || p->held || p->first || must_load) {
		append(p,
			(struct waiting){
				.call = c, .needs = needs, .visit = visit, .refused = refused});
	} else {
		p->busy = true;
		p->visitor = c->from;
		visit(p, c);
		p->busy = false;
	}
	advance(p);
}

void rooms_each_waiting(
	struct place *p, place_visit *visit, void (*what)(struct place *p, struct call *c))
{
	for (const struct waiting *w = p->first; w; w = w->next)
		if (w->call && w->visit == visit)
			what(p, w->call);
}

void rooms_hold(struct place *p)
{
	p->held++;
	here.asked++;
	list(p);
}

void rooms_release(struct place *p)
{
	assert(p->held);
	p->held--;
	here.asked--;
	advance(p);
}

struct halted *rooms_halt(struct place *p, struct call *c, place_visit *visit)
{
	struct halted *h = mem_new(struct halted);
	*h = (struct halted){p, c, visit};
	rooms_hold(p);
	return h;
}

void rooms_go_on(struct halted *h, enum err err)
{
	struct place *p = h->place;
	if (err)
		call_refuse(h->call, err);
	else
		h->visit(p, h->call);
	free(h);
	rooms_release(p);
}

void rooms_pin(struct place *p)
{
	p->pins++;
	here.asked++;
}

void rooms_unpin(struct place *p)
{
	assert(p->pins);
	p->pins--;
	here.asked--;
	if (!p->busy && !p->held)
		settle(p);
}

/* Loading */

/* An adopted room goes on without its rules: only what needs them is refused. */
static void refuse_all(struct place *p, enum err err)
{
	size_t waiting = p->waiting;
	p->busy = true; /* what comes meanwhile is not refused: it asks again */
	while (waiting--) {
		struct waiting w = take(p);
		if (!w.call || (p->room && w.needs == VISIT_ANY))
			append(p, w);
		else
			refuse_visit(w.call, w.refused, err, NULL);
	}
	p->busy = false;
}

static void load_failed(struct place *p, enum err err)
{
	rules_free(&p->rules);
	refuse_all(p, err);
	rooms_release(p);
}

static void all_loaded(struct place *p)
{
	if (p->room) {
		p->kind = PLACE_STORED;
		p->room->ring.limits = rooms_ring_limits(p);
	} else {
		make_room(p, PLACE_STORED);
	}
	rooms_release(p);
}

/* Nothing was published there since it is to be kept: then the room's own epoch is the first. */
static void history_loaded(struct store_op *op)
{
	struct place *p = op->context;
	if (op->err && op->err != ERR_NOT_FOUND) {
		load_failed(p, op->err);
		return;
	}
	if (!op->err && !p->room)
		make_room(p, PLACE_STORED);
	if (!op->err) {
		p->room->history = store_int(op, 0, 0);
		room_continue(p->room, store_str(op, 0, 1), (uint64_t)store_int(op, 0, 2));
	}
	all_loaded(p);
}

/* What a room's rules are made of, by the page, in this order. */
static void take_role(struct place *p, const struct store_op *op, size_t row)
{
	rules_put_role(p->rules, store_str(op, row, 0), role_parse(store_str(op, row, 1)));
}

static void take_ban(struct place *p, const struct store_op *op, size_t row)
{
	standing_ban(standing_put(&p->standings, store_str(op, row, 0), true),
		&(struct ban){.reason = store_str(op, row, 1),
			.by = store_str(op, row, 2),
			.created_at = store_int(op, row, 3),
			.expires_at = store_int(op, row, 4)});
}

static void take_mute(struct place *p, const struct store_op *op, size_t row)
{
	standing_mute(
		standing_put(&p->standings, store_str(op, row, 0), true), store_str(op, row, 1));
}

static const struct part {
	enum store_verb verb;
	void (*take)(struct place *p, const struct store_op *op, size_t row);
} parts[] = {
	{STORE_ROOM_ROLES, take_role}, {STORE_ROOM_BANS, take_ban}, {STORE_ROOM_MUTES, take_mute}};
enum { PARTS = sizeof(parts) / sizeof(*parts) };

static void part_loaded(struct store_op *op);

static void ask_part(struct place *p, size_t part, struct str after)
{
	store_ask(parts[part].verb, part_loaded, p, STORE_INT(p->rules->id), STORE_TEXT(after),
		STORE_INT(LOAD_PAGE), STORE_INT(time(NULL)), STORE_END);
}

static void rules_loaded(struct place *p)
{
	if (rules_history(p->rules, rooms_template(p)).durable)
		store_ask(STORE_HISTORY_GET, history_loaded, p, STORE_INT(p->rules->id), STORE_END);
	else
		all_loaded(p);
}

static void part_loaded(struct store_op *op)
{
	struct place *p = op->context;
	size_t part = 0;
	if (op->err) {
		load_failed(p, op->err);
		return;
	}
	while (parts[part].verb != op->verb)
		part++;
	for (size_t i = 0; i < op->rows; i++)
		parts[part].take(p, op, i);
	if (op->rows == LOAD_PAGE)
		ask_part(p, part, store_str(op, op->rows - 1, 0));
	else if (part + 1 < PARTS)
		ask_part(p, part + 1, STR(""));
	else
		rules_loaded(p);
}

static void loaded(struct store_op *op)
{
	struct place *p = op->context;
	if (op->err == ERR_NOT_FOUND) {
		rooms_end(p); /* one that was handed over, say */
		rooms_release(p);
	} else if (op->err) {
		load_failed(p, op->err);
	} else {
		struct rules row = rules_of_row(op, 0);
		p->rules = rules_new(&row);
		standings_forget_kept(&p->standings);
		ask_part(p, 0, STR(""));
	}
}

static void load(struct place *p)
{
	rooms_hold(p);
	store_ask(STORE_ROOM_GET, loaded, p, STORE_TEXT(p->name), STORE_END);
}

/* Endings */

static void forget_member(struct member *m)
{
	if (m->calls)
		meeting_left(m);
	attendance_give_back(m->addr);
	attendance_remove(m);
	room_remove(&m);
	metric_add(METRIC_MEMBERS, -1);
}

void rooms_end_membership(struct member *m, const char *reason)
{
	struct room *room = m->room;
	announce_left(m, reason);
	told_left(m, reason);
	forget_member(m);
	announce_due(room);
}

void rooms_put_out(struct member *m, const char *reason)
{
	announce_out(m, reason);
	rooms_end_membership(m, reason);
}

/* Each member is told of itself alone: with the room, the others are gone for it as well. */
void rooms_empty(struct place *p)
{
	announce_forget(p->room);
	while (p->room->count) {
		struct member *m = p->room->members[p->room->count - 1];
		announce_out(m, "closed");
		told_left(m, "closed");
		forget_member(m);
	}
}

void rooms_end(struct place *p)
{
	p->kind = PLACE_ABSENT;
	rules_free(&p->rules);
	standings_free(&p->standings);
	lobby_close(p);
	if (!p->room)
		return;
	rooms_empty(p);
	room_free(&p->room);
	metric_add(METRIC_ROOMS, -1);
}

static bool waits_here(const struct place *p, struct addr endpoint)
{
	for (const struct waiting *w = p->first; w; w = w->next)
		if (w->call && addr_eq(w->call->from, endpoint))
			return true;
	if (p->held &&
		addr_eq(p->visitor, endpoint)) /* its call is on its way, to a membership say */
		return true;
	return (p->room && room_by_endpoint(p->room, endpoint)) ||
		lobby_by_endpoint(&p->lobby, endpoint);
}

/* The same as for memberships, for what the endpoint knocks at. */
static void tell_fate_outside(struct fate fate)
{
	struct knock *k = lobby_of_endpoint(fate.endpoint), *next;
	for (; k; k = next) {
		struct place *p = k->place;
		next = k->next_of_endpoint;
		if (p->first || p->held)
			continue; /* its turn comes */
		meet_fate_outside(k, fate);
		settle(p);
	}
}

/* To all memberships of the endpoint; behind what it sent, where something waits. */
static void tell_fate(struct fate fate)
{
	for (struct place *p = here.listed; p; p = p->next)
		if (waits_here(p, fate.endpoint)) {
			if (fate.who)
				principal_ref(fate.who);
			append(p, (struct waiting){.fate = fate});
		}
	struct member *m = attendance_first(fate.endpoint), *next;
	for (; m; m = next) {
		next = m->next_of_endpoint;
		struct place *p = map_get(&here.places, m->room->name);
		assert(!p->busy); /* fates come by the inbox, never within a visit */
		if (p->first || p->held)
			continue; /* its turn comes */
		meet_fate(m, fate);
		settle(p);
	}
	tell_fate_outside(fate);
}

void rooms_gone(struct addr endpoint, bool clean)
{
	tell_fate((struct fate){.endpoint = endpoint, .kind = clean ? FATE_LEFT : FATE_LOST});
	attendance_forget(endpoint);
}

void rooms_connected(struct addr endpoint, bool yes)
{
	tell_fate((struct fate){.endpoint = endpoint, .kind = yes ? FATE_BACK : FATE_AWAY});
}

void rooms_granted(struct addr endpoint, const struct principal *who)
{
	tell_fate((struct fate){.endpoint = endpoint, .kind = FATE_GRANT, .who = who});
}

struct place *rooms_place(struct str room)
{
	struct place *p = map_get(&here.places, room);
	return p && p->room ? p : NULL;
}

void rooms_close_for(struct str room, struct addr endpoint)
{
	struct place *p = map_get(&here.places, room);
	struct fate fate = {.endpoint = endpoint, .kind = FATE_CLOSED};
	if (!p)
		return;
	if (p->first || p->held) {
		append(p, (struct waiting){.fate = fate});
		return;
	}
	meet_fate_here(p, fate);
	settle(p);
}

/* From before */

static void adopt_members(struct room *room)
{
	metric_add(METRIC_MEMBERS, (int64_t)room->count);
	for (size_t i = 0; i < room->count; i++) {
		attendance_add(room->members[i]);
		if (room->members[i]->addr.generation)
			attendance_keep_place(room->members[i]->addr);
	}
	for (size_t i = 0; i < room->count;) {
		if (room->members[i]->addr.generation)
			i++;
		else
			rooms_end_membership(room->members[i], "lost");
	}
}

bool rooms_adopt(struct adoption *a)
{
	struct place *p = find_or_make(a->room->name);
	if (p->room || p->kind != kind_at_first(p->name) || p->listed)
		return false;
	p->room = a->room;
	p->rules = a->rules;
	p->standings = a->standings;
	p->kind = a->stored ? PLACE_UNKNOWN : PLACE_EPHEMERAL;
	lobby_adopt(p, &a->lobby);
	*a = (struct adoption){0};
	metric_add(METRIC_ROOMS, 1);
	adopt_members(p->room);
	settle(p);
	return true;
}

const struct place *rooms_find(struct str name)
{
	return map_get(&here.places, name);
}

const struct place *rooms_next(size_t *i)
{
	return map_next(&here.places, i);
}

/* Forgets what is too old, and rooms that nobody has been in for a while. */
static void sweep(uv_timer_t *timer)
{
	uint64_t now = uv_now(timer->loop);
	struct place *p, *idle = NULL;
	for (size_t i = 0; (p = map_next(&here.places, &i));) {
		if (!p->room || p->listed || p->standings.until > now)
			continue;
		ring_expire(&p->room->ring, now);
		bool keeps = p->room->ring.count && !p->room->history;
		if (p->pins || p->room->count || p->lobby.count || keeps ||
			now - p->empty_since < options()->room_idle_ms)
			continue;
		p->next = idle;
		idle = p;
	}
	while ((p = idle)) {
		idle = p->next;
		free_place(p);
	}
}

enum err rooms_start(struct worker *w)
{
	uint64_t idle = options()->room_idle_ms / 4, most = SWEEP_MAX_MS;
	uint64_t every = idle < SWEEP_MIN_MS ? SWEEP_MIN_MS : idle < most ? idle : most;
	announce_start(w);
	uv_timer_init(&w->loop, &here.sweep);
	uv_timer_start(&here.sweep, sweep, every, every);
	return ERR_OK;
}

bool rooms_drained(struct worker *w)
{
	(void)w;
	return !here.asked;
}

/* The store has been closed: what waits for it waits in vain. Nobody is told. */
static void clear(struct place *p)
{
	p->held = 0;
	while (p->first) {
		struct waiting w = take(p);
		call_free(&w.call);
	}
	if (p->room)
		announce_forget(p->room);
	while (p->room && p->room->count) {
		struct member *m = p->room->members[p->room->count - 1];
		attendance_remove(m);
		room_remove(&m);
		metric_add(METRIC_MEMBERS, -1);
	}
	free_place(p);
}

void rooms_stop(struct worker *w)
{
	(void)w;
	uv_close((uv_handle_t *)&here.sweep, NULL);
	struct place *p, *all = NULL;
	here.listed = NULL;
	for (size_t i = 0; (p = map_next(&here.places, &i));) {
		p->listed = false;
		p->next = all;
		all = p;
	}
	while ((p = all)) {
		all = p->next;
		clear(p);
	}
	map_free(&here.places);
	here.places = (struct map){0};
	announce_stop();
	attendance_stop();
	lobby_stop();
}
