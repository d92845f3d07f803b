#include "signaling/presence.h"

#include "core/clock.h"
#include "core/json_out.h"
#include "core/mem.h"
#include "core/record.h"
#include "signaling/options.h"
#include "signaling/people.h"
#include "signaling/presence_seen.h"
#include "signaling/presence_watch.h"

#include <time.h>

enum { TEXT_MAX_BYTES = 65536, RECORD_MAX_BYTES = 65536 };

static _Thread_local struct alarms alarms;
static _Thread_local uint64_t last_nth;

static const char *const words[] = {"offline", "away", "online"};

/* ---- how it is now ---- */

static enum presence_status status_of_session(const struct person_session *s, uint64_t now)
{
	bool counts = s->connected || now < s->said.until_ms;
	return counts && !s->said.away ? PRESENCE_ONLINE : PRESENCE_AWAY;
}

static bool lingers(const struct presence *r, uint64_t now)
{
	return now < r->left.until_ms;
}

static enum presence_status status_of_left(const struct presence *r, uint64_t now)
{
	return !lingers(r, now) ? PRESENCE_OFFLINE : r->left.away ? PRESENCE_AWAY : PRESENCE_ONLINE;
}

static enum presence_status status_of(const struct person *p, uint64_t now)
{
	enum presence_status status = status_of_left(&p->presence, now);
	for (const struct person_session *s = p->first; s; s = s->next) {
		enum presence_status its = status_of_session(s, now);
		status = its > status ? its : status;
	}
	return status;
}

static struct str note_of(const struct person *p, uint64_t now)
{
	static const struct presence_said nothing;
	const struct presence_said *newest =
		lingers(&p->presence, now) ? &p->presence.left : &nothing;
	for (const struct person_session *s = p->first; s; s = s->next)
		if (s->said.note.n && (!newest->note.n || s->said.nth > newest->nth))
			newest = &s->said;
	return newest->note;
}

void presence_write(struct buf *b, const struct person *p, struct str user, int64_t last_seen)
{
	uint64_t now = worker_now_ms();
	enum presence_status status = p ? status_of(p, now) : PRESENCE_OFFLINE;
	struct str note = p ? note_of(p, now) : STR("");
	struct json_out o = JSON_OUT(b);
	json_str(&o, "user", user);
	json_text(&o, "status", words[status]);
	if (note.n)
		json_raw(&o, "note", note);
	if (status == PRESENCE_OFFLINE && p && p->presence.last_seen)
		last_seen = p->presence.last_seen;
	if (status == PRESENCE_OFFLINE && last_seen)
		json_int(&o, "last_seen", last_seen);
}

size_t presence_devices(const struct person *p)
{
	return p ? p->count : 0;
}

bool presence_here(const struct person *p)
{
	return p && (p->count || p->presence.last_seen || lingers(&p->presence, worker_now_ms()));
}

/* ---- telling ---- */

struct news {
	struct post post;
	size_t user_n, text_n;
	char bytes[];
};

static void run_news(struct post *p)
{
	struct news *n = (struct news *)p;
	watch_heard(
		(struct str){n->bytes, n->user_n}, (struct str){n->bytes + n->user_n, n->text_n});
	free(n);
}

static void post_news(struct worker *w, struct str user, struct str text)
{
	struct news *n = mem_alloc(sizeof(*n) + user.n + text.n);
	*n = (struct news){{.run = run_news}, user.n, text.n};
	memcpy(n->bytes, user.p, user.n);
	memcpy(n->bytes + user.n, text.p, text.n);
	worker_post(w, &n->post);
}

static void tell(const struct person *p)
{
	for (int i = 0; i < workers_count(); i++) {
		if (!(p->presence.workers & UINT64_C(1) << i))
			continue;
		if (worker_at(i) == worker_self())
			watch_heard(p->user, p->presence.told);
		else
			post_news(worker_at(i), p->user, p->presence.told);
	}
}

static void set_text(struct str *text, struct str to)
{
	free((char *)(uintptr_t)text->p);
	*text = to.n ? (struct str){mem_copy(to), to.n} : (struct str){0};
}

/* Tells what has changed, if it may be told now. True: it is to be told later. */
static bool tell_changes(struct person *p, uint64_t now)
{
	struct presence *r = &p->presence;
	struct buf b = BUF_INIT(TEXT_MAX_BYTES);
	presence_write(&b, p, p->user, 0);
	bool changed = !str_eq(buf_str(&b), r->told), later = changed && now < r->may_tell_ms;
	if (changed && !later) {
		set_text(&r->told, buf_str(&b));
		r->may_tell_ms = now + PRESENCE_PAUSE_MS;
		tell(p);
	}
	buf_free(&b);
	return later;
}

static void earlier(uint64_t *due, uint64_t ms, uint64_t now)
{
	if (ms > now && (!*due || ms < *due))
		*due = ms;
}

/* When something changes by itself; 0: never. */
static uint64_t next_change(const struct person *p, uint64_t now)
{
	uint64_t due = 0;
	earlier(&due, p->presence.left.until_ms, now);
	if (p->presence.workers && p->connected < p->count)
		for (const struct person_session *s = p->first; s; s = s->next)
			if (!s->connected)
				earlier(&due, s->said.until_ms, now);
	return due;
}

void presence_settle(struct person *p)
{
	struct presence *r = &p->presence;
	bool needed = r->workers || r->unwritten || r->left.until_ms;
	if (needed && !r->held) {
		r->held = true;
		person_hold(p->user);
	} else if (!needed && r->held) {
		r->held = false;
		person_release(p);
	}
}

static void forget_left(struct presence *r)
{
	set_text(&r->left.note, STR(""));
	r->left = (struct presence_said){0};
}

/* Something of the person has changed, or may have by itself. It may be gone afterwards. */
static void look(struct person *p)
{
	struct presence *r = &p->presence;
	uint64_t now = worker_now_ms();
	if (r->left.until_ms && !lingers(r, now))
		forget_left(r);
	uint64_t due = next_change(p, now);
	if (r->workers && tell_changes(p, now))
		earlier(&due, r->may_tell_ms, now);
	if (due)
		alarm_set(&alarms, &r->alarm, due);
	else
		alarm_clear(&alarms, &r->alarm);
	presence_settle(p);
}

static void ring(struct alarm *a)
{
	look((struct person *)(void *)((char *)a - offsetof(struct person, presence.alarm)));
}

/* ---- what happens to sessions ---- */

static void on_opened(struct person_session *s)
{
	look(s->person);
}

static void on_connected(struct person_session *s)
{
	uint64_t now = worker_now_ms();
	s->said.until_ms = s->connected ? 0 : now + options()->presence_grace_ms;
	look(s->person);
}

/* Of several that close together the one counts on that is the most there. */
static void linger(struct person *p, struct person_session *s, uint64_t now)
{
	struct presence *r = &p->presence;
	if (!options()->presence_linger_ms || status_of_session(s, now) < status_of_left(r, now))
		return;
	if (!s->said.note.n && lingers(r, now)) { /* the one before it may have had a note */
		s->said.note = r->left.note;
		s->said.nth = r->left.nth;
		r->left.note = (struct str){0};
	}
	forget_left(r);
	r->left = s->said;
	r->left.away = status_of_session(s, now) == PRESENCE_AWAY;
	r->left.until_ms = now + options()->presence_linger_ms;
	s->said.note = (struct str){0};
}

static void on_ended(struct person_session *s, bool clean)
{
	struct person *p = s->person;
	if (clean)
		linger(p, s, worker_now_ms());
	if (s->said.note.n)
		free((char *)(uintptr_t)s->said.note.p);
	if (!p->count) {
		p->presence.last_seen = (int64_t)time(NULL);
		seen_note(p);
	}
	look(p);
}

const struct people_listener presence_listener = {
	.opened = on_opened, .connected = on_connected, .ended = on_ended};

void presence_say(struct person_session *s, bool away, struct str note)
{
	s->said.away = away;
	s->said.nth = ++last_nth;
	set_text(&s->said.note, note);
	forget_left(&s->person->presence); /* what was before counts no more */
	look(s->person);
}

/* ---- who is told ---- */

void presence_learn(struct str user, int64_t last_seen)
{
	struct person *p = person_find(user);
	if (!p || p->presence.last_seen)
		return;
	p->presence.last_seen = last_seen;
	look(p);
}

void presence_follow(struct str user, int worker)
{
	struct person *p = person_hold(user);
	struct presence *r = &p->presence;
	if (!r->workers) {
		struct buf b = BUF_INIT(TEXT_MAX_BYTES);
		presence_write(&b, p, user, 0);
		set_text(&r->told, buf_str(&b));
		buf_free(&b);
	}
	r->workers |= UINT64_C(1) << worker;
	look(p);
	person_release(p);
}

void presence_unfollow(struct str user, int worker)
{
	struct person *p = person_find(user);
	if (!p)
		return;
	p->presence.workers &= ~(UINT64_C(1) << worker);
	if (!p->presence.workers)
		set_text(&p->presence.told, STR(""));
	look(p);
}

/* ---- from one process to the next: what sessions said, and of whom else something is left ---- */

enum record_kind { RECORD_SESSION, RECORD_PERSON };

/* Ends are times of the wall clock: the one that both processes have. */
static void put_said(struct buf *b, const struct presence_said *said)
{
	uint64_t now = worker_now_ms(), left = said->until_ms > now ? said->until_ms - now : 0;
	record_put_int(b, said->away);
	record_put_str(b, said->note);
	record_put_int(b, said->nth);
	record_put_int(b, left ? (uint64_t)clock_unix_ms() + left : 0);
}

static void save_session(struct buf *out, const struct person_session *s)
{
	struct buf b = BUF_INIT(RECORD_MAX_BYTES);
	record_put_int(&b, RECORD_SESSION);
	addr_put(&b, s->addr);
	put_said(&b, &s->said);
	record_put_str(out, buf_str(&b));
	buf_free(&b);
}

static void save_person(struct buf *out, const struct person *p)
{
	struct buf b = BUF_INIT(RECORD_MAX_BYTES);
	record_put_int(&b, RECORD_PERSON);
	record_put_str(&b, p->user);
	put_said(&b, &p->presence.left);
	record_put_int(&b, (uint64_t)p->presence.last_seen);
	record_put_str(out, buf_str(&b));
	buf_free(&b);
}

void presence_save(struct buf *out)
{
	struct person *p;
	for (size_t i = 0; (p = people_next(&i));) {
		for (const struct person_session *s = p->first; s; s = s->next)
			save_session(out, s);
		if (p->presence.unwritten || lingers(&p->presence, worker_now_ms()))
			save_person(out, p);
	}
}

static void read_said(struct record_reader *r, unsigned most_ms, struct presence_said *ret_said)
{
	struct presence_said said = {.away = record_int(r, 1)};
	struct str note = record_str(r, PRESENCE_NOTE_MAX);
	said.nth = record_int(r, INT64_MAX);
	uint64_t ends_at = record_int(r, INT64_MAX), now = (uint64_t)clock_unix_ms();
	uint64_t left = ends_at > now ? ends_at - now : 0;
	if (r->bad)
		return;
	if (left)
		said.until_ms = worker_now_ms() + (left < most_ms ? left : most_ms);
	set_text(&said.note, note);
	last_nth = said.nth > last_nth ? said.nth : last_nth;
	*ret_said = said;
}

static void load_session(struct record_reader *r, const struct chapter_lookup *lookup)
{
	struct addr now, old = addr_read(r);
	const struct principal *who;
	struct person_session *s = NULL;
	if (!r->bad && lookup->find(lookup->context, old, &now, &who))
		s = person_session_find(now);
	if (s && !s->said.nth)
		read_said(r, options()->presence_grace_ms, &s->said);
}

static void load_person(struct record_reader *r)
{
	struct str user = record_str(r, RECORD_MAX_BYTES);
	if (r->bad || worker_home(user) != worker_self())
		return;
	struct person *p = person_hold(user);
	if (!p->presence.left.until_ms)
		read_said(r, options()->presence_linger_ms, &p->presence.left);
	if (!p->presence.left.until_ms)
		forget_left(&p->presence);
	p->presence.last_seen = (int64_t)record_int(r, INT64_MAX);
	if (p->presence.last_seen)
		seen_note(p);
	look(p);
	person_release(p);
}

void presence_load(struct record_reader *one, const struct chapter_lookup *lookup)
{
	if (record_int(one, RECORD_PERSON) == RECORD_SESSION)
		load_session(one, lookup);
	else
		load_person(one);
}

/* ---- the worker ---- */

static enum err start(struct worker *w)
{
	alarms_start(&alarms, w, ring);
	seen_start(w);
	watch_start(w);
	return ERR_OK;
}

/* Before people.c frees them. */
static void stop(struct worker *w)
{
	struct person *p;
	for (size_t i = 0; (p = people_next(&i));) {
		set_text(&p->presence.told, STR(""));
		set_text(&p->presence.left.note, STR(""));
		for (struct person_session *s = p->first; s; s = s->next)
			set_text(&s->said.note, STR(""));
	}
	alarms_stop(&alarms);
	seen_stop(w);
	watch_stop();
}

static void gone(struct addr endpoint, bool clean)
{
	(void)clean;
	watch_remove_all(endpoint);
}

const struct worker_part presence_part = {.name = "presence",
	.start = start,
	.drain = seen_drain,
	.stop = stop,
	.turn = watch_turn,
	.gone = gone,
	.granted = watch_granted};
