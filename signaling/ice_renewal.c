#include "signaling/ice_renewal.h"

#include "core/clock.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/record.h"
#include "signaling/attendance.h"
#include "signaling/ice.h"
#include "signaling/options.h"

#include <openssl/rand.h>

enum {
	TICK_MS = 250,
	RENEW_FROM = 75, /* per cent of their life */
	RENEW_TO = 85,
	FORGOTTEN_AT_ONCE = 64,
};

/* A session with credentials that run out. */
struct renewal {
	char key[ADDR_KEY_BYTES];
	struct addr session;
	uint64_t due_ms;
	struct str user, region; /* their bytes stand behind */
	char text[];
};

static _Thread_local struct map renewals;
static _Thread_local uv_timer_t ticker;

static uint64_t next_due(void)
{
	uint64_t life_ms = options()->ice_lifetime_s * UINT64_C(1000);
	uint32_t random = 0;
	if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
		abort();
	uint64_t spread = life_ms * (RENEW_TO - RENEW_FROM) / 100;
	return worker_now_ms() + life_ms * RENEW_FROM / 100 + random % (spread + 1);
}

static struct renewal *find(struct addr session)
{
	char key[ADDR_KEY_BYTES];
	return renewals.count ? map_get(&renewals, addr_key(session, key)) : NULL;
}

static void forget(struct renewal *r)
{
	map_remove(&renewals, (struct str){r->key, ADDR_KEY_BYTES});
	free(r);
	if (!renewals.count)
		uv_timer_stop(&ticker);
}

static void renew(struct renewal *r)
{
	struct event e;
	int64_t expires_at = ice_expiry();
	event_begin(&e, "ice.changed");
	ice_write(&e.params, r->user, expires_at, r->region);
	json_int(&e.params, "expires_at", expires_at);
	addr_send(r->session, event_take(&e));
	metric_add(METRIC_ICE_RENEWED, 1);
	r->due_ms = next_due();
}

/* Who is in no room any more is told nothing; joining, it is given others. */
static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	uint64_t now = worker_now_ms();
	struct renewal *r, *idle[FORGOTTEN_AT_ONCE];
	size_t count = 0;
	for (size_t i = 0; (r = map_next(&renewals, &i));) {
		if (r->due_ms > now)
			continue;
		if (attendance_has_place(r->session))
			renew(r);
		else if (count < FORGOTTEN_AT_ONCE)
			idle[count++] = r;
	}
	while (count)
		forget(idle[--count]);
}

static void keep(struct addr session, struct str user, struct str region, uint64_t due_ms)
{
	struct renewal *r = mem_alloc(sizeof(*r) + user.n + region.n);
	r->session = session;
	r->due_ms = due_ms;
	if (user.n)
		memcpy(r->text, user.p, user.n);
	if (region.n)
		memcpy(r->text + user.n, region.p, region.n);
	r->user = (struct str){r->text, user.n};
	r->region = (struct str){r->text + user.n, region.n};
	if (!renewals.count)
		uv_timer_start(&ticker, on_tick, TICK_MS, TICK_MS);
	map_put(&renewals, addr_key(session, r->key), r);
}

/* Of several that it has been given the first ones run out first, and are renewed with the others. */
static void note(struct addr session, struct str user, struct str region)
{
	struct renewal *before = find(session);
	uint64_t due_ms = next_due();
	if (!addr_find(session))
		return;
	if (before && before->due_ms < due_ms)
		due_ms = before->due_ms;
	if (before && (!region.n || str_eq(region, before->region))) {
		before->due_ms = due_ms;
		return;
	}
	if (before)
		forget(before);
	keep(session, user, region, due_ms);
}

struct given {
	struct post post;
	struct addr session;
	struct str user, region;
	char text[];
};

static void run_given(struct post *p)
{
	struct given *g = (struct given *)p;
	note(g->session, g->user, g->region);
	free(g);
}

void ice_given(struct addr session, struct str user, struct str region)
{
	if (!ice_is_timed(region))
		return;
	if (session.worker == worker_self()->index) {
		note(session, user, region);
		return;
	}
	struct given *g = mem_alloc(sizeof(*g) + user.n + region.n);
	g->post.run = run_given;
	g->session = session;
	if (user.n)
		memcpy(g->text, user.p, user.n);
	if (region.n)
		memcpy(g->text + user.n, region.p, region.n);
	g->user = (struct str){g->text, user.n};
	g->region = (struct str){g->text + user.n, region.n};
	worker_post(worker_at(session.worker), &g->post);
}

void ice_gone(struct addr endpoint)
{
	struct renewal *r = find(endpoint);
	if (r)
		forget(r);
}

/* ---- from one process to the next: the session, its region, when it is due (Unix ms) ---- */

void ice_save(struct buf *out)
{
	const struct renewal *r;
	for (size_t i = 0; (r = map_next(&renewals, &i));) {
		uint64_t now = worker_now_ms(), left = r->due_ms > now ? r->due_ms - now : 0;
		struct buf one = BUF_INIT(REGION_MAX + 64);
		addr_put(&one, r->session);
		record_put_str(&one, r->region);
		record_put_int(&one, (uint64_t)clock_unix_ms() + left);
		record_put_str(out, buf_str(&one));
		buf_free(&one);
	}
}

void ice_load(struct record_reader *r, const struct chapter_lookup *lookup)
{
	struct addr now, old = addr_read(r);
	struct str region = record_str(r, REGION_MAX);
	uint64_t due = record_int(r, INT64_MAX), clock = (uint64_t)clock_unix_ms();
	const struct principal *who;
	if (r->bad || !lookup->find(lookup->context, old, &now, &who) ||
		now.worker != worker_self()->index || find(now))
		return;
	uint64_t due_ms = worker_now_ms() + (due > clock ? due - clock : 0);
	uint64_t latest = next_due(); /* the wall clock may have been put back */
	keep(now, who->user, region, due_ms < latest ? due_ms : latest);
}

/* ---- the worker ---- */

void ice_start(struct worker *w)
{
	uv_timer_init(&w->loop, &ticker);
}

void ice_stop(void)
{
	struct renewal *r;
	for (size_t i = 0; (r = map_next(&renewals, &i)); i = 0)
		forget(r);
	map_free(&renewals);
	uv_close((uv_handle_t *)&ticker, NULL);
}
