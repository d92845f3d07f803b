#include "signaling/presence_watch.h"

#include "core/alarm.h"
#include "core/call.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/record.h"
#include "signaling/options.h"
#include "signaling/presence.h"
#include "signaling/presence_ask.h"
#include "signaling/signaling.h"

enum { EVENT_BYTES = 64 * 1024, RECORD_MAX_BYTES = 1 << 20, MS_A_SECOND = 1000 };

/* A user whom this worker follows. */
struct watched {
	struct str user, text; /* own copies; text n 0: the home has not said anything yet */
	uint64_t hash;         /* of the text */
	struct watch *first;
};

/* A session of this worker that watches somebody. */
struct watcher {
	struct addr addr;
	char addr_key[ADDR_KEY_BYTES];
	bool admin;
	struct map by_user;
	struct watch *dirty, **last_dirty;
	uint64_t may_tell_ms;
	struct alarm alarm;
	bool fresh; /* in the list of those to be told at the end of this turn */
	struct watcher *next_fresh;
};

/* One who watches one. */
struct watch {
	struct watched *watched;
	struct watcher *watcher;
	struct watch *next, *previous; /* of the watched */
	uint64_t told; /* hash of the text that the session knows; 0: it waits for an answer */
	bool dirty;    /* there is something newer */
	struct watch *next_dirty;
};

static _Thread_local struct {
	struct map watched, watchers;
	struct watcher *fresh;
	struct alarms alarms;
} here;

static struct watcher *watcher_of(struct addr session)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&here.watchers, addr_key(session, key));
}

struct str watch_text(struct str user)
{
	const struct watched *u = map_get(&here.watched, user);
	return u ? u->text : STR("");
}

/* ---- making ---- */

static struct watched *watched_find_or_make(struct str user)
{
	struct watched *u = map_get(&here.watched, user);
	if (!u) {
		u = mem_new(struct watched);
		u->user = (struct str){mem_copy(user), user.n};
		map_put(&here.watched, u->user, u);
	}
	return u;
}

static struct watcher *watcher_find_or_make(struct addr session)
{
	struct watcher *w = watcher_of(session);
	if (!w) {
		w = mem_new(struct watcher);
		w->addr = session;
		w->last_dirty = &w->dirty;
		map_put(&here.watchers, addr_key(session, w->addr_key), w);
	}
	return w;
}

static struct watch *add(struct watcher *w, struct str user)
{
	struct watch *it = mem_new(struct watch);
	struct watched *u = watched_find_or_make(user);
	it->watched = u;
	it->watcher = w;
	it->next = u->first;
	if (u->first)
		u->first->previous = it;
	u->first = it;
	map_put(&w->by_user, u->user, it);
	metric_add(METRIC_WATCHES, 1);
	return it;
}

/* ---- unmaking ---- */

struct unfollow {
	struct post post;
	int worker;
	size_t n;
	char user[];
};

static void run_unfollow(struct post *p)
{
	struct unfollow *u = (struct unfollow *)p;
	presence_unfollow((struct str){u->user, u->n}, u->worker);
	free(u);
}

/* By the way that asks the home to follow (presence_ask.c), so behind it. */
static void unfollow(struct str user)
{
	struct worker *home = worker_home(user), *self = worker_self();
	if (home == self) {
		presence_unfollow(user, self->index);
		return;
	}
	struct unfollow *u = mem_alloc(sizeof(*u) + user.n);
	*u = (struct unfollow){{.run = run_unfollow}, self->index, user.n};
	memcpy(u->user, user.p, user.n);
	worker_post(home, &u->post);
}

static void watched_free(struct watched *u)
{
	free((char *)(uintptr_t)u->user.p);
	free((char *)(uintptr_t)u->text.p);
	free(u);
}

static void clean(struct watch *it)
{
	struct watcher *w = it->watcher;
	struct watch **at = &w->dirty;
	if (!it->dirty)
		return;
	while (*at != it)
		at = &(*at)->next_dirty;
	*at = it->next_dirty;
	if (!*at)
		w->last_dirty = at;
	it->dirty = false;
}

static void take_out(struct watch *it)
{
	struct watched *u = it->watched;
	clean(it);
	map_remove(&it->watcher->by_user, u->user);
	if (it->next)
		it->next->previous = it->previous;
	if (it->previous)
		it->previous->next = it->next;
	else
		u->first = it->next;
	free(it);
	metric_add(METRIC_WATCHES, -1);
	if (u->first)
		return;
	map_remove(&here.watched, u->user);
	unfollow(u->user);
	watched_free(u);
}

static void free_if_unused(struct watcher *w)
{
	if (w->by_user.count)
		return;
	alarm_clear(&here.alarms, &w->alarm);
	for (struct watcher **at = &here.fresh; w->fresh && *at; at = &(*at)->next_fresh)
		if (*at == w) {
			*at = w->next_fresh;
			break;
		}
	map_remove(&here.watchers, (struct str){w->addr_key, ADDR_KEY_BYTES});
	map_free(&w->by_user);
	free(w);
}

static void remove_all(struct watcher *w)
{
	size_t count = 0;
	struct watch *it, **all = mem_alloc((w->by_user.count + 1) * sizeof(struct watch *));
	for (size_t i = 0; (it = map_next(&w->by_user, &i)); it->dirty = false)
		all[count++] = it;
	w->dirty = NULL;
	w->last_dirty = &w->dirty;
	while (count)
		take_out(all[--count]);
	free(all);
	free_if_unused(w);
}

void watch_remove_all(struct addr session)
{
	struct watcher *w = watcher_of(session);
	if (w)
		remove_all(w);
}

void watch_remove(struct addr session, const struct str *users, size_t count)
{
	struct watcher *w = watcher_of(session);
	for (size_t i = 0; w && i < count; i++) {
		struct watch *it = map_get(&w->by_user, users[i]);
		if (it)
			take_out(it);
	}
	if (w)
		free_if_unused(w);
}

/* ---- watching ---- */

bool watch_add(
	struct addr session, const struct principal *who, const struct str *users, size_t count)
{
	struct watcher *w = watcher_find_or_make(session);
	size_t more = 0;
	for (size_t i = 0; i < count; i++)
		more += !map_get(&w->by_user, users[i]);
	bool fits = w->by_user.count + more <= WATCHED_MAX;
	w->admin = who->scopes & SCOPE_ADMIN;
	for (size_t i = 0; fits && i < count; i++)
		if (!map_get(&w->by_user, users[i]))
			add(w, users[i]);
	free_if_unused(w);
	return fits;
}

void watch_answered(struct addr session, const struct str *users, size_t count)
{
	struct watcher *w = watcher_of(session);
	for (size_t i = 0; w && i < count; i++) {
		struct watch *it = map_get(&w->by_user, users[i]);
		if (it)
			it->told = it->watched->hash;
	}
}

void watch_granted(struct addr session, const struct principal *who)
{
	struct watcher *w = watcher_of(session);
	if (!w)
		return;
	w->admin = who->scopes & SCOPE_ADMIN;
	if (!(who->scopes & SCOPE_ROOMS_JOIN))
		remove_all(w);
}

/* ---- telling ---- */

/* As many as fit, the oldest first. NULL: there is nothing that is not known. */
static struct frame *write_news(struct watcher *w)
{
	size_t count = 0;
	struct event e;
	event_begin(&e, "presence.changed");
	json_open(&e.params, "users", '[');
	while (w->dirty && e.b.n < EVENT_BYTES) {
		struct watch *it = w->dirty;
		clean(it);
		if (it->told == it->watched->hash)
			continue;
		it->told = it->watched->hash;
		json_open(&e.params, NULL, '{');
		json_raw(&e.params, NULL, it->watched->text);
		json_close(&e.params, '}');
		count++;
	}
	json_close(&e.params, ']');
	metric_add(METRIC_PRESENCE_TOLD, (int64_t)count);
	struct frame *f = event_take(&e);
	if (!count)
		frame_unref(&f);
	return f;
}

/* Who may not look any more, by a configuration that was changed, watches no more. */
static void tell(struct watcher *w)
{
	if (options()->presence_hidden && !w->admin) {
		remove_all(w);
		return;
	}
	struct frame *f = write_news(w);
	if (!f)
		return;
	uint64_t pause = UINT64_C(1) * MS_A_SECOND * f->size / WATCH_BYTES_PER_S;
	w->may_tell_ms = worker_now_ms() + (pause > WATCH_PAUSE_MS ? pause : WATCH_PAUSE_MS);
	if (w->dirty)
		alarm_set(&here.alarms, &w->alarm, w->may_tell_ms);
	addr_send(w->addr, f);
}

static void ring(struct alarm *a)
{
	tell((struct watcher *)(void *)((char *)a - offsetof(struct watcher, alarm)));
}

void watch_turn(struct worker *worker)
{
	(void)worker;
	uint64_t now = worker_now_ms();
	while (here.fresh) {
		struct watcher *w = here.fresh;
		here.fresh = w->next_fresh;
		w->fresh = false;
		if (now < w->may_tell_ms)
			alarm_set(&here.alarms, &w->alarm, w->may_tell_ms);
		else
			tell(w);
	}
}

/* What comes in one turn is told together. */
static void note_news(struct watch *it)
{
	struct watcher *w = it->watcher;
	if (it->dirty || !it->told || it->told == it->watched->hash)
		return;
	it->dirty = true;
	it->next_dirty = NULL;
	*w->last_dirty = it;
	w->last_dirty = &it->next_dirty;
	if (w->fresh || alarm_is_set(&w->alarm))
		return;
	w->fresh = true;
	w->next_fresh = here.fresh;
	here.fresh = w;
}

void watch_heard(struct str user, struct str text)
{
	struct watched *u = map_get(&here.watched, user);
	if (!u || str_eq(u->text, text))
		return;
	free((char *)(uintptr_t)u->text.p);
	u->text = (struct str){mem_copy(text), text.n};
	u->hash = str_hash(text) | 1;
	for (struct watch *it = u->first; it; it = it->next)
		note_news(it);
}

/* ---- from one process to the next: each session, and for each user that it watches what it knows ---- */

static void save_watcher(struct buf *out, const struct watcher *w)
{
	struct buf b = BUF_INIT(RECORD_MAX_BYTES);
	addr_put(&b, w->addr);
	const struct watch *it;
	for (size_t i = 0; (it = map_next(&w->by_user, &i));) {
		record_put_str(&b, it->watched->user);
		record_put_int(&b, it->told);
	}
	record_put_str(out, buf_str(&b));
	buf_free(&b);
}

void watch_save(struct buf *out)
{
	const struct watcher *w;
	for (size_t i = 0; (w = map_next(&here.watchers, &i));)
		save_watcher(out, w);
}

static bool load_watch(struct record_reader *r, struct addr session, const struct principal *who,
	struct str *ret_user)
{
	if (!record_more(r))
		return false;
	struct str user = record_str(r, ASK_USER_MAX);
	uint64_t told = record_int(r, UINT64_MAX);
	if (r->bad || !user.n || !watch_add(session, who, &user, 1))
		return false;
	struct watch *it = map_get(&watcher_of(session)->by_user, user);
	it->told = told | 1;
	if (it->watched->text.n) /* another session has asked */
		note_news(it);
	*ret_user = user;
	return true;
}

/* What it knows is compared with what the homes say now. */
void watch_load(struct record_reader *r, const struct chapter_lookup *lookup)
{
	struct addr now, old = addr_read(r);
	const struct principal *who;
	if (r->bad || !lookup->find(lookup->context, old, &now, &who) ||
		now.worker != worker_self()->index)
		return;
	struct str users[ASK_MAX];
	size_t count = 0;
	while (load_watch(r, now, who, &users[count])) {
		if (++count < ASK_MAX)
			continue;
		presence_ask_again(users, count);
		count = 0;
	}
	if (count)
		presence_ask_again(users, count);
}

/* ---- the worker ---- */

void watch_start(struct worker *w)
{
	alarms_start(&here.alarms, w, ring);
}

void watch_stop(void)
{
	struct watcher *w;
	struct watched *u;
	for (size_t i = 0; (w = map_next(&here.watchers, &i));) {
		free(w->by_user.slots);
		free(w);
	}
	for (size_t i = 0; (u = map_next(&here.watched, &i));) {
		for (struct watch *it = u->first, *next; it; it = next) {
			next = it->next;
			free(it);
			metric_add(METRIC_WATCHES, -1);
		}
		watched_free(u);
	}
	free(here.watchers.slots);
	free(here.watched.slots);
	here.watchers = here.watched = (struct map){0};
	here.fresh = NULL;
	alarms_stop(&here.alarms);
}
