#include "signaling/announce.h"

#include "core/call.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "signaling/options.h"
#include "signaling/room.h"
#include "signaling/roster.h"

#include <assert.h>

enum form { FORM_LEFT, FORM_JOINED, FORM_UPDATED, FORMS, FORM_NONE = FORMS };

static const char *const methods[FORMS] = {"room.left", "room.joined", "room.updated"};

/* What happened to a peer since it was told last: where, in positions of the room; 0: not. */
struct change {
	char peer[PEER_CHARS + 1];
	struct member *member; /* NULL: it has left */
	const char *reason;    /* of leaving */
	uint64_t joined, left, state, connected, role, muted;
	/* while it is told: its entry for each form that it may take, in the texts of the telling */
	struct {
		size_t at, n;
	} entry[FORMS];
};

/* One telling: the entries of the first changes, each written once. */
struct telling {
	struct room *room;
	struct buf texts;
	size_t changes;
	size_t known; /* members who know more than all do, by the answer to their join */
	struct member *one_known;
	struct audience *others;
	size_t messages; /* the most that one member got */
};

static _Thread_local struct {
	struct room *waiting; /* rooms where something is gathered */
	uv_timer_t timer;
	uint64_t due_ms; /* when the timer runs, if it does */
} here;

static bool is_large(const struct room *room)
{
	return room->count > options()->roster_merge_above;
}

/* ---- the rooms where something waits ---- */

static void list(struct room *room)
{
	struct announcer *a = &room->announcer;
	if (a->listed)
		return;
	a->listed = true;
	a->previous = NULL;
	a->next = here.waiting;
	if (a->next)
		a->next->announcer.previous = room;
	here.waiting = room;
}

static void unlist(struct room *room)
{
	struct announcer *a = &room->announcer;
	if (!a->listed)
		return;
	a->listed = false;
	if (a->next)
		a->next->announcer.previous = a->previous;
	if (a->previous)
		a->previous->announcer.next = a->next;
	else
		here.waiting = a->next;
	if (!here.waiting)
		uv_timer_stop(&here.timer);
}

static void on_timer(uv_timer_t *timer);

static void wake_at(uint64_t ms)
{
	uint64_t now = worker_now_ms();
	if (uv_is_active((uv_handle_t *)&here.timer) && here.due_ms <= ms)
		return;
	here.due_ms = ms;
	uv_timer_start(&here.timer, on_timer, ms > now ? ms - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	for (struct room *room = here.waiting, *next; room; room = next) {
		next = room->announcer.next;
		announce_due(room);
	}
}

/* ---- gathering ---- */

static struct change *change_of(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	if (m->change)
		return &a->changes[m->change - 1];
	if (a->count == a->size) {
		a->size = a->size ? a->size * 2 : 1;
		a->changes = mem_resize(a->changes, a->size, sizeof(*a->changes));
	}
	struct change *c = &a->changes[a->count++];
	*c = (struct change){.member = m};
	memcpy(c->peer, m->peer, sizeof(c->peer));
	m->change = a->count;
	return c;
}

void announce_joined(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	change_of(m)->joined = m->told = ++a->position;
	announce_due(m->room);
}

void announce_told(struct member *m)
{
	m->told = m->room->announcer.position;
}

void announce_left(struct member *m, const char *reason)
{
	struct announcer *a = &m->room->announcer;
	announce_before(m->room);
	struct change *c = change_of(m);
	c->left = ++a->position;
	c->reason = reason;
	c->member = NULL;
	m->change = 0;
	a->urgent = true;
}

void announce_state(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	change_of(m)->state = ++a->position;
	a->urgent = true;
	announce_due(m->room);
}

void announce_connected(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	change_of(m)->connected = ++a->position;
	a->urgent = true;
	announce_due(m->room);
}

void announce_role(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	change_of(m)->role = ++a->position;
	a->urgent = true;
	announce_due(m->room);
}

void announce_muted(struct member *m)
{
	struct announcer *a = &m->room->announcer;
	change_of(m)->muted = ++a->position;
	a->urgent = true;
	announce_due(m->room);
}

/* ---- telling: what each change is to whom ---- */

/* How a change looks to who knows all up to this position. */
static enum form form_for(const struct change *c, uint64_t position)
{
	if (c->joined > position)
		return c->left ? FORM_NONE : FORM_JOINED;
	if (c->left)
		return c->left > position ? FORM_LEFT : FORM_NONE;
	bool updated = c->state > position || c->connected > position || c->role > position ||
		c->muted > position;
	return updated ? FORM_UPDATED : FORM_NONE;
}

static void write_left(struct json_out *o, const struct change *c)
{
	json_open(o, NULL, '{');
	json_text(o, "peer", c->peer);
	json_text(o, "reason", c->reason);
	json_close(o, '}');
}

static void write_joined(struct json_out *o, const struct change *c)
{
	roster_entry(o, c->member, false); /* who was here before gives way to nobody */
}

static void write_updated(struct json_out *o, const struct change *c)
{
	json_open(o, NULL, '{');
	json_text(o, "peer", c->peer);
	json_open(o, "changes", '{');
	if (c->state)
		roster_state(o, c->member);
	if (c->connected)
		json_bool(o, "connected", c->member->connected);
	if (c->role)
		json_text(o, "role", role_word(c->member->role));
	if (c->muted)
		json_bool(o, "muted", c->member->muted);
	json_close(o, '}');
	json_close(o, '}');
}

static void (*const writers[FORMS])(struct json_out *o, const struct change *c) = {
	write_left, write_joined, write_updated};

static bool may_take(const struct change *c, enum form form)
{
	return form == FORM_LEFT      ? c->left > 0
		: c->left             ? false
		: form == FORM_JOINED ? c->joined > 0
				      : c->state || c->connected || c->role || c->muted;
}

/* Writes the entries of as many changes as one telling may have. */
static void write_entries(struct telling *t)
{
	struct announcer *a = &t->room->announcer;
	t->texts = BUF_INIT(ANNOUNCE_BYTES + 2 * FRAME_MAX_BYTES);
	for (; t->changes < a->count; t->changes++) {
		struct change *c = &a->changes[t->changes];
		size_t before = t->texts.n;
		for (enum form form = 0; form < FORMS; form++) {
			struct json_out o = JSON_OUT(&t->texts);
			size_t at = t->texts.n;
			if (may_take(c, form))
				writers[form](&o, c);
			c->entry[form].at = at;
			c->entry[form].n = t->texts.n - at;
		}
		assert(!t->texts.err); /* one entry is far smaller */
		if (t->changes && t->texts.n > ANNOUNCE_BYTES) {
			buf_cut(&t->texts, before);
			return;
		}
	}
}

static struct str entry_of(const struct telling *t, const struct change *c, enum form form)
{
	return (struct str){t->texts.p + c->entry[form].at, c->entry[form].n};
}

static struct str inside(struct str object)
{
	return (struct str){object.p + 1, object.n - 2};
}

/* Who is told: one who knows more than what was told to all, or, one NULL, all others. */
struct reader {
	const struct member *one;
	uint64_t knows;
};

/* Who changed something knows it; what was changed about somebody they hear as all do. */
static bool is_own(const struct change *c, enum form form)
{
	return form != FORM_UPDATED || (!c->role && !c->muted);
}

static bool is_for(const struct change *c, enum form form, struct reader r)
{
	return form_for(c, r.knows) == form && !(r.one && c->member == r.one && is_own(c, form));
}

/* All that is of this form to the reader, or NULL when nothing is. *ret_only is the member when it is
 * about one. */
static struct frame *message(
	const struct telling *t, enum form form, struct reader r, const struct member **ret_only)
{
	const struct change *changes = t->room->announcer.changes, *only = NULL;
	size_t count = 0;
	for (size_t i = 0; i < t->changes; i++)
		if (is_for(&changes[i], form, r)) {
			only = &changes[i];
			count++;
		}
	if (!count)
		return NULL;
	*ret_only = count == 1 && is_own(only, form) ? only->member : NULL;
	struct event e;
	event_begin(&e, methods[form]);
	json_str(&e.params, "room", t->room->name);
	if (count == 1 && form != FORM_JOINED) {
		json_raw(&e.params, NULL, inside(entry_of(t, only, form)));
		return event_take(&e);
	}
	json_open(&e.params, "members", '[');
	for (size_t i = 0; i < t->changes; i++)
		if (is_for(&changes[i], form, r))
			json_raw(&e.params, NULL, entry_of(t, &changes[i], form));
	json_close(&e.params, ']');
	return event_take(&e);
}

/* ---- telling: to whom ---- */

static void count_known(struct telling *t)
{
	struct room *room = t->room;
	for (size_t i = 0; i < room->count; i++)
		if (room->members[i]->told > room->announcer.told) {
			t->known++;
			t->one_known = room->members[i];
		}
}

static struct audience *all_but_known(const struct room *room)
{
	struct addr *addrs = mem_alloc(room->count * sizeof(*addrs));
	size_t count = 0;
	for (size_t i = 0; i < room->count; i++)
		if (room->members[i]->told <= room->announcer.told)
			addrs[count++] = room->members[i]->addr;
	struct audience *a = audience_new(addrs, count);
	free(addrs);
	return a;
}

/* To all who know only what was told; but one, when it is about that one alone. */
static void tell_others(struct telling *t, const struct member *but, struct frame *f)
{
	struct addr addr = but ? but->addr : (struct addr){0};
	if (!t->known) {
		room_tell(t->room, addr, f);
		return;
	}
	if (t->known == 1 && (!but || but == t->one_known)) {
		room_tell(t->room, t->one_known->addr, f);
		return;
	}
	if (!t->others)
		t->others = all_but_known(t->room);
	audience_send(t->others, addr, f);
}

static void tell(struct telling *t, const struct member *one)
{
	struct reader r = {one, one ? one->told : t->room->announcer.told};
	size_t messages = 0;
	for (enum form form = 0; form < FORMS; form++) {
		const struct member *only = NULL;
		struct frame *f = message(t, form, r, &only);
		if (!f)
			continue;
		messages++;
		if (one)
			addr_send(one->addr, f);
		else
			tell_others(t, form == FORM_UPDATED ? only : NULL, f);
	}
	if (messages > t->messages)
		t->messages = messages;
}

static void forget_told(struct room *room, size_t count)
{
	struct announcer *a = &room->announcer;
	for (size_t i = 0; i < a->count; i++)
		if (a->changes[i].member)
			a->changes[i].member->change = i < count ? 0 : i - count + 1;
	a->count -= count;
	if (a->count) {
		memmove(a->changes, a->changes + count, a->count * sizeof(*a->changes));
		return;
	}
	free(a->changes);
	a->changes = NULL;
	a->size = 0;
	a->told = a->position;
	a->urgent = false;
	unlist(room);
}

/* In a small room only joins cost something. */
static void pay(struct announcer *a, size_t messages)
{
	uint64_t now = worker_now_ms(), price = messages * ANNOUNCE_PAUSE_MS;
	uint64_t most = now + ANNOUNCE_BURST * ANNOUNCE_PAUSE_MS;
	a->next_ms = now + price;
	a->debt_ms = (a->debt_ms > now ? a->debt_ms : now) + price;
	if (a->debt_ms > most)
		a->debt_ms = most;
}

/* Tells as much as one telling may have. */
static void tell_all(struct room *room)
{
	struct telling t = {.room = room};
	write_entries(&t);
	count_known(&t);
	if (t.changes > 1)
		metric_add(METRIC_ROSTER_MERGED, (int64_t)t.changes);
	if (t.known < room->count)
		tell(&t, NULL);
	for (size_t i = 0; t.known && i < room->count; i++)
		if (room->members[i]->told > room->announcer.told)
			tell(&t, room->members[i]);
	if (is_large(room) || !room->announcer.urgent)
		pay(&room->announcer, t.messages);
	forget_told(room, t.changes);
	audience_unref(&t.others);
	buf_free(&t.texts);
}

/* ---- when ---- */

static bool may_tell(const struct room *room)
{
	const struct announcer *a = &room->announcer;
	uint64_t now = worker_now_ms();
	if (now >= a->next_ms || a->count >= ANNOUNCE_MAX)
		return true;
	return !is_large(room) &&
		(a->urgent || a->debt_ms <= now + (ANNOUNCE_BURST - 1) * ANNOUNCE_PAUSE_MS);
}

void announce_due(struct room *room)
{
	struct announcer *a = &room->announcer;
	while (a->count && may_tell(room))
		tell_all(room);
	if (!a->count)
		return;
	list(room);
	wake_at(a->next_ms);
}

void announce_before(struct room *room)
{
	if (!room->announcer.count || is_large(room))
		return;
	room->announcer.urgent = true;
	announce_due(room);
}

void announce_out(struct member *m, const char *reason)
{
	struct change c = {.reason = reason};
	struct event e;
	announce_before(m->room); /* behind its own end it hears of nobody */
	memcpy(c.peer, m->peer, sizeof(c.peer));
	event_begin(&e, methods[FORM_LEFT]);
	json_str(&e.params, "room", m->room->name);
	struct buf text = BUF_INIT(256);
	write_left(&JSON_OUT(&text), &c);
	json_raw(&e.params, NULL, inside(buf_str(&text)));
	buf_free(&text);
	struct frame *f = event_take(&e);
	if (f)
		addr_send(m->addr, f);
}

void announce_forget(struct room *room)
{
	forget_told(room, room->announcer.count);
}

void announce_settle(void)
{
	while (here.waiting)
		tell_all(here.waiting);
}

void announce_start(struct worker *w)
{
	uv_timer_init(&w->loop, &here.timer);
}

void announce_stop(void)
{
	assert(!here.waiting);
	uv_close((uv_handle_t *)&here.timer, NULL);
}
