#include "signaling/presence_seen.h"

#include "core/json_out.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/principal.h"
#include "signaling/options.h"
#include "signaling/people.h"
#include "signaling/rooms.h"

#include <time.h>

enum {
	WRITE_MS = 1000, /* what comes within it is written together */
	WRITE_MOST = 500,
	WRITE_BYTES = 1 << 20,
	PURGE_MS = 3600 * 1000,
	PURGE_SLICE = 1000,
};

static _Thread_local struct {
	struct person *first, **last;
	size_t count;
	struct batch *writing; /* one at a time */
	bool draining;
	uv_timer_t timer;
	uv_timer_t purger; /* worker 0's */
} here;

/* What the store has been asked to write. Its persons are held: they are unwritten. */
struct batch {
	struct buf text;
	size_t count;
	struct {
		struct person *person;
		int64_t seen;
	} of[WRITE_MOST];
};

/* ---- writing ---- */

static void append(struct person *p)
{
	p->presence.next_unwritten = NULL;
	*here.last = p;
	here.last = &p->presence.next_unwritten;
	here.count++;
}

static struct person *take(void)
{
	struct person *p = here.first;
	here.first = p->presence.next_unwritten;
	if (!here.first)
		here.last = &here.first;
	here.count--;
	return p;
}

static void on_timer(uv_timer_t *timer);

static void write_later(void)
{
	if (here.first && !here.writing && !uv_is_active((uv_handle_t *)&here.timer))
		uv_timer_start(&here.timer, on_timer, here.draining ? 0 : WRITE_MS, 0);
}

static void wrote(struct store_op *op)
{
	struct batch *b = here.writing;
	here.writing = NULL;
	rooms_asked_store(-1);
	if (op->err)
		log_warn("when users were there last is not written down yet",
			LOG_TEXT("why", err_info(op->err)->reason));
	for (size_t i = 0; i < b->count; i++) {
		struct person *p = b->of[i].person;
		if (op->err || p->presence.last_seen != b->of[i].seen) {
			append(p);
			continue;
		}
		p->presence.unwritten = false;
		presence_settle(p);
	}
	free(b);
	if (!op->err || !here.draining) /* else it is handed over */
		write_later();
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	struct batch *b = mem_new(struct batch);
	struct buf text = BUF_INIT(WRITE_BYTES);
	struct json_out o = JSON_OUT(&text);
	json_open(&o, NULL, '[');
	while (here.first && b->count < WRITE_MOST && text.n < WRITE_BYTES / 2) {
		struct person *p = take();
		b->of[b->count].person = p;
		b->of[b->count++].seen = p->presence.last_seen;
		json_open(&o, NULL, '[');
		json_str(&o, NULL, p->user);
		json_int(&o, NULL, p->presence.last_seen);
		json_close(&o, ']');
	}
	json_close(&o, ']');
	here.writing = b;
	rooms_asked_store(1);
	store_ask(STORE_SEEN_PUT, wrote, NULL, STORE_TEXT(buf_str(&text)), STORE_END);
	buf_free(&text);
}

void seen_note(struct person *p)
{
	if (p->presence.unwritten || user_is_guest(p->user) || here.count >= SEEN_WAITING_MAX)
		return;
	p->presence.unwritten = true;
	append(p);
	write_later();
}

/* ---- asking ---- */

void seen_ask(struct str users, void (*done)(struct store_op *op), void *context)
{
	store_ask(STORE_SEEN_GET, done, context, STORE_TEXT(users), STORE_END);
}

/* ---- what is too old ---- */

static void purge_slice(void);

static void purged(struct store_op *op)
{
	if (op->err)
		log_warn("users who were here long ago were not forgotten",
			LOG_TEXT("why", err_info(op->err)->reason));
	else if (op->rows == PURGE_SLICE)
		purge_slice(); /* what others have asked meanwhile comes first */
}

static void purge_slice(void)
{
	store_ask(STORE_SEEN_PURGE, purged, NULL,
		STORE_INT(time(NULL) - options()->presence_keep_s), STORE_INT(PURGE_SLICE),
		STORE_END);
}

static void on_purge(uv_timer_t *timer)
{
	(void)timer;
	if (options()->presence_keep_s)
		purge_slice();
}

/* ---- the worker ---- */

void seen_start(struct worker *w)
{
	here.last = &here.first;
	uv_timer_init(&w->loop, &here.timer);
	if (w->index)
		return;
	uv_timer_init(&w->loop, &here.purger);
	uv_timer_start(&here.purger, on_purge, PURGE_MS, PURGE_MS);
}

/* Who leaves from now on is written at once, or else handed over. */
void seen_drain(struct worker *w)
{
	here.draining = true;
	uv_timer_stop(&here.timer);
	write_later();
	if (!w->index)
		uv_timer_stop(&here.purger);
}

void seen_stop(struct worker *w)
{
	free(here.writing);
	here.writing = NULL;
	here.first = NULL;
	here.count = 0;
	here.draining = false;
	uv_close((uv_handle_t *)&here.timer, NULL);
	if (!w->index)
		uv_close((uv_handle_t *)&here.purger, NULL);
}
