/* The sessions' side of room_watch.h. */
#include "signaling/room_watch.h"

#include "core/alarm.h"
#include "core/call.h"
#include "core/map.h"
#include "core/mem.h"
#include "signaling/methods.h"
#include "signaling/occupancy.h"
#include "signaling/signaling.h"

enum { RECORD_MAX_BYTES = 64 * 1024 };

/* A room that a session watches, and what it has not been told of it yet. */
struct watched_room {
	struct str room; /* own copy */
	bool shown, news;
	size_t members, users;
};

struct watching {
	struct addr addr;
	char key[ADDR_KEY_BYTES];
	struct watched_room rooms[ROOMS_WATCHED_MAX];
	size_t count;
	size_t asking;   /* room.watch without an answer: nothing is told before it */
	bool news;       /* of one of them at least */
	uint64_t may_ms; /* not to be told before */
	struct alarm alarm;
};

static _Thread_local struct {
	struct map sessions;
	struct alarms alarms;
} here;

static struct watching *find(struct addr session)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&here.sessions, addr_key(session, key));
}

static struct watched_room *find_room(struct watching *w, struct str room)
{
	for (size_t i = 0; i < w->count; i++)
		if (str_eq(w->rooms[i].room, room))
			return &w->rooms[i];
	return NULL;
}

static void drop_room(struct watched_room *r)
{
	free((char *)(uintptr_t)r->room.p);
	*r = (struct watched_room){0};
}

static void free_watching(struct watching *w)
{
	map_remove(&here.sessions, (struct str){w->key, ADDR_KEY_BYTES});
	alarm_clear(&here.alarms, &w->alarm);
	for (size_t i = 0; i < w->count; i++)
		drop_room(&w->rooms[i]);
	free(w);
}

/* ---- the set ---- */

struct unwatch {
	struct post post;
	struct addr session;
	size_t n;
	char name[];
};

static void unwatch_at_home(struct post *post)
{
	struct unwatch *u = (struct unwatch *)post;
	watchers_remove((struct str){u->name, u->n}, u->session);
	free(u);
}

static void unwatch(struct addr session, struct str room)
{
	struct unwatch *u = mem_alloc(sizeof(*u) + room.n);
	*u = (struct unwatch){.post.run = unwatch_at_home, .session = session, .n = room.n};
	memcpy(u->name, room.p, room.n);
	worker_post(worker_home(room), &u->post);
}

static bool is_wanted(const struct headcounts *h, struct str room)
{
	for (size_t i = 0; i < h->count; i++)
		if (str_eq(h->list[i].room, room))
			return true;
	return false;
}

static void forget_others(struct watching *w, const struct headcounts *h)
{
	size_t kept = 0;
	for (size_t i = 0; i < w->count; i++) {
		if (is_wanted(h, w->rooms[i].room)) {
			w->rooms[kept++] = w->rooms[i];
		} else {
			unwatch(w->addr, w->rooms[i].room);
			drop_room(&w->rooms[i]);
		}
	}
	w->count = kept;
}

static struct watching *find_or_make(struct addr session)
{
	struct watching *w = find(session);
	if (w)
		return w;
	w = mem_new(struct watching);
	w->addr = session;
	map_put(&here.sessions, addr_key(session, w->key), w);
	return w;
}

void room_watch_begin(struct headcounts *h, struct addr session)
{
	struct endpoint *e = addr_find(session);
	if (!e)
		return; /* it has ended, and nobody is left to watch */
	struct watching *w = find_or_make(session);
	forget_others(w, h);
	for (size_t i = 0; i < h->count; i++) {
		struct str room = h->list[i].room;
		if (!find_room(w, room))
			w->rooms[w->count++] =
				(struct watched_room){.room = {mem_copy(room), room.n}};
		e->workers_called |= UINT64_C(1) << worker_home(room)->index;
	}
	w->asking++;
	h->watch = session;
}

/* ---- telling ---- */

static void tell(struct watching *w)
{
	struct event e;
	event_begin(&e, "room.occupancy");
	json_open(&e.params, "rooms", '[');
	for (size_t i = 0; i < w->count; i++) {
		struct watched_room *r = &w->rooms[i];
		if (!r->news)
			continue;
		r->news = false;
		r->shown = true;
		occupancy_write(&e.params, r->room, r->members, r->users);
	}
	json_close(&e.params, ']');
	w->news = false;
	w->may_ms = worker_now_ms() + ROOM_WATCH_PAUSE_MS;
	addr_send(w->addr, event_take(&e));
}

static void tell_soon(struct watching *w)
{
	if (!w->news || w->asking || alarm_is_set(&w->alarm))
		return;
	if (worker_now_ms() >= w->may_ms)
		tell(w);
	else
		alarm_set(&here.alarms, &w->alarm, w->may_ms);
}

static void ring(struct alarm *a)
{
	struct watching *w =
		(struct watching *)(void *)((char *)a - offsetof(struct watching, alarm));
	tell_soon(w);
}

void room_watch_heard(struct addr session, struct str room, size_t members, size_t users)
{
	struct watching *w = find(session);
	struct watched_room *r = w ? find_room(w, room) : NULL;
	if (!r)
		return;
	r->members = members;
	r->users = users;
	r->news = w->news = true;
	tell_soon(w);
}

void room_watch_answered(struct addr session, const struct headcounts *h)
{
	struct watching *w = find(session);
	if (!w)
		return;
	for (size_t i = 0; i < h->count; i++) {
		struct watched_room *r = find_room(w, h->list[i].room);
		if (r)
			r->shown |= h->list[i].shown;
	}
	w->asking--;
	if (!w->asking && !w->count)
		free_watching(w);
	else
		tell_soon(w);
}

/* ---- from one process to the next ---- */

static void save(struct buf *out, const struct watching *w)
{
	struct buf b = BUF_INIT(RECORD_MAX_BYTES);
	addr_put(&b, w->addr);
	for (size_t i = 0; i < w->count; i++) {
		record_put_str(&b, w->rooms[i].room);
		record_put_int(&b, w->rooms[i].shown);
	}
	record_put_str(out, buf_str(&b));
	buf_free(&b);
}

void room_watch_save(struct buf *out)
{
	const struct watching *w;
	for (size_t i = 0; (w = map_next(&here.sessions, &i));)
		save(out, w);
}

/* One session's rooms, asked for again: what it is told then is how many are there now. */
struct again {
	struct headcounts h;
	struct principal *who;
	char *text;
	struct headcount list[ROOMS_WATCHED_MAX];
};

static void counted_again(struct headcounts *h)
{
	struct again *a = (struct again *)h;
	struct addr session = h->watch;
	room_watch_answered(session, h);
	for (size_t i = 0; i < h->count; i++)
		if (h->list[i].shown)
			room_watch_heard(
				session, h->list[i].room, h->list[i].members, h->list[i].users);
	principal_unref(&a->who);
	free(a->text);
	free(a);
}

void room_watch_load(struct record_reader *one, const struct chapter_lookup *lookup)
{
	struct again *a = mem_new(struct again);
	const struct str record = {one->p, (size_t)(one->end - one->p)};
	a->text = mem_copy(record);
	struct record_reader r = record_of((struct str){a->text, record.n});
	struct addr now, old = addr_read(&r);
	const struct principal *who = NULL;
	while (record_more(&r) && a->h.count < ROOMS_WATCHED_MAX) {
		struct headcount *it = &a->list[a->h.count];
		it->room = record_str(&r, NAME_MAX_BYTES);
		it->shown = record_int(&r, 1);
		a->h.count += !r.bad && it->room.n;
	}
	one->bad = r.bad;
	a->h.list = a->list;
	a->h.done = counted_again;
	if (!r.bad && lookup->find(lookup->context, old, &now, &who) &&
		now.worker == worker_self()->index) {
		a->h.who = a->who = principal_ref(who);
		room_watch_begin(&a->h, now);
	}
	if (a->h.watch.generation) {
		headcount_ask(&a->h);
		return;
	}
	principal_unref(&a->who);
	free(a->text);
	free(a);
}

/* ---- the worker ---- */

static enum err start(struct worker *w)
{
	watchers_start(w);
	alarms_start(&here.alarms, w, ring);
	return ERR_OK;
}

static void stop(struct worker *w)
{
	struct watching *it;
	(void)w;
	for (size_t i = 0; (it = map_next(&here.sessions, &i)); i = 0)
		free_watching(it);
	map_free(&here.sessions);
	alarms_stop(&here.alarms);
	watchers_stop();
}

static void gone(struct addr session, bool clean)
{
	struct watching *w = find(session);
	(void)clean;
	watchers_gone(session);
	if (w)
		free_watching(w);
}

const struct worker_part room_watch_part = {.name = "room watch",
	.start = start,
	.stop = stop,
	.gone = gone,
	.granted = watchers_granted};
