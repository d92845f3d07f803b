#include "service/dispatch.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"
#include "service/audited.h"
#include "service/methods.h"
#include "signaling/rpc.h"

#include <assert.h>
#include <stdio.h>

enum { ID_MAX_BYTES = 128 };

static struct dispatch_limits limits = {.batch = 100, .in_flight = 256};

void dispatch_configure(const struct dispatch_limits *l)
{
	limits = *l;
}

/* A message of several requests of which answers are outstanding. Answers stand in the order in which they came:
 * JSON-RPC leaves it open. */
struct batch {
	struct batch *next, **back;
	struct answer *answers;
	size_t count, room, pending;
	bool whole; /* it is answered by an array */
	bool holding;
};

/* ---- envelopes ---- */

static bool id_is_valid(struct str id)
{
	int64_t n;
	if (id.n > ID_MAX_BYTES)
		return false;
	enum json_kind kind = json_kind(id);
	return kind == JSON_STRING || (kind == JSON_NUMBER && !json_decode_int(id, &n));
}

static struct str unquoted(struct str value)
{
	return (struct str){value.p + 1, value.n - 2};
}

/* Notes one member. False: it was there before. */
static bool note(struct envelope *e, struct str key, struct str value, struct str *version)
{
	static const char *const names[] = {"jsonrpc", "id", "method", "params", "result", "error"};
	struct str *const places[] = {
		version, &e->id, &e->method, &e->params, &e->result, &e->error};
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!json_string_is(key, names[i]))
			continue;
		if (places[i]->n)
			return false;
		*places[i] = value;
		e->response |= i >= 4;
		return true;
	}
	return true; /* JSON-RPC leaves other members open */
}

struct envelope envelope_read(struct str object, const struct json_outline *outline)
{
	struct envelope e = {.err = ERR_REQUEST};
	struct str version = {0}, key, value;
	if (json_kind(object) != JSON_OBJECT) {
		e.why = "A request is an object.";
		return e;
	}
	bool known = outline && outline->count;
	struct json_walk w = known ? json_walk_outline(outline) : json_walk(object);
	while (json_next(&w, &key, &value)) {
		if (!note(&e, key, value, &version)) {
			e.id = (struct str){0};
			e.why = "A member of the request is there twice.";
			return e;
		}
		if (e.params.p == value.p)
			e.walk = known ? json_walk_inside(&w) : json_walk(value);
	}
	bool answers =
		e.response && !e.method.n; /* to a request of ours; one with id null is to noise */
	if (e.id.n && !answers && !id_is_valid(e.id)) {
		e.id = (struct str){0};
		e.why = "The id must be a string of at most 126 bytes or a whole number.";
	} else if (!version.n || json_kind(version) != JSON_STRING ||
		!json_string_is(unquoted(version), "2.0")) {
		e.why = "The member \"jsonrpc\" must be \"2.0\".";
	} else if (answers) {
		e.err = ERR_OK;
	} else if (!e.method.n || json_kind(e.method) != JSON_STRING) {
		e.why = "The member \"method\" must be a string.";
	} else {
		e.method = unquoted(e.method);
		e.response = false;
		e.err = ERR_OK;
	}
	return e;
}

struct frame *error_frame(struct str id, enum err err, const struct refusal *why)
{
	struct buf b = frame_buf();
	struct json_out o = JSON_OUT(&b);
	call_error_text(&o, id, err, why);
	struct frame *f = frame_take(&b);
	assert(f);
	return f;
}

struct frame *frames_join(const struct answer *list, size_t count)
{
	struct buf b = frame_buf();
	for (size_t i = 0; i < count; i++) {
		buf_addc(&b, i ? ',' : '[');
		buf_adds(&b, frame_str(list[i].frame));
	}
	buf_addc(&b, ']');
	return frame_take(&b);
}

/* ---- answers ---- */

static void batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		frame_unref(&batch->answers[i].frame);
	*batch->back = batch->next;
	if (batch->next)
		batch->next->back = batch->back;
	free(batch->answers);
	free(batch);
}

static struct batch *batch_new(struct caller *c, bool whole)
{
	struct batch *batch = mem_new(struct batch);
	batch->whole = whole;
	batch->back = &c->batches;
	batch->next = c->batches;
	if (batch->next)
		batch->next->back = &batch->next;
	c->batches = batch;
	batch->pending = 1; /* until the whole message has been read */
	return batch;
}

static void batch_add(struct batch *batch, struct answer answer)
{
	if (batch->count == batch->room) {
		batch->room = batch->room ? batch->room * 2 : 1;
		batch->answers = mem_resize(batch->answers, batch->room, sizeof(*batch->answers));
	}
	batch->answers[batch->count++] = answer;
}

static void batch_settle(struct caller *c, struct batch *batch)
{
	if (--batch->pending)
		return;
	if (batch->holding)
		c->holding--;
	struct answer *list = batch->answers;
	size_t count = batch->count;
	bool whole = batch->whole;
	batch->answers = NULL;
	batch->count = 0;
	batch_free(batch);
	c->ops->answers(c, list, count, whole);
	free(list);
}

/* One answer, or none (frame NULL), to a request of the batch; batch NULL: to one that came alone. That
 * was the last of the message, and of it all that is to be done with the caller. */
static void put(struct caller *c, struct batch *batch, struct answer answer)
{
	if (!batch)
		c->ops->answers(c, &answer, answer.frame != NULL, false);
	else if (answer.frame)
		batch_add(batch, answer);
}

static unsigned waits(const struct method *m)
{
	return m->flags & METHOD_WAITS ? 1 : 0;
}

static void on_answer(struct endpoint *e, struct call *call)
{
	struct caller *c = (struct caller *)e;
	struct batch *batch = (struct batch *)(uintptr_t)call->tag; /* NULL: it came alone */
	struct answer answer = {.frame = call->answer,
		.counted = !(call->method->flags & METHOD_UNCOUNTED),
		.patient = call->method->flags & METHOD_RECEIPT && !call->outcome};
	c->in_flight--;
	c->waiting -= waits(call->method);
	metric_add(METRIC_CALLS, 1);
	if (call->outcome)
		metric_add(METRIC_CALLS_REFUSED, 1);
	call->answer = NULL;
	if (call->method->flags & METHOD_BARRIER && batch && batch->pending > 1 &&
		!batch->holding) {
		batch->holding = true;
		c->holding++;
	}
	audited(call,
		(struct audited_by){.operator= !c->ops->address,
			.address = c->ops->address ? c->ops->address(c) : STR("")});
	call_free(&call);
	put(c, batch, answer);
	if (batch)
		batch_settle(c, batch);
}

static void on_event(struct endpoint *e, struct frame *f)
{
	struct caller *c = (struct caller *)e;
	c->ops->event(c, f);
}

static void on_overflow(struct endpoint *e)
{
	struct caller *c = (struct caller *)e;
	if (c->ops->overflow)
		c->ops->overflow(c);
}

static void on_asked(struct endpoint *e, struct receipt *r)
{
	struct caller *c = (struct caller *)e;
	if (c->ops->asked)
		c->ops->asked(c, r);
	else
		receipt_answer(r, false);
}

static const struct endpoint_ops endpoint_ops = {
	.event = on_event, .answer = on_answer, .overflow = on_overflow, .asked = on_asked};

void caller_begin(struct caller *c, const struct caller_ops *ops, struct principal *who)
{
	c->ops = ops;
	c->who = principal_ref(who);
	addr_register(&c->endpoint, &endpoint_ops);
}

void caller_end(struct caller *c, bool clean)
{
	addr_release(&c->endpoint, clean);
	while (c->batches)
		batch_free(c->batches);
	c->holding = 0;
	principal_unref(&c->who);
}

/* ---- requests ---- */

static void refuse(struct caller *c, struct batch *batch, struct str id, enum err err, bool counted,
	const struct refusal *why)
{
	metric_add(METRIC_CALLS_REFUSED, 1);
	put(c, batch, (struct answer){error_frame(id, err, why), counted, false});
}

static enum err admit(const struct caller *c, const struct method *m, struct refusal *ret_why)
{
	if ((m->flags & METHOD_SESSION) && !c->is_session) {
		ret_why->message = "This method needs a session: open one on /ws or /v1/events.";
		return ERR_REQUEST;
	}
	if ((m->scope & c->who->scopes) != m->scope) {
		ret_why->reason = "insufficient_scope";
		ret_why->message = "The token lacks the scope that this method needs.";
		ret_why->field = str_of(scope_word((enum scope)m->scope));
		return ERR_FORBIDDEN;
	}
	if (c->in_flight >= limits.in_flight && !(c->pace && pace_take_resent(c->pace))) {
		*ret_why = (struct refusal){.reason = "too_many_in_flight",
			.retry_after = 1,
			.limit = limits.in_flight};
		return ERR_RATE_LIMITED;
	}
	return ERR_OK;
}

static void start_call(
	struct caller *c, struct batch *batch, const struct method *m, const struct envelope *e)
{
	bool counted = !(m->flags & METHOD_UNCOUNTED);
	struct refusal why = {0};
	enum err err = admit(c, m, &why);
	struct call *call = NULL;
	struct params_problem problem = {0};
	char message[128];
	if (!err) {
		err = call_new_walk(m, c->who, e->id, e->params, e->walk, &call, &problem);
		if (err) {
			snprintf(message, sizeof(message), "The parameter %s.", problem.message);
			why = (struct refusal){
				.message = message, .field = problem.field, .limit = problem.limit};
		}
	}
	if (err) {
		if (e->id.n)
			refuse(c, batch, e->id, err, counted, &why);
		else
			put(c, batch, (struct answer){0});
		return;
	}
	call->tag = (uintptr_t)batch;
	if (batch)
		batch->pending++;
	c->in_flight++;
	c->waiting += waits(m);
	call_send(call, &c->endpoint);
}

/* What is refused whatever the time is counted all the same. */
static void count_noise(struct caller *c)
{
	struct refusal none;
	if (c->pace)
		pace_take(c->pace, (int64_t)worker_now_ms(), METHOD_ALWAYS, &none);
}

/* One message of a caller that may ask only so often. False: it came too soon and is refused. */
static bool in_time(struct caller *c, struct batch *batch, const struct envelope *e, unsigned flags)
{
	struct refusal why = {0};
	enum err err = c->pace ? pace_take(c->pace, (int64_t)worker_now_ms(), flags, &why) : ERR_OK;
	if (err && e->id.n) {
		refuse(c, batch, e->id, err, !(flags & METHOD_UNCOUNTED), &why);
	} else if (err) {
		metric_add(METRIC_NOTIFICATIONS_DROPPED, 1);
		put(c, batch, (struct answer){0});
	}
	return !err;
}

/* A reply: it is heard if the caller was asked. False: it comes under the pace, as noise does. */
static bool answers(const struct caller *c, const struct envelope *e)
{
	const struct reply reply = {e->result, e->error};
	return c->is_session && rpc_replied(c->endpoint.addr, e->id, &reply);
}

/* One request, response or notification. Returns 1 when it counts and is not skipped. */
static unsigned one(struct caller *c, struct batch *batch, struct str object,
	const struct json_outline *outline, uint64_t *skip)
{
	struct envelope e = envelope_read(object, outline);
	bool asks = !e.err && !e.response;
	const struct method *m = asks ? method_find(e.method) : NULL;
	unsigned flags = m ? m->flags : asks ? 0 : METHOD_ALWAYS;
	unsigned counts = flags & METHOD_UNCOUNTED ? 0 : 1;
	bool skipped = *skip != 0;
	if (skipped)
		*skip -= counts;
	if (skipped || (!e.err && e.response && answers(c, &e)))
		put(c, batch, (struct answer){0});
	else if (!in_time(c, batch, &e, flags))
		return counts;
	else if (e.err)
		refuse(c, batch, e.id, e.err, true, &(struct refusal){.message = e.why});
	else if (m)
		start_call(c, batch, m, &e);
	else if (asks && e.id.n)
		refuse(c, batch, e.id, ERR_METHOD, true, &(struct refusal){.field = e.method});
	else /* a response that was not asked for is nothing */
		put(c, batch, (struct answer){0});
	return skipped ? 0 : counts;
}

static unsigned elements(struct str array)
{
	unsigned count = 0;
	struct str key, item;
	for (struct json_walk w = json_walk(array); json_next(&w, &key, &item);)
		count++;
	return count;
}

/* How many of them count. */
static unsigned counted_elements(struct str array)
{
	unsigned counted = 0;
	struct str key, item;
	for (struct json_walk w = json_walk(array); json_next(&w, &key, &item);) {
		struct envelope e = envelope_read(item, NULL);
		const struct method *m = e.err || e.response ? NULL : method_find(e.method);
		counted += m && m->flags & METHOD_UNCOUNTED ? 0 : 1;
	}
	return counted;
}

static unsigned many(struct caller *c, struct str array, uint64_t skip)
{
	unsigned count = elements(array);
	bool whole = count > 0 && count <= limits.batch; /* else it is refused as one */
	unsigned counted = whole || !count ? 0 : counted_elements(array);
	struct batch *batch = batch_new(c, whole);
	if (!whole)
		count_noise(c);
	if (!whole && skip && skip >= counted) {
		counted = 0; /* it was refused before */
	} else if (!count) {
		refuse(c, batch, (struct str){0}, ERR_REQUEST, true,
			&(struct refusal){.message = "A batch must not be empty."});
		counted = 1;
	} else if (count > limits.batch) {
		refuse(c, batch, (struct str){0}, ERR_TOO_LARGE, true,
			&(struct refusal){.reason = "batch_too_large",
				.limit = (int64_t)limits.batch,
				.message = "The batch holds too many requests; send several."});
		counted -= (unsigned)skip;
	} else {
		struct str key, item;
		for (struct json_walk w = json_walk(array); json_next(&w, &key, &item);)
			counted += one(c, batch, item, NULL, &skip);
	}
	batch_settle(c, batch);
	return counted;
}

unsigned dispatch_count(struct str text)
{
	bool array = !json_check(text, NULL) && json_kind(text) == JSON_ARRAY;
	unsigned count = array ? elements(json_trim(text)) : 1;
	return count <= limits.batch ? count : 1; /* more is refused as one */
}

static unsigned not_json(struct caller *c, struct str text, size_t at)
{
	char message[96];
	if (c->ops->garbled && !str_utf8_valid(text)) {
		c->ops->garbled(c);
		return 0;
	}
	count_noise(c);
	snprintf(message, sizeof(message), "This is not JSON: see byte %zu.", at);
	refuse(c, NULL, (struct str){0}, ERR_PARSE, true, &(struct refusal){.message = message});
	return 1;
}

unsigned dispatch(struct caller *c, struct str text, uint64_t skip)
{
	size_t at = 0;
	struct json_outline outline;
	if (json_check_outline(text, &at, &outline))
		return not_json(c, text, at);
	if (json_kind(text) == JSON_ARRAY)
		return many(c, json_trim(text), skip);
	return one(c, NULL, json_trim(text), &outline, &skip);
}
