#include "signaling/presence_ask.h"

#include "core/mem.h"
#include "core/worker.h"
#include "signaling/people.h"
#include "signaling/presence.h"
#include "signaling/presence_seen.h"
#include "signaling/presence_watch.h"
#include "signaling/rooms.h"

enum { TEXT_MAX_BYTES = 65536 };

/* One user of a question. Filled by the user's home while the part is there, then read by who asks. */
struct asked {
	struct str user;
	int home;
	struct str text; /* own copy */
	size_t devices;
	int64_t last_seen; /* as the store says */
};

/* Its parts travel to the homes and back. */
struct ask {
	struct call *call; /* NULL: nobody waits */
	int from;          /* worker */
	bool follow;
	size_t away; /* parts */
	size_t count;
	char *names;
	struct asked of[];
};

struct part {
	struct post post;
	struct ask *ask;
	int home;
};

/* ---- at home ---- */

/* Who follows is told what all who follow know: a change that waits to be told comes to all of them. */
static struct str text_of(const struct person *p, const struct asked *a, bool follow)
{
	struct buf b = BUF_INIT(TEXT_MAX_BYTES);
	if (follow && p && p->presence.told.n)
		buf_adds(&b, p->presence.told);
	else
		presence_write(&b, p, a->user, a->last_seen);
	struct str text = {mem_copy(buf_str(&b)), b.n};
	buf_free(&b);
	return text;
}

static void run_back(struct post *p);

static void go_back(struct part *part)
{
	struct ask *ask = part->ask;
	for (size_t i = 0; i < ask->count; i++) {
		struct asked *a = &ask->of[i];
		if (a->home != part->home)
			continue;
		const struct person *p = person_find(a->user);
		a->devices = presence_devices(p);
		a->text = text_of(p, a, ask->follow);
	}
	part->post.run = run_back;
	struct worker *from = worker_at(ask->from);
	if (from == worker_self())
		run_back(&part->post);
	else
		worker_post(from, &part->post);
}

/* The part's user of that place among those it has. */
static struct asked *asked_at(const struct part *part, int64_t place)
{
	struct ask *ask = part->ask;
	for (size_t i = 0; i < ask->count; i++)
		if (ask->of[i].home == part->home && !place--)
			return &ask->of[i];
	return NULL;
}

static void seen(struct store_op *op)
{
	struct part *part = op->context;
	rooms_asked_store(-1);
	for (size_t i = 0; i < op->rows;
		i++) { /* none when the store is in trouble: it is left out */
		struct asked *a = asked_at(part, store_int(op, i, 0));
		if (!a)
			continue;
		a->last_seen = store_int(op, i, 1);
		presence_learn(a->user, a->last_seen);
	}
	go_back(part);
}

/* The names of those whom nobody here knows; null stands for each other one. */
static struct buf unknown_names(const struct part *part, size_t *ret_unknown)
{
	const struct ask *ask = part->ask;
	struct buf b = BUF_INIT(ASK_MAX * 6 * (ASK_USER_MAX + 1));
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '[');
	for (size_t i = 0; i < ask->count; i++) {
		const struct asked *a = &ask->of[i];
		if (a->home != part->home)
			continue;
		bool known = presence_here(person_find(a->user)) || user_is_guest(a->user);
		*ret_unknown += !known;
		if (known)
			json_nothing(&o, NULL);
		else
			json_str(&o, NULL, a->user);
	}
	json_close(&o, ']');
	return b;
}

static void run_at_home(struct post *p)
{
	struct part *part = (struct part *)p;
	const struct ask *ask = part->ask;
	size_t unknown = 0;
	for (size_t i = 0; ask->follow && i < ask->count; i++)
		if (ask->of[i].home == part->home)
			presence_follow(ask->of[i].user, ask->from);
	struct buf names = unknown_names(part, &unknown);
	if (unknown) {
		rooms_asked_store(1);
		seen_ask(buf_str(&names), seen, part);
	} else {
		go_back(part);
	}
	buf_free(&names);
}

/* ---- where it was asked ---- */

static void answer(struct ask *ask)
{
	struct json_out *o = call_result(ask->call);
	json_open(o, NULL, '{');
	json_open(o, "users", '[');
	for (size_t i = 0; i < ask->count; i++) {
		const struct asked *a = &ask->of[i];
		struct str newest = ask->follow ? watch_text(a->user) : STR("");
		json_open(o, NULL, '{');
		json_raw(o, NULL, newest.n ? newest : a->text);
		json_int(o, "devices", (int64_t)a->devices);
		json_close(o, '}');
		if (ask->follow)
			watch_answered(ask->call->from, &a->user, 1);
	}
	json_close(o, ']');
	json_close(o, '}');
	call_reply(ask->call);
}

static void finish(struct ask *ask)
{
	if (ask->call)
		answer(ask);
	for (size_t i = 0; i < ask->count; i++)
		free((char *)(uintptr_t)ask->of[i].text.p);
	free(ask->names);
	free(ask);
}

static void run_back(struct post *p)
{
	struct part *part = (struct part *)p;
	struct ask *ask = part->ask;
	for (size_t i = 0; ask->follow && i < ask->count; i++)
		if (ask->of[i].home == part->home)
			watch_heard(ask->of[i].user, ask->of[i].text);
	free(part);
	if (!--ask->away)
		finish(ask);
}

/* It may be answered before this returns. */
static void send_parts(struct ask *ask)
{
	bool asked[WORKERS_MAX] = {0};
	ask->away = 1;
	for (size_t i = 0; i < ask->count; i++) {
		int home = ask->of[i].home;
		if (asked[home])
			continue;
		asked[home] = true;
		ask->away++;
		struct part *part = mem_new(struct part);
		*part = (struct part){.post.run = run_at_home, .ask = ask, .home = home};
		if (home == ask->from)
			run_at_home(&part->post);
		else
			worker_post(worker_at(home), &part->post);
	}
	if (!--ask->away)
		finish(ask);
}

static struct ask *ask_new(const struct str *users, size_t count)
{
	struct ask *ask = mem_alloc(sizeof(*ask) + count * sizeof(*ask->of));
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += users[i].n;
	ask->names = mem_alloc(bytes + 1);
	ask->count = count;
	ask->from = worker_self()->index;
	char *at = ask->names;
	for (size_t i = 0; i < count; at += users[i++].n) {
		memcpy(at, users[i].p, users[i].n);
		ask->of[i].user = (struct str){at, users[i].n};
		ask->of[i].home = worker_home(ask->of[i].user)->index;
	}
	return ask;
}

void presence_ask(struct call *c, const struct str *users, size_t count, bool follow)
{
	struct ask *ask = ask_new(users, count);
	ask->call = c;
	ask->follow = follow;
	send_parts(ask);
}

void presence_ask_again(const struct str *users, size_t count)
{
	struct ask *ask = ask_new(users, count);
	ask->follow = true;
	send_parts(ask);
}
