#include "service/event_stream.h"

#include "core/json_out.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/http_bearer.h"
#include "service/outbound.h"
#include "service/session.h"

#include <inttypes.h>

enum {
	SWEEP_MS = 1000,
	CLOSE_MS = 5000,      /* to take what is left, once it is closed */
	WRITE_AT = 64 * 1024, /* events are gathered up to here, then written together */
	TEXT_MAX = WRITE_AT + 2 * FRAME_MAX_BYTES,
};

struct event_stream {
	struct carrier carrier; /* first: what the owner knows of it */
	struct event_stream *next, **back;
	struct event_stream *next_dirty;
	struct http_exchange *x;  /* until the answer begins */
	struct http_stream *http; /* then, until its end */
	struct outbound queue;
	uint64_t written_ms, closed_ms;
	uint16_t close_code; /* 0: open */
	const char *close_reason;
	bool dirty, opened, ping_due;
	char session[SESSION_ID_MAX];
	char peer[64];
};

static struct event_stream_options options;
static _Thread_local struct event_stream *all, *dirty;
static _Thread_local struct buf text; /* scratch of the worker */
static _Thread_local uv_timer_t sweeper;

void event_stream_configure(const struct event_stream_options *o)
{
	options = *o;
}

static void mark_dirty(struct event_stream *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	s->next_dirty = dirty;
	dirty = s;
}

static void free_stream(struct event_stream *s)
{
	struct event_stream **at = &dirty;
	while (*at && *at != s)
		at = &(*at)->next_dirty;
	if (*at)
		*at = s->next_dirty;
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
	outbound_clear(&s->queue);
	free(s);
}

/* The client has left. */
static void lose(struct event_stream *s)
{
	struct carrier_owner *owner = s->carrier.owner;
	s->carrier.owner = NULL;
	if (owner)
		owner->events->closed(owner, 1006);
	free_stream(s);
}

/* ---- as a carrier ---- */

static void carry_begin(struct carrier *c, const char *session, bool batching)
{
	struct event_stream *s = (struct event_stream *)c;
	snprintf(s->session, sizeof(s->session), "%s", session);
	s->queue.batching = batching;
}

static void carry_close(struct carrier *c, uint16_t code, const char *reason)
{
	struct event_stream *s = (struct event_stream *)c;
	if (s->close_code)
		return;
	s->close_code = code;
	s->close_reason = reason;
	s->closed_ms = worker_now_ms();
	mark_dirty(s);
}

static void carry_send(struct carrier *c, struct outgoing m)
{
	struct event_stream *s = (struct event_stream *)c;
	if (s->close_code) {
		frame_unref(&m.frame);
		return;
	}
	outbound_add(&s->queue, m);
	mark_dirty(s);
	if (s->queue.bytes <= options.outbound_queue)
		return;
	metric_add(METRIC_SLOW_CONSUMERS, 1);
	outbound_clear(&s->queue);
	carry_close(c, 4002, "read faster: too much is waiting");
}

static void carry_refuse(struct carrier *c, enum err err, const struct refusal *why)
{
	struct event_stream *s = (struct event_stream *)c;
	if (s->x)
		http_refuse_why(s->x, err, why);
	s->x = NULL;
}

static const struct carrier_ops carrier_ops = {
	.begin = carry_begin, .send = carry_send, .close = carry_close, .refuse = carry_refuse};

/* ---- out ---- */

/* One event. An event's data ends with its line: a line break between two tokens of the JSON becomes
 * a space (there is no raw one inside of them). */
static void add_event(struct event_stream *s)
{
	struct buf *b = &text;
	if (!s->opened) {
		s->opened = true;
		buf_adds(b, STR("event: open\n"));
	}
	uint32_t n = outbound_next(&s->queue);
	uint64_t count = 0;
	for (uint32_t i = 0; i < n; i++)
		if (outbound_at(&s->queue, i)->count)
			count = outbound_at(&s->queue, i)->count;
	if (count)
		buf_addf(b, "id: %s:%" PRIu64 "\n", s->session, count);
	buf_adds(b, STR("data: "));
	size_t start = b->n;
	outbound_join(&s->queue, n, b);
	for (size_t i = start; i < b->n; i++)
		if (b->p[i] == '\n' || b->p[i] == '\r')
			b->p[i] = ' ';
	metric_add(METRIC_MESSAGES_OUT, 1);
	metric_add(METRIC_BYTES_OUT, (int64_t)(b->n - start));
	buf_adds(b, STR("\n\n"));
}

static void add_close(struct event_stream *s)
{
	buf_adds(&text, STR("event: close\ndata: "));
	struct json_out o = JSON_OUT(&text);
	json_open(&o, NULL, '{');
	json_int(&o, "code", s->close_code);
	json_text(&o, "reason", s->close_reason);
	json_close(&o, '}');
	buf_adds(&text, STR("\n\n"));
}

static void write_text(struct event_stream *s)
{
	http_stream_write(s->http, buf_str(&text));
	s->written_ms = worker_now_ms();
	text.n = 0;
}

static void write_waiting(struct event_stream *s)
{
	while (!http_stream_full(s->http) && (s->ping_due || s->queue.count)) {
		if (s->ping_due)
			buf_adds(&text, STR(": ping\n\n"));
		s->ping_due = false;
		while (s->queue.count && text.n < WRITE_AT)
			add_event(s);
		write_text(s);
	}
	if (!s->close_code || s->queue.count || http_stream_full(s->http))
		return;
	add_close(s);
	write_text(s);
	http_stream_end(s->http);
	s->http = NULL;
}

static void on_writable(void *owner)
{
	mark_dirty(owner);
}

static void on_gone(void *owner)
{
	struct event_stream *s = owner;
	s->http = NULL;
	lose(s);
}

static const struct http_stream_events stream_events = {.writable = on_writable, .gone = on_gone};

static void begin_answer(struct event_stream *s)
{
	http_header(s->x, "X-Accel-Buffering", STR("no")); /* a proxy would wait for more (nginx) */
	s->http = http_stream_begin(s->x,
		&(struct http_stream_options){.events = &stream_events,
			.owner = s,
			.content_type = "text/event-stream",
			.dead_ms = options.pong_ms});
	s->x = NULL;
}

static void flush(struct event_stream *s)
{
	if (s->x && s->queue.count)
		begin_answer(s);
	if (s->http) {
		write_waiting(s);
	} else if (s->x) { /* ended before the session could begin */
		http_refuse(s->x, ERR_OVERLOADED, .message = s->close_reason);
		s->x = NULL;
	}
	if (!s->http)
		lose(s);
}

static void turn(struct worker *w)
{
	(void)w;
	while (dirty) {
		struct event_stream *s = dirty;
		dirty = s->next_dirty;
		s->dirty = false;
		flush(s);
	}
}

/* ---- life ---- */

struct carrier *event_stream_new(struct http_exchange *x)
{
	struct event_stream *s = mem_new(struct event_stream);
	s->x = x;
	snprintf(s->peer, sizeof(s->peer), STR_FMT, STR_ARG(x->in.peer));
	s->carrier = (struct carrier){.ops = &carrier_ops,
		.peer = str_of(s->peer),
		.born_ns = x->in.born_ns,
		.opened = true,
		.posts = true};
	s->back = &all;
	s->next = all;
	if (all)
		all->back = &s->next;
	all = s;
	return &s->carrier;
}

/* A quiet stream gets a sign of life; one that is closed does not wait for its client for ever. */
static void on_sweep(uv_timer_t *timer)
{
	uint64_t now = uv_now(timer->loop);
	for (struct event_stream *s = all; s; s = s->next) {
		if (!s->http)
			continue;
		if (s->close_code && now - s->closed_ms >= CLOSE_MS) {
			http_stream_cut(s->http);
			s->http = NULL;
			mark_dirty(s);
		} else if (now - s->written_ms + SWEEP_MS > options.ping_ms) {
			s->ping_due = true;
			mark_dirty(s);
		}
	}
}

static enum err start(struct worker *w)
{
	text = BUF_INIT(TEXT_MAX);
	uv_timer_init(&w->loop, &sweeper);
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	return ERR_OK;
}

static void stop(struct worker *w)
{
	(void)w;
	while (all) {
		struct event_stream *s = all;
		if (s->http)
			http_stream_cut(s->http);
		if (s->x)
			http_refuse(s->x, ERR_OVERLOADED, .message = "The service is stopping.");
		free_stream(s);
	}
	buf_free(&text);
	uv_close((uv_handle_t *)&sweeper, NULL);
}

const struct worker_part event_stream_part = {
	.name = "event streams", .start = start, .turn = turn, .stop = stop};
