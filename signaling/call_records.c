#include "signaling/call_records.h"

#include "core/chore.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/options.h"
#include "store/outbox.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	KEPT_DATA_MAX = 4096,    /* of an invitation; more is not in the record */
	PAGE_ROWS = 50,          /* when nobody says how many */
	PAGE_BYTES = 160 * 1024, /* an answer ends with the call that passes this */
	MISSED_ROWS = 50,
	SLICE = 200, /* pruned at once */
	SLICE_EVERY_MS = 1000,
	LOOK_EVERY_MS = 10 * 60 * 1000,
	IDS_MAX_BYTES = 16 << 20,
};

static _Thread_local int asked;

int call_records_asked(void)
{
	return asked;
}

/* ---- what webhooks are told ---- */

static void write_call(struct json_out *o, const struct live_call *l)
{
	json_text(o, "call", l->id);
	json_str(o, "room", l->room);
	json_open(o, "caller", '{');
	json_str(o, "user", l->caller);
	json_str(o, "name", l->caller_name);
	json_close(o, '}');
	json_str(o, "callee", l->callee);
}

static struct json_out *begin_told(struct hooks *h, enum hook_event e, const struct live_call *l)
{
	struct json_out *o = hook_begin(h, e, "call", str_of(l->id));
	write_call(o, l);
	return o;
}

static void write_missed(struct json_out *o, const struct live_call *l, const char *reason)
{
	json_text(o, "reason", reason);
	json_int(o, "started_at", l->started_at);
}

/* Under which ids it is said that a call lives, for the time when the process does not: its end, and that it
 * was missed. */
enum { LIVE_ID_BYTES = CALL_ID_CHARS + 8 };
static struct str live_id(const struct live_call *l, enum hook_event e, char *out)
{
	const char *kind = e == HOOK_CALL_ENDED ? "call" : "missed";
	int n = snprintf(out, LIVE_ID_BYTES, "%s:%s", kind, l->id);
	return (struct str){out, (size_t)n};
}

static void tell_live(struct hooks *h, const struct live_call *l, enum hook_event e)
{
	char id[LIVE_ID_BYTES];
	if (!hook_wanted(e))
		return;
	struct json_out *o = hook_live(h, live_id(l, e, id), e, "call", str_of(l->id));
	write_call(o, l);
	if (e == HOOK_CALL_ENDED)
		json_text(o, "reason", "lost");
	else
		write_missed(o, l, "lost");
	hook_end(h);
}

static void tell_over(struct hooks *h, const struct live_call *l, enum hook_event e)
{
	char id[LIVE_ID_BYTES];
	if (hook_wanted(e))
		hook_over(h, live_id(l, e, id));
}

void call_records_live(struct json_out *o)
{
	char id[LIVE_ID_BYTES];
	struct live_call *l;
	for (size_t i = 0; (l = calls_next(&i));) {
		json_str(o, NULL, live_id(l, HOOK_CALL_ENDED, id));
		if (!l->answered_at)
			json_str(o, NULL, live_id(l, HOOK_CALL_MISSED, id));
	}
}

static void tell_invited(struct hooks *h, const struct live_call *l)
{
	if (hook_wanted(HOOK_CALL_INVITED)) {
		struct json_out *o = begin_told(h, HOOK_CALL_INVITED, l);
		json_raw(o, "data", l->data.n ? l->data : STR("null"));
		json_int(o, "expires_at", l->expires_at);
		hook_end(h);
	}
	tell_live(h, l, HOOK_CALL_ENDED);
	tell_live(h, l, HOOK_CALL_MISSED);
}

static void tell_accepted(struct hooks *h, const struct live_call *l)
{
	if (hook_wanted(HOOK_CALL_ACCEPTED)) {
		struct json_out *o = begin_told(h, HOOK_CALL_ACCEPTED, l);
		json_str(o, "callee_name", l->callee_name);
		hook_end(h);
	}
	tell_over(h, l, HOOK_CALL_MISSED);
}

static void tell_ended(struct hooks *h, const struct live_call *l)
{
	if (hook_wanted(HOOK_CALL_ENDED)) {
		struct json_out *o = begin_told(h, HOOK_CALL_ENDED, l);
		json_text(o, "reason", dialog_end_word(l->d.end));
		if (l->answered_at)
			json_int(o, "duration", l->ended_at - l->answered_at);
		hook_end(h);
	}
	if (hook_wanted(HOOK_CALL_MISSED) && dialog_missed(&l->d)) {
		write_missed(begin_told(h, HOOK_CALL_MISSED, l), l, dialog_end_word(l->d.end));
		hook_end(h);
	}
	tell_over(h, l, HOOK_CALL_ENDED);
	tell_over(h, l, HOOK_CALL_MISSED);
}

/* ---- writing ---- */

static struct store_value text_or_null(struct str s)
{
	return s.n ? STORE_TEXT(s) : STORE_NULL;
}

void call_record_begin(struct live_call *l, void (*done)(struct store_op *op))
{
	struct hooks told = {0};
	tell_invited(&told, l);
	hook_ask(&told, STORE_CALL_ADD, done, l, STORE_TEXT(str_of(l->id)), STORE_TEXT(l->room),
		STORE_TEXT(l->caller), STORE_TEXT(l->caller_name), STORE_TEXT(l->callee),
		l->data.n <= KEPT_DATA_MAX ? text_or_null(l->data) : STORE_NULL,
		STORE_INT(l->started_at), STORE_END);
}

/* When the store cannot take it now, the end says it again. */
static void answer_kept(struct store_op *op)
{
	(void)op;
	asked--;
}

void call_record_answered(struct live_call *l)
{
	struct hooks told = {0};
	tell_accepted(&told, l);
	asked++;
	hook_ask(&told, STORE_CALL_ANSWERED, answer_kept, NULL, STORE_TEXT(str_of(l->id)),
		STORE_INT(l->answered_at), STORE_TEXT(l->callee_name), STORE_END);
}

void call_record_end(struct live_call *l, void (*done)(struct store_op *op))
{
	struct hooks told = {0};
	tell_ended(&told, l);
	hook_ask(&told, STORE_CALL_END, done, l, STORE_TEXT(str_of(l->id)),
		STORE_TEXT(str_of(dialog_end_word(l->d.end))), STORE_INT(l->ended_at),
		l->answered_at ? STORE_INT(l->answered_at) : STORE_NULL,
		l->answered_at ? STORE_TEXT(l->callee_name) : STORE_NULL, STORE_END);
}

/* ---- an entry of the history ---- */

struct entry {
	struct str call, room, user, name, data, outcome;
	bool out, seen;
	int64_t started_at, answered_at, ended_at; /* 0: not yet */
};

static struct entry entry_of_row(const struct store_op *op, size_t row)
{
	return (struct entry){.call = store_str(op, row, 1),
		.room = store_str(op, row, 2),
		.out = store_int(op, row, 3),
		.user = store_str(op, row, 4),
		.name = store_str(op, row, 5),
		.data = store_str(op, row, 6),
		.started_at = store_int(op, row, 7),
		.answered_at = store_int(op, row, 8),
		.ended_at = store_int(op, row, 9),
		.outcome = store_str(op, row, 10),
		.seen = store_int(op, row, 11)};
}

static void write_entry(struct json_out *o, const struct entry *e)
{
	json_open(o, NULL, '{');
	json_str(o, "call", e->call);
	json_str(o, "room", e->room);
	json_text(o, "direction", e->out ? "out" : "in");
	json_str(o, "user", e->user);
	json_str_if(o, "name", e->name);
	json_str_if(o, "outcome", e->outcome);
	if (e->data.n)
		json_raw(o, "data", e->data);
	json_int(o, "started_at", e->started_at);
	json_int_if(o, "answered_at", e->answered_at);
	json_int_if(o, "ended_at", e->ended_at);
	json_bool(o, "seen", e->seen);
	json_close(o, '}');
}

/* ---- what was missed ---- */

struct frame *call_missed_event(const struct live_call *l)
{
	struct event e;
	struct entry entry = {.call = str_of(l->id),
		.room = l->room,
		.user = l->caller,
		.name = l->caller_name,
		.data = l->data.n <= KEPT_DATA_MAX ? l->data : (struct str){0},
		.outcome = str_of(dialog_end_word(l->d.end)),
		.started_at = l->started_at,
		.ended_at = l->ended_at};
	event_begin(&e, "call.missed");
	json_open(&e.params, "calls", '[');
	write_entry(&e.params, &entry);
	json_close(&e.params, ']');
	return event_take(&e);
}

static void missed(struct store_op *op)
{
	struct addr *session = op->context;
	asked--;
	if (!op->err && op->rows) {
		struct event e;
		event_begin(&e, "call.missed");
		json_open(&e.params, "calls", '[');
		for (size_t i = 0; i < op->rows && e.b.n < PAGE_BYTES; i++) {
			struct entry entry = entry_of_row(op, i);
			write_entry(&e.params, &entry);
		}
		json_close(&e.params, ']');
		addr_send(*session, event_take(&e));
	}
	free(session);
}

void call_records_tell_missed(struct str user, struct addr session)
{
	struct addr *to = mem_new(struct addr);
	*to = session;
	asked++;
	store_ask(STORE_CALLS_MISSED, missed, to, STORE_TEXT(user), STORE_INT(MISSED_ROWS),
		STORE_END);
}

/* ---- call.history, call.seen ---- */

static size_t rows_asked_for(const struct call_list_params *in)
{
	return in->limit.given ? (size_t)in->limit.n : PAGE_ROWS;
}

static void write_cursor(struct json_out *o, int64_t n)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, n);
	json_text(o, "cursor", text);
}

static void listed(struct store_op *op)
{
	struct call *c = op->context;
	asked--;
	if (op->err) {
		call_refuse(c, op->err);
		return;
	}
	struct json_out *o = call_result(c);
	size_t i = 0, most = rows_asked_for(c->params);
	json_open(o, NULL, '{');
	json_open(o, "calls", '[');
	for (; i < op->rows && i < most && c->out.n < PAGE_BYTES; i++) {
		struct entry entry = entry_of_row(op, i);
		write_entry(o, &entry);
	}
	json_close(o, ']');
	if (i < op->rows)
		write_cursor(o, store_int(op, i - 1, 0));
	json_close(o, '}');
	call_reply(c);
}

void call_history_run(struct call *c)
{
	const struct call_list_params *in = c->params;
	int64_t before = INT64_MAX;
	if (in->cursor.p && (json_decode_int(in->cursor, &before) || before < 0)) {
		deny_param(c, "cursor", "cursor must be one that was answered.");
		return;
	}
	asked++;
	store_ask(STORE_CALL_HISTORY, listed, c, STORE_TEXT(c->who->user), STORE_INT(before),
		STORE_INT(rows_asked_for(in) + 1), STORE_END);
}

static void seen(struct store_op *op)
{
	struct call *c = op->context;
	asked--;
	if (op->err)
		call_refuse(c, op->err);
	else
		call_reply_empty(c);
}

static bool are_ids(struct str array)
{
	size_t count = 0;
	struct str key, item;
	for (struct json_walk w = json_walk(array); json_next(&w, &key, &item);)
		if (json_kind(item) != JSON_STRING || ++count > CALLS_SEEN_MAX)
			return false;
	return count > 0;
}

void call_seen_run(struct call *c)
{
	const struct call_seen_params *in = c->params;
	if (in->all.yes == (in->calls.p != NULL))
		deny_param(c, "calls", "One of calls and all must be given; all must be true.");
	else if (in->calls.p && !are_ids(in->calls))
		deny_param(c, "calls", "calls must be an array of 1 to 100 ids.");
	else {
		asked++;
		store_ask(STORE_CALLS_SEEN, seen, c, STORE_TEXT(c->who->user),
			in->calls.p ? STORE_TEXT(in->calls) : STORE_NULL, STORE_END);
	}
}

/* ---- what is too old ---- */

static void look(void);

static struct chore pruning = {.run = look, .first_ms = SLICE_EVERY_MS, .every_ms = LOOK_EVERY_MS};

static void pruned(struct store_op *op)
{
	chore_again(&pruning, op->rows == SLICE ? SLICE_EVERY_MS : LOOK_EVERY_MS);
}

static void look(void)
{
	if (options()->calls_history_s)
		store_ask(STORE_CALLS_PRUNE, pruned, NULL,
			STORE_INT(clock_unix_ms() / 1000 - options()->calls_history_s),
			STORE_INT(SLICE), STORE_END);
}

void call_records_start(struct worker *w)
{
	chore_start(&pruning, w);
}

void call_records_drain(struct worker *w)
{
	chore_drain(&pruning, w);
}

void call_records_stop(struct worker *w)
{
	chore_stop(&pruning, w);
	asked = 0;
}

/* ---- the start ---- */

static void collect(struct worker *w, void *context)
{
	struct buf *own = (struct buf *)context + w->index;
	struct json_out o = JSON_OUT(own);
	struct live_call *l;
	o.comma = false;
	for (size_t i = 0; (l = calls_next(&i));)
		json_text(&o, NULL, l->id);
}

void call_records_begin(void)
{
	struct buf all = BUF_INIT(IDS_MAX_BYTES);
	struct buf *own = mem_alloc((size_t)workers_count() * sizeof(*own));
	for (int i = 0; i < workers_count(); i++)
		own[i] = BUF_INIT(IDS_MAX_BYTES);
	workers_each(collect, own);
	buf_addc(&all, '[');
	for (int i = 0; i < workers_count(); i++) {
		if (all.n > 1 && own[i].n)
			buf_addc(&all, ',');
		buf_adds(&all, buf_str(&own[i]));
		buf_free(&own[i]);
	}
	buf_addc(&all, ']');
	struct store_op *op = store_ask_now(STORE_CALLS_LOST, STORE_TEXT(buf_str(&all)),
		STORE_INT(clock_unix_ms() / 1000), STORE_END);
	if (op->err)
		log_error("calls of the process before cannot be told as lost");
	else if (op->rows)
		log_warn("calls were lost with the process before", LOG_INT("calls", op->rows));
	store_op_free(&op);
	buf_free(&all);
	free(own);
}
