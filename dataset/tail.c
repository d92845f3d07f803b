#include "dataset/tail_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"

#include <assert.h>

/* The thread that watches one file. It looks at the head of the log whenever something may have changed, has live.h
 * say what that means to the shapes that are joined, and tells the home of each dataset, in this order and no other:
 *
 *   one look = one transaction: the head; all changes since the last look; then whoever wants to join, at that head.
 *
 * So what somebody joins at is where the next tidings go on. Looks do not wait for anybody: where tidings are not taken
 * in time, the next look is put off, and has more to tell.
 *
 * A file is in one of these states:
 *   closed    there is none, or it is in trouble: it is opened again from time to time
 *   open      its head is known; what is not captured (ensure) is, by the thread that writes
 *   mending   (of the open ones) what captured does not stand: no looks until it does again
 * and each dataset is live from when it has been announced until something ends that. */

enum {
	RETRY_FIRST_MS = 100,
	RETRY_LAST_MS = 1000,
	BUSY_MS = 2000, /* that a lock may keep us from reading */
	BUSY_PAUSE_MS = 5,
	CHORES_MS = 1000,
	UNUSED_MS = 30000,
};

struct tail *tail_new(struct database *db)
{
	struct tail *t = mem_new(struct tail);
	t->db = db;
	t->last_join = &t->joins;
	t->known = heads_known(db->key, &t->head);
	if (t->known) {
		marks_read(&t->marks, t->head.marks);
		history_read(&t->history, t->head.history);
	}
	return t;
}

void tail_free(struct tail **ret_t)
{
	struct tail *t = *ret_t;
	*ret_t = NULL;
	if (!t)
		return;
	assert(!t->first && !t->joins && !t->reading);
	map_free(&t->joined);
	free(t);
}

static int64_t later(int64_t *wait)
{
	*wait = *wait ? 2 * *wait : RETRY_FIRST_MS;
	if (*wait > RETRY_LAST_MS)
		*wait = RETRY_LAST_MS;
	return clock_steady_ms() + *wait;
}

/* ---- trouble ---- */

static void file_close(struct tail *t)
{
	live_free(&t->live);
	reading_close(&t->reading);
	watch_close(t->db->watch);
	readings_close(t->db, INT64_MAX);
	t->seen = t->mend = false;
	t->busy_since = 0;
}

static void file_fails(struct tail *t, const char *what, const char *remedy)
{
	for (struct attached *a = t->first; a; a = a->next)
		dataset_fails(t, a, what, remedy);
	refuse_joins(t);
	file_close(t);
	t->open_at = later(&t->open_wait);
}

static void reading_fails(struct tail *t)
{
	const struct store_trouble *trouble = reading_trouble(t->reading);
	bool busy = (sqlite3_errcode(t->reading->handle) & 0xff) == SQLITE_BUSY;
	int64_t now = clock_steady_ms();
	if (busy && !t->busy_since)
		t->busy_since = now;
	t->look = true;
	if (busy && now - t->busy_since < BUSY_MS)
		return;
	file_fails(t, trouble ? trouble->what : "it cannot be read",
		trouble ? trouble->remedy : "the log says more");
}

static void file_open(struct tail *t)
{
	const struct store_trouble *trouble = NULL;
	enum err err = watch_open(t->db->watch, &trouble);
	if (err == ERR_NOT_FOUND) {
		file_fails(t, "there is no such file", "put it there, or drop the dataset");
		return;
	}
	if (!err)
		err = reading_open(t->db->path, &t->reading, &trouble);
	if (err) {
		file_fails(t, trouble ? trouble->what : "it cannot be opened",
			trouble ? trouble->remedy : "see that it is a file, and may be read");
		return;
	}
	t->live = live_new(t->reading);
	atomic_fetch_add(&t->db->file, 1);
	t->cookie = -1;
	t->ensure_at = 0;
	t->look = t->ensure = true;
}

/* ---- being captured ---- */

static bool is_needed(const struct tail *t, struct str table)
{
	struct str tables[ATTACHED_TABLES_MAX];
	for (const struct attached *a = t->first; a; a = a->next) {
		size_t count = attached_tables(a, tables);
		for (size_t i = 0; i < count; i++)
			if (tables[i].n == table.n &&
				sqlite3_strnicmp(tables[i].p, table.p, (int)table.n) == 0)
				return true;
	}
	return false;
}

static void ask_ensure(struct tail *t)
{
	struct ensuring *e = mem_new(struct ensuring);
	size_t all = 0;
	for (struct attached *a = t->first; a; a = a->next)
		all++;
	e->database = t->db;
	e->mend = t->mend;
	e->new_epoch = t->new_epoch;
	e->list = mem_alloc((all + 1) * sizeof(*e->list));
	for (struct attached *a = t->first; a; a = a->next) {
		attached_ref(a);
		e->list[e->count++] = (struct ensured){.attached = a, .live = a->live};
	}
	t->ensuring = true;
	t->ensure = false;
	writer_ensure(t->db->writer, e);
}

/* Behind the last one that needed it. It is detached when that has been done, or was tried. */
static void ask_drop(struct tail *t, struct attached *a)
{
	struct ensuring *e = mem_new(struct ensuring);
	struct str tables[ATTACHED_TABLES_MAX];
	size_t count = attached_tables(a, tables);
	attached_ref(a);
	e->database = t->db;
	e->dropped = a;
	e->drops = mem_alloc((count + 1) * sizeof(*e->drops));
	for (size_t i = 0; i < count; i++)
		if (!is_needed(t, tables[i]))
			e->drops[e->drop_count++] = tables[i];
	writer_ensure(t->db->writer, e);
}

static void ensure_later(struct tail *t)
{
	t->ensure = true;
	t->ensure_at = later(&t->ensure_wait);
}

/* False: it cannot be captured. */
static bool take_ensured(struct tail *t, struct ensured *one)
{
	struct attached *a = one->attached;
	if (a->leaving)
		return true;
	if (one->err) {
		dataset_fails(
			t, a, one->why, "mend the table or the definition, or drop the dataset");
		return false;
	}
	layout_unref(&a->made);
	a->made = one->layout;
	one->layout = NULL;
	return true;
}

static void captured(struct tail *t, struct ensuring *e)
{
	bool all = true;
	t->known &= !e->new_epoch; /* it is another one now */
	t->mend &= !e->mend;
	t->new_epoch &= !e->new_epoch;
	for (size_t i = 0; i < e->count; i++)
		all &= take_ensured(t, &e->list[i]);
	t->ensure_wait = all ? 0 : t->ensure_wait;
	if (!all)
		ensure_later(t);
	t->cookie = -1;
}

static void not_captured(struct tail *t, struct ensuring *e)
{
	for (size_t i = 0; i < e->count; i++)
		if (!e->list[i].attached->leaving && (e->mend || !e->list[i].live))
			dataset_fails(t, e->list[i].attached, e->what, e->remedy);
	ensure_later(t);
}

void tail_ensured(struct post *p)
{
	struct ensuring *e = (struct ensuring *)p;
	struct tail *t = e->database->tail;
	if (!e->dropped) {
		t->ensuring = false;
		(e->err ? not_captured : captured)(t, e);
	}
	t->look = true;
	ensuring_free(&e);
}

/* ---- a look ---- */

static void make_status(struct tail *t, const struct head *head)
{
	pthread_mutex_lock(&t->db->lock);
	for (struct attached *a = t->first; a; a = a->next) {
		a->status.seq = head->seq;
		a->status.floor = head->floor;
		memcpy(a->status.epoch, head->epoch, sizeof(a->status.epoch));
	}
	pthread_mutex_unlock(&t->db->lock);
}

/* What cannot be read now is looked at again before it is learned. */
static bool is_known_history(struct tail *t)
{
	bool holds = true;
	history_holds(t->reading->handle, &t->history, &holds);
	return holds;
}

/* The log goes on from where it was when it was looked at last. Its last changes are compared when it has been opened,
 * when the schema's cookie is another (SQLite raises it as it copies one file into another), and before it is learned. */
static bool is_the_same(struct tail *t, const struct head *head, bool compare)
{
	const struct known_head *was = &t->head;
	int64_t inode = (int64_t)watch_inode(t->db->watch);
	if (!t->known)
		return true;
	return strcmp(was->epoch, head->epoch) == 0 && head->seq >= was->seq &&
		(was->inode == inode || was->seq == head->seq) && (!compare || is_known_history(t));
}

/* All that is or will be live stands as it was made. */
static bool all_stand(struct tail *t)
{
	bool stand = true;
	for (const struct attached *a = t->first; a && stand; a = a->next) {
		struct str tables[ATTACHED_TABLES_MAX];
		if (a->live || a->made)
			stand = capture_stands(
				t->reading->handle, tables, attached_tables(a, tables));
	}
	return stand;
}

static void set_cookie(struct tail *t, int64_t cookie)
{
	t->cookie = cookie;
	pthread_mutex_lock(&t->db->lock);
	for (struct attached *a = t->first; a; a = a->next)
		a->cookie = cookie;
	pthread_mutex_unlock(&t->db->lock);
}

/* What cannot be told at once, or not for this reason or that, readers find out by themselves: then a trouble is met
 * by the next look. */
static void tell_changes(struct tail *t, const struct head *head)
{
	int64_t from = t->head.seq;
	bool far = from < head->floor;
	metric_add(METRIC_DATASET_CHANGES, head->seq > from ? head->seq - from : 0);
	if (t->joined.count && !far && head->seq > from) {
		enum err err = live_step(t->live, from, head->seq, told, t, &far);
		far |= err != ERR_OK;
	}
	if (far && head->seq > from)
		tell_leap(t, head->seq);
	else
		tell_steps(t, head->seq);
}

/* A log whose beginning we see: nothing is told of what was before. */
static void meet(struct tail *t, const struct head *head)
{
	t->known = true;
	t->head.seq = head->seq;
	memcpy(t->head.epoch, head->epoch, sizeof(t->head.epoch));
	t->marks.count = 0;
	t->history = (struct history){0};
	t->unlearned = true;
}

/* What has been captured anew is not the table that those who are joined mean. */
static void end_others(struct tail *t, const struct head *head)
{
	for (struct attached *a = t->first; a; a = a->next)
		if (a->live && a->made &&
			(a->version != a->made->version || strcmp(a->epoch, head->epoch) != 0)) {
			end_life(t, a);
			a->live = false;
		}
}

static void advance(struct tail *t, const struct head *head)
{
	int64_t inode = (int64_t)watch_inode(t->db->watch);
	if (!t->known)
		meet(t, head);
	t->unlearned |= t->head.inode != inode || t->head.seq != head->seq;
	t->head.inode = inode;
	end_others(t, head);
	tell_changes(t, head);
	t->head.seq = head->seq;
	t->floor = head->floor;
	make_status(t, head);
	for (struct attached *a = t->first; a; a = a->next)
		if (a->made)
			announce(t, a, head);
}

/* In the transaction. False: it must be mended first. */
static bool take_head(struct tail *t, const struct head *head)
{
	if (!is_the_same(t, head, head->schema_cookie != t->cookie)) {
		log_warn("a database is not what it was: a new epoch begins",
			LOG_STR("database", t->db->key), LOG_TEXT("epoch", head->epoch),
			LOG_INT("seq", head->seq), LOG_INT("was", t->head.seq));
		t->new_epoch = true;
		return false;
	}
	if (head->schema_cookie != t->cookie) {
		if (!all_stand(t))
			return false;
		set_cookie(t, head->schema_cookie);
	}
	return true;
}

static void look(struct tail *t)
{
	struct head head;
	t->look = false;
	enum err err = reading_begin(t->reading, READING_LIMIT_MS, &head);
	if (err && err != ERR_NOT_FOUND) {
		reading_fails(t);
		return;
	}
	t->seen = true;
	t->busy_since = t->open_wait = 0;
	bool right = !err && take_head(t, &head);
	if (right) {
		advance(t, &head);
		join_some(t, &head);
	}
	if (!err)
		reading_end(t->reading);
	if (!right) {
		t->new_epoch |= err && t->known;
		t->mend = t->ensure = true;
		t->ensure_at = t->ensure_wait ? t->ensure_at : 0;
	}
}

/* ---- chores ---- */

/* False: it is another's. Where nothing can be read what was known of it before is still right. */
static bool renew_history(struct tail *t)
{
	struct head head;
	if (!t->reading || reading_begin(t->reading, READING_LIMIT_MS, &head))
		return true;
	bool same = is_the_same(t, &head, true);
	if (same)
		history_take(t->reading->handle, t->head.seq, &t->history);
	reading_end(t->reading);
	return same;
}

static void learn(struct tail *t)
{
	if (!t->unlearned || !t->known)
		return;
	if (!renew_history(t)) {
		t->cookie = -1;
		t->look = true;
		return;
	}
	t->unlearned = false;
	marks_write(&t->marks, t->head.marks, sizeof(t->head.marks));
	history_write(&t->history, t->head.history);
	heads_learn(t->db->key, &t->head);
}

static void do_chores(struct tail *t, int64_t now)
{
	struct database_options o = database_options();
	struct prune_wish wish = {.seq = t->head.seq, .floor = t->floor, .hold = INT64_MAX};
	t->chores_at = now + CHORES_MS;
	readings_close(t->db, now - UNUSED_MS);
	if (!t->first || !t->reading || !t->known || t->mend)
		return;
	marks_add(&t->marks, clock_unix_ms(), t->head.seq, o.keep_ms);
	wish.aged = marks_older(&t->marks, clock_unix_ms() - o.keep_ms);
	for (struct attached *a = t->first; a; a = a->next) {
		int64_t slowest = atomic_load(&a->slowest);
		wish.hold = slowest < wish.hold ? slowest : wish.hold;
	}
	if (wish.hold < t->head.seq - o.lag_max)
		wish.hold = t->head.seq - o.lag_max;
	if (t->head.seq > t->floor)
		writer_prune(t->db->writer, &wish);
	learn(t);
}

/* ---- attaching ---- */

void tail_attach(struct post *p)
{
	struct attached *a = (struct attached *)((char *)p - offsetof(struct attached, post));
	struct tail *t = a->database->tail;
	a->next = t->first;
	t->first = a;
	t->ensure = true;
	t->ensure_at = 0;
}

void tail_detach(struct attached *a)
{
	struct tail *t = a->database->tail;
	struct attached **at = &t->first;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	end_life(t, a);
	a->live = false;
	a->leaving = true;
	layout_unref(&a->made);
	learn(t);
	if (a->drop && !t->first) {
		heads_forget(t->db->key);
		t->known = false;
	}
	if (a->drop)
		ask_drop(t, a);
	attached_unref(a);
}

/* ---- the thread ---- */

static void run_inbox(struct tail *t)
{
	for (struct post *p = inbox_take(&t->db->inbox), *next; p; p = next) {
		next = p->next;
		p->run(p);
	}
}

static bool may_look(const struct tail *t)
{
	return t->reading && t->look && !t->mend && atomic_load(&t->db->flight) <= FLIGHT_MAX;
}

static bool is_due(int64_t at, int64_t now, int64_t *wait)
{
	if (at > now && at - now < *wait)
		*wait = at - now;
	return at <= now;
}

/* Does what is due, and says how long there is nothing to do. */
static unsigned work(struct tail *t)
{
	int64_t now = clock_steady_ms(), wait = database_options().poll_ms;
	if (t->first && !t->reading && is_due(t->open_at, now, &wait))
		file_open(t);
	if (may_look(t))
		look(t);
	if (t->first && t->seen && t->ensure && !t->ensuring && is_due(t->ensure_at, now, &wait))
		ask_ensure(t);
	if (!t->first || !t->reading || t->mend)
		refuse_joins(t);
	else if (t->known)
		tell_steps(t, t->head.seq);
	if (is_due(t->chores_at, now, &wait))
		do_chores(t, now);
	if (may_look(t))
		wait = t->busy_since ? BUSY_PAUSE_MS : 0;
	return (unsigned)wait;
}

static void replaced(struct tail *t)
{
	if (t->reading)
		file_fails(t, "another file takes its place, or none",
			"it is opened when it is there");
	t->open_at = 0;
}

void *tail_main(void *context)
{
	struct database *db = context;
	struct tail *t = db->tail;
	pthread_setname_np(pthread_self(), "dataset-tail");
	for (;;) {
		run_inbox(t);
		if (!t->first && database_ends(db))
			break;
		unsigned what = watch_wait(db->watch, work(t));
		if (what & WATCH_REPLACED)
			replaced(t);
		t->look |= what != 0;
	}
	file_close(t);
	writer_stop(&db->writer);
	return NULL;
}
