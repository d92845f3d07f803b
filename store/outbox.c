#include "store/outbox.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { ID_RANDOM = 16, KEY_MAX = 1024, NAMES_MAX = 64 * 1024, AGAIN_MS = 500 };

uint32_t hooks_wanted;

/* Of each event: who wants it, as a JSON array of names and as bits. */
static struct {
	struct buf names;
	unsigned bits;
} receivers[HOOK_EVENT_COUNT];

static void (*on_kept)(unsigned webhooks);

/* What has happened and the store has not taken: again, in the order it happened (op->mark counts). */
static _Thread_local struct {
	struct store_stream stream;
	struct post *again; /* operations */
	size_t again_bytes;
	unsigned told;
	uv_timer_t timer;
	bool lost; /* has been said */
	bool stopped;
} own;

const char *hook_type(enum hook_event e)
{
	static const char *const types[] = {
#define EVENT(name, type) type,
		HOOK_EVENTS(EVENT)
#undef EVENT
	};
	return types[e];
}

/* ---- who wants what ---- */

static void configure_event(size_t e, const struct hook_receiver *list, size_t count)
{
	buf_free(&receivers[e].names);
	receivers[e].names = BUF_INIT(NAMES_MAX);
	receivers[e].bits = 0;
	struct json_out o = JSON_OUT(&receivers[e].names);
	json_open(&o, NULL, '[');
	for (size_t i = 0; i < count; i++)
		if (list[i].events >> e & 1) {
			json_str(&o, NULL, list[i].name);
			receivers[e].bits |= 1u << i;
		}
	json_close(&o, ']');
	if (receivers[e].bits)
		hooks_wanted |= UINT32_C(1) << e;
}

void outbox_configure(const struct hook_receiver *list, size_t count)
{
	assert(count <= HOOKS_MAX);
	hooks_wanted = 0;
	for (size_t e = 0; e < HOOK_EVENT_COUNT; e++)
		configure_event(e, list, count);
}

void outbox_on_kept(void (*kept)(unsigned webhooks))
{
	on_kept = kept;
}

struct str outbox_receivers(enum hook_event e)
{
	return receivers[e].names.n ? buf_str(&receivers[e].names) : STR("[]");
}

/* ---- collecting ---- */

static void add_part(struct hooks *h, struct store_op *part)
{
	if (h->last)
		h->last->also = part;
	else
		h->first = part;
	h->last = part;
}

#define add(h, verb, ...) \
	add_part(h, store_part(verb, (const struct store_value[]){__VA_ARGS__, STORE_END}))

static struct json_out *begin(
	struct hooks *h, enum hook_event e, const char *key_kind, struct str key_name)
{
	assert(!h->data.n);
	h->event = e;
	h->key = BUF_INIT(KEY_MAX);
	buf_addf(&h->key, "%s:", key_kind);
	buf_adds(&h->key, key_name);
	h->data = BUF_INIT(HOOK_DATA_MAX);
	h->out = JSON_OUT(&h->data);
	json_open(&h->out, NULL, '{');
	return &h->out;
}

struct json_out *hook_begin(
	struct hooks *h, enum hook_event e, const char *key_kind, struct str key_name)
{
	h->live = false;
	return begin(h, e, key_kind, key_name);
}

struct json_out *hook_live(struct hooks *h, struct str id, enum hook_event e, const char *key_kind,
	struct str key_name)
{
	h->live = true;
	h->id = BUF_INIT(KEY_MAX);
	buf_adds(&h->id, id);
	return begin(h, e, key_kind, key_name);
}

static void new_id(char out[2 * ID_RANDOM + 5])
{
	unsigned char random[ID_RANDOM];
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort();
	int n = snprintf(out, 5, "msg_");
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(out + n, 3, "%02x", random[i]);
}

void hook_end(struct hooks *h)
{
	struct str data = STR("{\"too_large\":true}"), type = str_of(hook_type(h->event));
	json_close(&h->out, '}');
	if (!h->data.err)
		data = buf_str(&h->data);
	if (h->live) {
		add(h, STORE_LIVE_ADD, STORE_TEXT(buf_str(&h->id)), STORE_TEXT(type),
			STORE_TEXT(buf_str(&h->key)), STORE_TEXT(data));
	} else if (hook_wanted(h->event)) {
		char id[2 * ID_RANDOM + 5];
		new_id(id);
		add(h, STORE_OUTBOX_ADD, STORE_TEXT(buf_str(&receivers[h->event].names)),
			STORE_TEXT(str_of(id)), STORE_TEXT(type), STORE_TEXT(buf_str(&h->key)),
			STORE_INT(clock_unix_ms()), STORE_TEXT(data));
		h->webhooks |= receivers[h->event].bits;
		h->rows += (unsigned)__builtin_popcount(receivers[h->event].bits);
	}
	buf_free(&h->id);
	buf_free(&h->key);
	buf_free(&h->data);
}

void hook_number(struct hooks *h, int64_t history)
{
	add(h, STORE_OUTBOX_NUMBER, STORE_INT(history));
}

void hook_over(struct hooks *h, struct str id)
{
	add(h, STORE_LIVE_REMOVE, STORE_TEXT(id));
}

/* ---- writing ---- */

/* Who is to be woken when they are kept, and how many rows there are, in one number. */
static unsigned mark_of(const struct hooks *h)
{
	return h->rows << HOOKS_MAX | h->webhooks;
}

static struct store_op *take(struct hooks *h)
{
	struct store_op *first = h->first;
	assert(!h->data.n);
	*h = (struct hooks){0};
	return first;
}

void hook_submit(struct hooks *h, enum store_verb verb, void (*done)(struct store_op *),
	void *context, const struct store_value *args)
{
	if (!h->first) {
		store_submit(verb, done, context, args);
		return;
	}
	struct store_op *op = store_part(verb, args);
	op->mark = mark_of(h);
	op->also = take(h);
	store_submit_parts(op, done, context, &own.stream);
}

void hook_keep(struct hooks *h, void (*done)(struct store_op *), void *context)
{
	assert(h->first);
	h->first->mark = mark_of(h);
	store_submit_parts(take(h), done, context, &own.stream);
}

/* ---- what cannot be refused ---- */

static size_t op_bytes(const struct store_op *op)
{
	size_t bytes = 0;
	for (; op; op = op->also) {
		bytes += sizeof(*op);
		for (size_t i = 0; i < op->arg_count; i++)
			bytes += op->args[i].bytes.n;
	}
	return bytes;
}

/* The number of what has happened stands in the context. */
static uintptr_t number_of(const struct store_op *op)
{
	return (uintptr_t)op->context;
}

/* Answers do not always come in the order asked: one that found no place in the store's queue is
 * refused at once. */
static void insert(struct store_op *op)
{
	struct post **at = &own.again;
	while (*at && number_of((struct store_op *)*at) < number_of(op))
		at = &(*at)->next;
	op->post.next = *at;
	*at = &op->post;
	own.again_bytes += op_bytes(op);
}

static void lose(struct store_op *op)
{
	metric_add(METRIC_HOOKS_LOST, 1);
	if (!own.lost)
		log_error("events for webhooks are lost: the store does not take them",
			LOG_INT("waiting_bytes", (int64_t)own.again_bytes));
	own.lost = true;
	store_op_free(&op);
}

static void told(struct store_op *op)
{
	if (op->err == ERR_OVERLOADED && own.stopped) {
		return; /* the next process says it */
	} else if (op->err == ERR_OVERLOADED) {
		op->keep = true;
		insert(op);
	} else if (op->err) {
		metric_add(METRIC_HOOKS_LOST, 1);
		log_error("an event is not kept", LOG_TEXT("why", err_info(op->err)->reason));
	}
}

static void tell(struct store_op *op)
{
	op->breaks = true;
	store_submit_parts(op, told, op->context, &own.stream);
}

void hook_tell(struct hooks *h)
{
	if (!h->first)
		return;
	h->first->mark = mark_of(h);
	struct store_op *op = take(h);
	op->context = (void *)(uintptr_t)++own.told;
	if (!own.again)
		tell(op);
	else if (own.again_bytes < OUTBOX_BEHIND_MAX)
		insert(op);
	else
		lose(op);
}

static void try_again(uv_timer_t *timer)
{
	(void)timer;
	struct post *p = own.again;
	own.again = NULL;
	own.again_bytes = 0;
	own.lost = false;
	atomic_store(&own.stream.broken, false);
	for (struct post *next; p; p = next) {
		next = p->next;
		tell((struct store_op *)p);
	}
}

static void answered(struct store_stream *s, const struct store_op *op)
{
	if (!op->err && op->mark) {
		metric_add(METRIC_HOOKS_WAITING, op->mark >> HOOKS_MAX);
		if (on_kept)
			on_kept(op->mark & ((1u << HOOKS_MAX) - 1));
	}
	if (!s->under_way && own.again && !own.stopped && !uv_is_active((uv_handle_t *)&own.timer))
		uv_timer_start(&own.timer, try_again, AGAIN_MS, 0);
}

/* ---- the worker's part ---- */

static enum err start(struct worker *w)
{
	own.stream.answered = answered;
	own.stopped = false;
	uv_timer_init(&w->loop, &own.timer);
	return ERR_OK;
}

/* A store that takes nothing is not waited for: what has ended is said by the next process then. */
static bool drained(struct worker *w)
{
	(void)w;
	return !own.stream.under_way;
}

static void stop(struct worker *w)
{
	(void)w;
	own.stopped = true;
	while (own.again) {
		struct store_op *op = (struct store_op *)own.again;
		own.again = own.again->next;
		store_op_free(&op);
	}
	uv_close((uv_handle_t *)&own.timer, NULL);
}

const struct worker_part outbox_part = {
	.name = "outbox", .start = start, .drained = drained, .stop = stop};
