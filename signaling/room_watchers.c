/* The homes' side of room_watch.h. */
#include "core/map.h"
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/room_watch.h"

/* A room that somebody watches. */
struct watched {
	struct str room; /* own copy */
	struct watcher *first;
	bool changed;
	struct watched *next_changed;
};

/* One session that watches it. */
struct watcher {
	struct watched *watched;
	struct addr addr;
	struct principal *who;
	bool shown;           /* what was told last is to be seen */
	struct watcher *next; /* of the room */
	struct watcher *next_of_session;
};

struct session {
	char key[ADDR_KEY_BYTES];
	struct watcher *first;
};

static _Thread_local struct {
	struct map by_room, by_session;
	struct watched *changed;
	uv_timer_t timer;
} here;

static struct watched *find_or_make(struct str room)
{
	struct watched *w = map_get(&here.by_room, room);
	if (!w) {
		w = mem_new(struct watched);
		w->room = (struct str){mem_copy(room), room.n};
		map_put(&here.by_room, w->room, w);
	}
	return w;
}

static struct session *session_of(struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&here.by_session, addr_key(addr, key));
}

static struct watcher *find(struct str room, struct addr addr)
{
	struct session *s = session_of(addr);
	struct watcher *w = s ? s->first : NULL;
	while (w && !str_eq(w->watched->room, room))
		w = w->next_of_session;
	return w;
}

void watchers_add(struct str room, struct addr addr, const struct principal *who, bool shown)
{
	struct watcher *w = find(room, addr);
	struct session *s = session_of(addr);
	if (w) {
		w->shown = shown;
		return;
	}
	if (!s) {
		s = mem_new(struct session);
		map_put(&here.by_session, addr_key(addr, s->key), s);
	}
	w = mem_new(struct watcher);
	w->watched = find_or_make(room);
	w->addr = addr;
	w->who = principal_ref(who);
	w->shown = shown;
	w->next = w->watched->first;
	w->watched->first = w;
	w->next_of_session = s->first;
	s->first = w;
}

static void free_if_unused(struct watched *w)
{
	if (w->first || w->changed)
		return;
	map_remove(&here.by_room, w->room);
	free((char *)(uintptr_t)w->room.p);
	free(w);
}

/* It is out of its session's list already. */
static void drop(struct watcher *w)
{
	struct watched *of = w->watched;
	struct watcher **at = &of->first;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	principal_unref(&w->who);
	free(w);
	free_if_unused(of);
}

void watchers_remove(struct str room, struct addr addr)
{
	struct session *s = session_of(addr);
	struct watcher **at = s ? &s->first : NULL, *w = find(room, addr);
	if (!w)
		return;
	while (*at != w)
		at = &(*at)->next_of_session;
	*at = w->next_of_session;
	drop(w);
	if (!s->first) {
		map_remove(&here.by_session, (struct str){s->key, ADDR_KEY_BYTES});
		free(s);
	}
}

void watchers_gone(struct addr addr)
{
	struct session *s = session_of(addr);
	if (!s)
		return;
	map_remove(&here.by_session, (struct str){s->key, ADDR_KEY_BYTES});
	for (struct watcher *w = s->first, *next; w; w = next) {
		next = w->next_of_session;
		drop(w);
	}
	free(s);
}

void watchers_granted(struct addr addr, const struct principal *who)
{
	struct session *s = session_of(addr);
	for (struct watcher *w = s ? s->first : NULL; w; w = w->next_of_session) {
		principal_unref(&w->who);
		w->who = principal_ref(who);
	}
}

/* ---- telling ---- */

/* To the sessions of one worker: a copy of the name stands behind their addresses. */
struct news {
	struct post post;
	size_t members, users;
	struct str room;
	size_t count;
	struct addr to[];
};

static void arrive(struct post *post)
{
	struct news *n = (struct news *)post;
	for (size_t i = 0; i < n->count; i++)
		room_watch_heard(n->to[i], n->room, n->members, n->users);
	free(n);
}

/* Whether they hear of it, by what they may see now. */
static bool hears(struct watcher *w, const struct place *p)
{
	bool there = p && p->room;
	bool was = w->shown;
	if (there && p->kind != PLACE_UNKNOWN)
		w->shown = access_look(p, w->who) == DENIAL_NONE;
	else if (!there)
		w->shown = false; /* until there is one again */
	return w->shown || (was && !there);
}

static void tell_worker(
	const struct watched *of, int worker, const bool *hear, size_t count, const struct place *p)
{
	struct news *n = mem_alloc(sizeof(*n) + count * sizeof(*n->to) + of->room.n);
	*n = (struct news){.post.run = arrive};
	if (p && p->room) {
		n->members = p->room->count;
		n->users = p->room->by_user.count;
	}
	size_t i = 0;
	for (const struct watcher *w = of->first; w; w = w->next, i++)
		if (hear[i] && w->addr.worker == worker)
			n->to[n->count++] = w->addr;
	char *name = (char *)&n->to[count];
	memcpy(name, of->room.p, of->room.n);
	n->room = (struct str){name, of->room.n};
	if (!n->count)
		free(n);
	else
		worker_post(worker_at(worker), &n->post);
}

static void tell(struct watched *of)
{
	const struct place *p = rooms_find(of->room);
	size_t count = 0, i = 0;
	uint64_t workers = 0;
	for (const struct watcher *w = of->first; w; w = w->next)
		count++;
	bool *hear = mem_alloc(count + 1);
	for (struct watcher *w = of->first; w; w = w->next, i++) {
		hear[i] = hears(w, p);
		if (hear[i])
			workers |= UINT64_C(1) << w->addr.worker;
	}
	for (; workers; workers &= workers - 1)
		tell_worker(of, __builtin_ctzll(workers), hear, count, p);
	free(hear);
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	struct watched *list = here.changed, *next;
	here.changed = NULL;
	for (; list; list = next) {
		next = list->next_changed;
		list->changed = false;
		tell(list);
		free_if_unused(list);
	}
}

void watchers_changed(struct str room)
{
	struct watched *w = here.by_room.count ? map_get(&here.by_room, room) : NULL;
	if (!w || w->changed)
		return;
	if (!here.changed)
		uv_timer_start(&here.timer, on_timer, ROOM_WATCH_GATHER_MS, 0);
	w->changed = true;
	w->next_changed = here.changed;
	here.changed = w;
}

void watchers_start(struct worker *w)
{
	uv_timer_init(&w->loop, &here.timer);
}

void watchers_stop(void)
{
	uv_close((uv_handle_t *)&here.timer, NULL);
	while (here.changed) {
		struct watched *w = here.changed;
		here.changed = w->next_changed;
		w->changed = false;
		free_if_unused(w);
	}
	struct session *s;
	for (size_t i = 0; (s = map_next(&here.by_session, &i)); i = 0)
		watchers_gone(s->first->addr);
	map_free(&here.by_session);
	map_free(&here.by_room);
}
