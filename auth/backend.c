#include "auth/backend.h"

#include "auth/signed_request.h"
#include "core/clock.h"
#include "core/json_scan.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { QUESTION_MAX = 192 * 1024, ANSWER_MAX = 16 * 1024, LOG_EVERY_MS = 10000 };

struct backend_question {
	struct post post;
	struct fetch fetch;
	struct backend_question *next, **back; /* among those under way */
	struct buf body;
	struct json_out out;
	backend_done *done; /* NULL: cancelled */
	void *context;
	bool posted;
	char message[BACKEND_MESSAGE_MAX + 1], role[BACKEND_ROLE_MAX + 1];
};

unsigned backend_acts;
static struct backend_options options;

static _Thread_local struct {
	struct backend_question *asked;
	size_t count;
	unsigned failures; /* in a row */
	uint64_t rests_until, logged_ms;
	bool draining;
} own;

void backend_configure(const struct backend_options *o)
{
	options = *o;
	backend_acts = o->url.n ? o->acts : 0;
}

/* ---- its end ---- */

static void question_free(struct backend_question *q)
{
	if (q->back) {
		*q->back = q->next;
		if (q->next)
			q->next->back = q->back;
		own.count--;
	}
	buf_free(&q->body);
	free(q);
}

static void finish(struct backend_question *q, const struct backend_answer *answer)
{
	if (q->done)
		q->done(q->context, answer);
	question_free(q);
}

static struct backend_answer down(void)
{
	struct backend_answer a = {.err = ERR_OK};
	if (options.allow_when_down)
		return a;
	a.err = ERR_OVERLOADED;
	a.why = (struct refusal){.reason = "backend_unavailable",
		.message = "The backend that decides this does not answer; try again."};
	return a;
}

static void run_down(struct post *p)
{
	struct backend_question *q = (struct backend_question *)p;
	struct backend_answer a = down();
	metric_add(METRIC_BACKEND_DOWN, 1);
	finish(q, &a);
}

/* Not at once: whoever asks is not done with it yet. */
static void answer_down(struct backend_question *q)
{
	q->post.run = run_down;
	q->posted = true;
	worker_post(worker_self(), &q->post);
}

static void failed(struct backend_question *q, const char *why)
{
	uint64_t now = worker_now_ms();
	struct backend_answer a = down();
	metric_add(METRIC_BACKEND_DOWN, 1);
	if (++own.failures >= BACKEND_FAILURES)
		own.rests_until = now + BACKEND_REST_MS;
	if (!own.logged_ms || now - own.logged_ms >= LOG_EVERY_MS) {
		own.logged_ms = now;
		log_warn("the backend does not say who may do what", LOG_TEXT("why", why));
	}
	finish(q, &a);
}

/* ---- what it says ---- */

/* A string member, for people or a word; one that is too long or no string is as none. */
static struct str read_text(struct str body, const char *name, char *out, size_t max)
{
	struct str value;
	size_t n = 0;
	char *copy = NULL;
	if (!json_get(body, name, &value) || json_kind(value) != JSON_STRING)
		return STR("");
	copy = mem_copy(value);
	bool good = !json_decode((struct str){copy, value.n}, copy, &n) && n <= max &&
		!str_has_control((struct str){copy, n});
	if (good)
		memcpy(out, copy, n);
	free(copy);
	out[good ? n : 0] = '\0';
	return (struct str){out, good ? n : 0};
}

static bool read_answer(struct backend_question *q, struct str body, struct backend_answer *ret)
{
	struct str allow;
	if (json_check(body, NULL) || !json_get(body, "allow", &allow))
		return false;
	enum json_kind kind = json_kind(allow);
	if (kind != JSON_TRUE && kind != JSON_FALSE)
		return false;
	*ret = (struct backend_answer){.err = kind == JSON_TRUE ? ERR_OK : ERR_FORBIDDEN};
	if (!ret->err)
		ret->role = read_text(body, "role", q->role, BACKEND_ROLE_MAX);
	else
		ret->why = (struct refusal){.reason = "refused_by_backend",
			.message = read_text(body, "reason", q->message, BACKEND_MESSAGE_MAX).n
				? q->message
				: "The backend of this service does not allow it."};
	return true;
}

static void on_answer(struct fetch *f, enum err err, struct str body, const char *why)
{
	struct backend_question *q = (struct backend_question *)(void *)((char *)f -
		offsetof(struct backend_question, fetch));
	struct backend_answer a;
	if (err) {
		failed(q, why);
	} else if (!read_answer(q, body, &a)) {
		failed(q, "its answer has no \"allow\": true or false");
	} else {
		own.failures = 0;
		metric_add(a.err ? METRIC_BACKEND_REFUSED : METRIC_BACKEND_ALLOWED, 1);
		finish(q, &a);
	}
}

/* ---- asking ---- */

struct json_out *backend_begin(
	enum backend_act act, const struct principal *who, struct backend_question **ret_q)
{
	static const char *const words[] = {"connect", "join", "publish", "create"};
	struct backend_question *q = mem_new(struct backend_question);
	q->body = BUF_INIT(QUESTION_MAX);
	q->out = JSON_OUT(&q->body);
	json_open(&q->out, NULL, '{');
	json_text(&q->out, "type", words[act]);
	json_int(&q->out, "time", clock_unix_ms());
	json_str(&q->out, "user", who->user);
	json_str(&q->out, "name", who->name);
	*ret_q = q;
	return &q->out;
}

static void new_id(char out[SIGNED_ID_MAX])
{
	unsigned char random[16];
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort();
	int n = snprintf(out, SIGNED_ID_MAX, "ask_");
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(out + n, 3, "%02x", random[i]);
}

static enum err start_fetch(struct backend_question *q)
{
	struct signed_headers headers;
	char id[SIGNED_ID_MAX];
	new_id(id);
	sign_request(&headers, str_of(id), clock_unix_ms() / 1000, buf_str(&q->body),
		options.secret, options.previous_secret);
	q->fetch.done = on_answer;
	return fetch_start(&q->fetch,
		&(struct fetch_request){.url = options.url.p,
			.content_type = "application/json",
			.headers = headers.list,
			.body = buf_str(&q->body),
			.guarded = true,
			.networks = options.networks,
			.network_count = options.network_count,
			.bytes = ANSWER_MAX,
			.timeout_ms = options.timeout_ms});
}

void backend_ask(struct backend_question *q, backend_done *done, void *context)
{
	json_close(&q->out, '}');
	q->done = done;
	q->context = context;
	bool can = !own.draining && !q->body.err && options.url.n &&
		own.count < BACKEND_ASKED_MAX && worker_now_ms() >= own.rests_until;
	q->next = own.asked;
	q->back = &own.asked;
	if (q->next)
		q->next->back = &q->next;
	own.asked = q;
	own.count++;
	if (!can || start_fetch(q))
		answer_down(q);
}

bool backend_is_at_ease(void)
{
	return !own.draining && !own.failures && own.count < BACKEND_ASKED_MAX / 2;
}

void backend_cancel(struct backend_question **question)
{
	struct backend_question *q = *question;
	*question = NULL;
	if (!q)
		return;
	fetch_cancel(&q->fetch);
	q->done = NULL;
	if (!q->posted)
		question_free(q);
}

/* ---- the worker's part ---- */

static void drain(struct worker *w)
{
	(void)w;
	own.draining = true;
	for (struct backend_question *q = own.asked; q; q = q->next) {
		if (q->posted)
			continue;
		fetch_cancel(&q->fetch);
		answer_down(q);
	}
}

static void stop(struct worker *w)
{
	(void)w;
	while (own.asked) {
		fetch_cancel(&own.asked->fetch);
		question_free(own.asked);
	}
	own.draining = false;
}

const struct worker_part backend_part = {.name = "backend", .drain = drain, .stop = stop};
