#include "signaling/invocations.h"

#include "core/mem.h"
#include "core/metrics.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>

enum { TICK_MS = 100, LATE_S = TIMEOUT_MAX_S, CODE_MAX = INT32_MAX };

struct queue;

struct invocation {
	uint64_t number; /* the key of its map */
	struct backend *backend;
	struct invocation *next, **back; /* of the same backend */
	struct call *call;               /* NULL: answered, because it took too long */
	uint64_t until_ms;
	struct queue *queue; /* it stands in */
	struct invocation *later, **earlier;
};

/* Those that may take equally long end in the order they came. */
struct queue {
	struct invocation *first, **end;
};

static _Thread_local struct map invocations;
static _Thread_local struct queue queues[TIMEOUT_MAX_S + 1];
static _Thread_local uint64_t last_number;
static _Thread_local uv_timer_t ticker;

/* ---- the queues ---- */

static void wait_for(struct invocation *i, unsigned seconds)
{
	struct queue *q = &queues[seconds];
	if (!q->first)
		q->end = &q->first;
	i->queue = q;
	i->until_ms = worker_now_ms() + seconds * UINT64_C(1000);
	i->later = NULL;
	i->earlier = q->end;
	*q->end = i;
	q->end = &i->later;
}

static void wait_no_more(struct invocation *i)
{
	*i->earlier = i->later;
	if (i->later)
		i->later->earlier = i->earlier;
	else
		i->queue->end = i->earlier;
}

/* ---- life ---- */

static void settle(struct invocation *i)
{
	wait_no_more(i);
	*i->back = i->next;
	if (i->next)
		i->next->back = i->back;
	map_remove(&invocations, (struct str){(const char *)&i->number, sizeof(i->number)});
	atomic_fetch_sub(&i->backend->offer->load->under_way, 1);
	metric_add(METRIC_RPC_UNDER_WAY, -1);
	free(i);
	if (!invocations.count)
		uv_timer_stop(&ticker);
}

static void lose(struct invocation *i, const char *message)
{
	struct call *c = i->call;
	settle(i);
	if (!c)
		return;
	metric_add(METRIC_RPC_LOST, 1);
	call_refuse(c, ERR_TIMEOUT, .reason = "backend_lost", .message = message);
}

void invocations_lose(struct backend *b)
{
	while (b->first)
		lose(b->first,
			"The backend ended before it answered; it may have done what was asked.");
}

void invocations_drain(void)
{
	struct backend *b;
	for (size_t i = 0; (b = backends_next(&i));)
		while (b->first)
			lose(b->first,
				"The service restarts before the backend has answered, which may "
				"have done what was asked.");
}

static void run_out(struct invocation *i)
{
	struct call *c = i->call;
	if (!c) {
		settle(i);
		return;
	}
	i->call = NULL;
	wait_no_more(i);
	wait_for(i, LATE_S);
	metric_add(METRIC_RPC_TIMEOUTS, 1);
	call_refuse(c, ERR_TIMEOUT);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	uint64_t now = worker_now_ms();
	for (size_t k = 0; k <= TIMEOUT_MAX_S; k++)
		while (queues[k].first && queues[k].first->until_ms <= now)
			run_out(queues[k].first);
}

/* ---- asking ---- */

static void invoke(const struct invocation *i, struct str method, struct str params)
{
	char id[INVOCATION_ID_MAX];
	const struct principal *who = i->call->who;
	struct event e;
	int n = snprintf(id, sizeof(id), "%d.%" PRIx64, worker_self()->index, i->number);
	request_begin(&e, (struct str){id, (size_t)n}, "rpc.invoke");
	json_str(&e.params, "method", method);
	json_raw(&e.params, "params", params);
	json_open(&e.params, "caller", '{');
	json_str(&e.params, "user", who->user);
	json_str(&e.params, "name", who->name);
	scopes_write(&e.params, who->scopes);
	json_close(&e.params, '}');
	addr_send(i->backend->addr, event_take(&e));
}

void invocation_begin(
	struct backend *b, struct call *c, struct str method, struct str params, unsigned timeout_s)
{
	struct invocation *i = mem_new(struct invocation);
	i->number = ++last_number;
	i->backend = b;
	i->call = c;
	i->back = &b->first;
	i->next = b->first;
	if (i->next)
		i->next->back = &i->next;
	b->first = i;
	if (!invocations.count)
		uv_timer_start(&ticker, on_tick, TICK_MS, TICK_MS);
	map_put(&invocations, (struct str){(const char *)&i->number, sizeof(i->number)}, i);
	wait_for(i, timeout_s);
	atomic_fetch_add(&b->offer->load->under_way, 1);
	atomic_fetch_add(&b->offer->load->owed, 1);
	metric_add(METRIC_RPC_UNDER_WAY, 1);
	metric_add(METRIC_RPC_CALLS, 1);
	invoke(i, method, params);
}

/* ---- answers ---- */

struct worker *invocation_home(struct str id, uint64_t *ret_number)
{
	char text[INVOCATION_ID_MAX];
	if (id.n < 2 || *id.p != '"' || id.n - 2 >= sizeof(text))
		return NULL;
	memcpy(text, id.p + 1, id.n - 2);
	text[id.n - 2] = 0;
	char *dot = NULL, *end = NULL;
	unsigned long worker = strtoul(text, &dot, 10);
	if (dot == text || *dot != '.' || worker >= (unsigned)workers_count())
		return NULL;
	*ret_number = strtoull(dot + 1, &end, 16);
	return *end || end == dot + 1 ? NULL : worker_at((int)worker);
}

/* Passes an error on; false: it is none as JSON-RPC has it. */
static bool pass_on(struct call *c, struct str error)
{
	struct str code = {0}, message = {0}, data = {0};
	int64_t number = 0;
	if (!json_get(error, "code", &code) || json_kind(code) != JSON_NUMBER ||
		json_decode_int(code, &number) || number > CODE_MAX || number < -CODE_MAX)
		return false;
	if (!json_get(error, "message", &message) || json_kind(message) != JSON_STRING)
		return false;
	json_get(error, "data", &data);
	call_fail_as(c, number, message, data);
	return true;
}

static void deliver(struct call *c, const struct reply *reply)
{
	bool failed = reply->error.n && json_kind(reply->error) != JSON_NULL;
	if (reply->result.n && !failed) {
		json_raw(call_result(c), NULL, reply->result);
		call_reply(c);
	} else if (reply->result.n || !pass_on(c, reply->error)) {
		call_refuse(c, ERR_INTERNAL, .reason = "bad_answer",
			.message = "What the backend answered is no answer of JSON-RPC.");
	}
}

bool invocation_end(uint64_t number, struct addr from, const struct reply *reply)
{
	struct invocation *i =
		map_get(&invocations, (struct str){(const char *)&number, sizeof(number)});
	if (!i || !addr_eq(i->backend->addr, from))
		return false;
	struct call *c = i->call;
	settle(i);
	if (c)
		deliver(c, reply);
	return true;
}

/* ---- the worker ---- */

/* Numbers begin somewhere else in each process: an answer to what the one before has asked is to
 * nothing here. */
void invocations_start(struct worker *w)
{
	if (RAND_bytes((unsigned char *)&last_number, sizeof(last_number)) != 1)
		abort();
	uv_timer_init(&w->loop, &ticker);
}

void invocations_stop(void)
{
	struct invocation *i;
	for (size_t at = 0; (i = map_next(&invocations, &at)); at = 0) {
		call_free(&i->call);
		settle(i);
	}
	map_free(&invocations);
	uv_close((uv_handle_t *)&ticker, NULL);
}
