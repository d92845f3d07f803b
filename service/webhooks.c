#include "service/webhooks.h"

#include "auth/backend.h"
#include "auth/signed_request.h"
#include "core/clock.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/webhook_lanes.h"
#include "store/outbox.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdatomic.h>

enum {
	SENDING_MAX = 16,
	PAGE = 100,
	ANSWER_MAX = 64 * 1024, /* is passed over */
	BODY_MAX = HOOK_DATA_MAX + 8 * 1024,
	STORE_AGAIN_MS = 1000,
	GRACE_MS = 300, /* at the end, for what is on its way */
	EXPIRE_EVERY_MS = 30000,
	EXPIRE_AT_ONCE = 1000,
	EXPIRE_MORE_MS = 50,
	SETTINGS_MAX = 64 * 1024,
};

/* ---- what is configured ---- */

struct setting {
	char *name, *url, *secret, *previous;
	long timeout_ms;
};

struct settings {
	struct buf text; /* all of it as one text, to see a change */
	struct setting list[HOOKS_MAX];
	size_t count;
	struct network networks[64];
	size_t network_count;
	uint64_t first_ms, last_ms;
};

/* Requests under way may point into the ones before: the next change finds them ended. */
static struct settings *in_force, *before;
static int64_t keep_ms;

static void settings_free(struct settings **settings)
{
	struct settings *s = *settings;
	*settings = NULL;
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		free(s->list[i].name);
		free(s->list[i].url);
		free(s->list[i].secret);
		free(s->list[i].previous);
	}
	buf_free(&s->text);
	free(s);
}

static uint32_t events_of(const struct config_list *globs)
{
	uint32_t events = 0;
	for (int e = 0; e < HOOK_EVENT_COUNT; e++)
		for (size_t i = 0; i < globs->count; i++)
			if (str_glob(
				    str_of(globs->items[i]), str_of(hook_type((enum hook_event)e))))
				events |= UINT32_C(1) << e;
	return events;
}

/* The backend that is asked has its networks from here, too. */
static void configure_backend(const struct config *c, const struct settings *s)
{
	static const char *const words[] = {"connect", "join", "publish", "create"};
	unsigned acts = 0;
	for (size_t i = 0; i < c->authorize.on.count; i++)
		for (unsigned act = 0; act < sizeof(words) / sizeof(*words); act++)
			if (str_is(str_of(c->authorize.on.items[i]), words[act]))
				acts |= 1u << act;
	backend_configure(&(struct backend_options){.url = str_of(c->authorize.url),
		.secret = str_of(c->authorize.secret),
		.previous_secret = str_of(c->authorize.previous_secret),
		.acts = acts,
		.timeout_ms = (long)c->authorize.timeout,
		.allow_when_down = c->authorize.when_down == 1,
		.networks = s->networks,
		.network_count = s->network_count});
}

static void add_setting(struct settings *s, const struct config_webhook *w)
{
	struct setting *one = &s->list[s->count++];
	one->name = mem_copy(str_of(*w->name ? w->name : w->url));
	one->url = mem_copy(str_of(w->url));
	one->secret = mem_copy(str_of(w->secret));
	one->previous = mem_copy(str_of(w->previous_secret));
	one->timeout_ms = (long)w->timeout;
	buf_addf(&s->text, "%s %s %s %s %ld\n", one->name, one->url, one->secret, one->previous,
		one->timeout_ms);
}

static struct settings *settings_new(const struct config *c)
{
	struct settings *s = mem_new(struct settings);
	s->text = BUF_INIT(SETTINGS_MAX);
	s->first_ms = (uint64_t)c->hooks.first_retry;
	s->last_ms = (uint64_t)c->hooks.last_retry;
	buf_addf(&s->text, "%lld %lld\n", (long long)c->hooks.first_retry,
		(long long)c->hooks.last_retry);
	for (size_t i = 0; i < c->webhooks.count; i++)
		add_setting(s, &c->webhooks.items[i]);
	for (size_t i = 0; i < c->hooks.private_addresses.count; i++) {
		bool exact;
		struct str text = str_of(c->hooks.private_addresses.items[i]);
		if (network_read(text, &s->networks[s->network_count], &exact))
			s->network_count++;
		buf_addf(&s->text, STR_FMT "\n", STR_ARG(text));
	}
	return s;
}

static void take_settings(struct post *p);

static void tell_workers(void)
{
	for (int i = 0; i < workers_count(); i++) { /* none before they start */
		struct post *p = mem_new(struct post);
		p->run = take_settings;
		worker_post(worker_at(i), p);
	}
}

static void webhooks_poke(unsigned webhooks);

void webhooks_configure(const struct config *c)
{
	struct hook_receiver receivers[HOOKS_MAX];
	struct settings *s = settings_new(c);
	for (size_t i = 0; i < s->count; i++)
		receivers[i] = (struct hook_receiver){
			str_of(s->list[i].name), events_of(&c->webhooks.items[i].events)};
	outbox_configure(receivers, s->count);
	outbox_on_kept(webhooks_poke);
	keep_ms = c->hooks.keep;
	if (in_force && str_eq(buf_str(&in_force->text), buf_str(&s->text))) {
		settings_free(&s);
	} else {
		settings_free(&before);
		before = in_force;
		in_force = s;
		tell_workers();
	}
	configure_backend(c, in_force);
}

void webhooks_finish(void)
{
	settings_free(&before);
	settings_free(&in_force);
	outbox_configure(NULL, 0);
}

/* ---- a webhook at its home ---- */

struct hook {
	const struct setting *setting;
	struct lanes lanes;
	bool asking; /* the store, for the next of all */
	bool poked;  /* there may be more behind the cursor */
	int64_t page;
	size_t under_way; /* questions to the store */
	bool over;        /* freed when these are answered */
	bool told_down;
	struct sending *sending;
};

struct sending {
	struct fetch fetch;
	struct hook *hook;
	struct lane_event *event;
	struct sending *next, **back;
};

static _Thread_local struct hook *mine[HOOKS_MAX]; /* those that live here */
static _Thread_local uv_timer_t again, expirer;
static _Thread_local struct post *undeleted; /* operations that the store did not take */
static _Thread_local bool begun, draining, cut;
static _Thread_local int64_t given_up; /* events, and not said yet */
static atomic_bool poked[HOOKS_MAX];   /* a post is on its way to the home */

static struct worker *home_of(size_t i)
{
	return worker_at((int)(i % (size_t)workers_count()));
}

static void free_if_over(struct hook *h)
{
	if (!h->over || h->under_way)
		return;
	lanes_free(&h->lanes);
	free(h);
}

static void end_sending(struct sending *s)
{
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
	free(s);
}

static void hook_end_all(struct hook *h)
{
	while (h->sending) {
		fetch_cancel(&h->sending->fetch);
		end_sending(h->sending);
	}
	h->over = true;
	free_if_over(h);
}

static void pump(struct hook *h);
static void on_again(uv_timer_t *timer);

/* At the moment when the first that waits may be tried again; sooner is no harm. */
static void wake_at(uint64_t due_ms)
{
	uint64_t now = worker_now_ms(), in = due_ms > now ? due_ms - now : 0;
	if (due_ms == UINT64_MAX || draining)
		return;
	if (uv_is_active((uv_handle_t *)&again) && uv_timer_get_due_in(&again) <= in)
		return;
	uv_timer_start(&again, on_again, in, 0);
}

/* ---- from the store ---- */

static struct lane_row row_of(const struct store_op *op, size_t row)
{
	return (struct lane_row){.sequence = store_int(op, row, 0),
		.id = store_str(op, row, 1),
		.type = store_str(op, row, 2),
		.key = store_str(op, row, 3),
		.time = store_int(op, row, 4),
		.data = store_str(op, row, 5)};
}

/* What is common to both questions: false, nothing more is to be done with the answer. */
static bool came_back(struct hook *h, const struct store_op *op)
{
	h->under_way--;
	if (h->over) {
		free_if_over(h);
		return false;
	}
	if (op->err == ERR_TOO_LARGE && h->page > 1)
		h->page /= 2;
	else if (op->err)
		wake_at(worker_now_ms() + STORE_AGAIN_MS);
	else if (h->page < PAGE)
		h->page++;
	return true;
}

static void have_next(struct store_op *op)
{
	struct hook *h = op->context;
	if (!came_back(h, op))
		return;
	h->asking = false;
	for (size_t i = 0; i < op->rows; i++) {
		struct lane_row row = row_of(op, i);
		lanes_put(&h->lanes, &row, false);
	}
	lanes_put_end(&h->lanes);
	bool whole = (int64_t)op->rows == op->args[2].number;
	h->poked |= op->err || whole;
	if (!op->err || op->err == ERR_TOO_LARGE)
		pump(h);
}

static void have_next_of_key(struct store_op *op)
{
	struct hook *h = op->context;
	if (!came_back(h, op))
		return;
	for (size_t i = 0; i < op->rows; i++) {
		struct lane_row row = row_of(op, i);
		lanes_put(&h->lanes, &row, true);
	}
	lanes_asked(
		&h->lanes, op->args[1].bytes, op->err || (int64_t)op->rows == op->args[3].number);
	if (!op->err || op->err == ERR_TOO_LARGE)
		pump(h);
}

static void ask_store(struct hook *h)
{
	struct str name = str_of(h->setting->name);
	if (h->poked && !h->asking && !lanes_full(&h->lanes)) {
		h->asking = true;
		h->poked = false;
		h->under_way++;
		store_ask(STORE_OUTBOX_NEXT, have_next, h, STORE_TEXT(name),
			STORE_INT(h->lanes.cursor), STORE_INT(h->page), STORE_END);
	}
	struct lane *lane = lanes_lacking(&h->lanes);
	for (; lane; lane = lanes_lacking(&h->lanes)) {
		int64_t count = h->page < LANE_HELD_MAX ? h->page : LANE_HELD_MAX;
		h->under_way++;
		store_ask(STORE_OUTBOX_NEXT_OF_KEY, have_next_of_key, h, STORE_TEXT(name),
			STORE_TEXT(lane->key), STORE_INT(lane->top), STORE_INT(count), STORE_END);
	}
}

/* ---- taken, or not ---- */

/* A row that stays is sent again after a restart; but the store is asked as long as there is none. */
static void deleted(struct store_op *op)
{
	metric_add(METRIC_HOOKS_WAITING, -(int64_t)op->rows);
	if (op->err != ERR_OVERLOADED || cut)
		return;
	op->keep = true;
	op->post.next = undeleted;
	undeleted = &op->post;
	wake_at(worker_now_ms() + STORE_AGAIN_MS);
}

static void delete_again(void)
{
	struct post *p = undeleted;
	undeleted = NULL;
	for (struct post *next; p; p = next) {
		next = p->next;
		store_submit_parts((struct store_op *)p, deleted, NULL, NULL);
	}
}

static void say_down(struct hook *h, const char *why)
{
	if (lanes_down(&h->lanes) == h->told_down)
		return;
	h->told_down = !h->told_down;
	metric_add(METRIC_HOOKS_DOWN, h->told_down ? 1 : -1);
	if (h->told_down)
		log_warn("a webhook does not take events", LOG_TEXT("webhook", h->setting->name),
			LOG_TEXT("why", why));
	else
		log_info("a webhook takes events again", LOG_TEXT("webhook", h->setting->name));
}

static void on_sent(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct sending *s = (struct sending *)(void *)((char *)f - offsetof(struct sending, fetch));
	struct hook *h = s->hook;
	struct lane_event *e = s->event;
	(void)body;
	end_sending(s);
	if (err) {
		unsigned char random[2];
		if (RAND_bytes(random, sizeof(random)) != 1)
			abort();
		metric_add(METRIC_HOOKS_REFUSED, 1);
		lanes_refused(
			&h->lanes, e, worker_now_ms(), (unsigned)(random[0] << 8 | random[1]));
	} else {
		metric_add(METRIC_HOOKS_DELIVERED, 1);
		store_ask(STORE_OUTBOX_DONE, deleted, NULL, STORE_INT(e->sequence), STORE_END);
		lanes_taken(&h->lanes, e);
		free(e);
	}
	say_down(h, why);
	if (!draining)
		pump(h);
}

/* ---- sending ---- */

static void write_body(struct buf *b, const struct lane_event *e)
{
	struct json_out o = JSON_OUT(b);
	json_open(&o, NULL, '{');
	json_str(&o, "id", e->id);
	json_str(&o, "type", e->type);
	json_int(&o, "time", e->time);
	json_str(&o, "key", e->lane->key);
	json_int(&o, "sequence", e->sequence);
	json_raw(&o, "data", e->data);
	json_close(&o, '}');
}

static void send_event(struct hook *h, struct lane_event *e)
{
	const struct setting *to = h->setting;
	struct sending *s = mem_new(struct sending);
	struct signed_headers headers;
	struct buf body = BUF_INIT(BODY_MAX);
	*s = (struct sending){
		.fetch = {.done = on_sent}, .hook = h, .event = e, .next = h->sending};
	s->back = &h->sending;
	if (s->next)
		s->next->back = &s->next;
	h->sending = s;
	write_body(&body, e);
	sign_request(&headers, e->id, clock_unix_ms() / 1000, buf_str(&body), str_of(to->secret),
		str_of(to->previous));
	enum err err = fetch_start(&s->fetch,
		&(struct fetch_request){.url = to->url,
			.content_type = "application/json",
			.headers = headers.list,
			.body = buf_str(&body),
			.status_only = true,
			.guarded = true,
			.networks = in_force->networks,
			.network_count = in_force->network_count,
			.bytes = ANSWER_MAX,
			.timeout_ms = to->timeout_ms});
	buf_free(&body);
	if (err) /* it was looked at when it was configured */
		on_sent(&s->fetch, err, STR(""), "the address may not be asked");
}

static void pump(struct hook *h)
{
	struct lane_event *e;
	if (draining)
		return;
	ask_store(h);
	while (h->lanes.sending < SENDING_MAX && (e = lanes_take(&h->lanes, worker_now_ms())))
		send_event(h, e);
	ask_store(h);
	if (h->lanes.sending < SENDING_MAX)
		wake_at(lanes_due(&h->lanes));
}

static void on_again(uv_timer_t *timer)
{
	(void)timer;
	delete_again();
	for (size_t i = 0; i < HOOKS_MAX; i++)
		if (mine[i])
			pump(mine[i]);
}

/* ---- more has been written ---- */

struct poke {
	struct post post;
	size_t index;
};

static void run_poke(struct post *p)
{
	struct poke *poke = (struct poke *)p;
	size_t i = poke->index;
	free(poke);
	atomic_store(&poked[i], false);
	if (!mine[i])
		return;
	mine[i]->poked = true;
	pump(mine[i]);
}

static void webhooks_poke(unsigned webhooks)
{
	for (size_t i = 0; i < HOOKS_MAX; i++) {
		if (!(webhooks >> i & 1) || atomic_exchange(&poked[i], true))
			continue;
		struct poke *poke = mem_new(struct poke);
		*poke = (struct poke){.post = {.run = run_poke}, .index = i};
		worker_post(home_of(i), &poke->post);
	}
}

/* ---- the worker's part ---- */

static void end_all(void)
{
	for (size_t i = 0; i < HOOKS_MAX; i++) {
		if (mine[i] && mine[i]->told_down)
			metric_add(METRIC_HOOKS_DOWN, -1);
		if (mine[i])
			hook_end_all(mine[i]);
		mine[i] = NULL;
	}
}

static void begin_all(void)
{
	for (size_t i = 0; i < in_force->count; i++) {
		if (home_of(i) != worker_self())
			continue;
		struct hook *h = mem_new(struct hook);
		h->setting = &in_force->list[i];
		h->page = PAGE;
		h->poked = true;
		lanes_init(&h->lanes, in_force->first_ms, in_force->last_ms);
		mine[i] = h;
		pump(h);
	}
}

static void take_settings(struct post *p)
{
	free(p);
	if (draining || !begun)
		return;
	end_all();
	begin_all();
}

void webhooks_begin(void)
{
	begun = true;
	begin_all();
}

static void on_expire(uv_timer_t *timer);

/* As many as that may be followed by more: those come at once, else more could come in than go. */
static void expired(struct store_op *op)
{
	metric_add(METRIC_HOOKS_WAITING, -(int64_t)op->rows);
	metric_add(METRIC_HOOKS_EXPIRED, (int64_t)op->rows);
	given_up += (int64_t)op->rows;
	if (op->rows == EXPIRE_AT_ONCE && !draining) {
		uv_timer_start(&expirer, on_expire, EXPIRE_MORE_MS, 0);
		return;
	}
	if (given_up)
		log_warn("events for webhooks were given up: they have waited too long",
			LOG_INT("events", given_up));
	given_up = 0;
}

static void on_expire(uv_timer_t *timer)
{
	uint64_t every = (uint64_t)keep_ms / 4;
	uv_timer_start(timer, on_expire, every < EXPIRE_EVERY_MS ? every : EXPIRE_EVERY_MS, 0);
	if (begun)
		store_ask(STORE_OUTBOX_EXPIRE, expired, NULL, STORE_INT(clock_unix_ms() - keep_ms),
			STORE_INT(EXPIRE_AT_ONCE), STORE_END);
}

static enum err start(struct worker *w)
{
	uv_timer_init(&w->loop, &again);
	uv_timer_init(&w->loop, &expirer);
	if (w->index == 0)
		uv_timer_start(&expirer, on_expire, 0, 0);
	return ERR_OK;
}

static void on_grace_over(uv_timer_t *timer)
{
	(void)timer;
	cut = true;
	end_all();
}

/* What is on its way has a moment to arrive; what has not then is sent again by the next process. */
static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	uv_timer_stop(&expirer);
	uv_timer_start(&again, on_grace_over, GRACE_MS, 0);
}

static bool drained(struct worker *w)
{
	(void)w;
	for (size_t i = 0; i < HOOKS_MAX; i++)
		if (mine[i] && mine[i]->sending)
			return false;
	return true;
}

static void stop(struct worker *w)
{
	(void)w;
	cut = true;
	end_all();
	begun = false;
	while (undeleted) {
		struct store_op *op = (struct store_op *)undeleted;
		undeleted = undeleted->next;
		store_op_free(&op);
	}
	uv_close((uv_handle_t *)&again, NULL);
	uv_close((uv_handle_t *)&expirer, NULL);
}

const struct worker_part webhooks_part = {
	.name = "webhooks", .start = start, .drain = drain, .drained = drained, .stop = stop};
