/* What rooms keep no longer is taken out of the store (durable.h): messages past the number or the age
 * that a room keeps, those of rooms that are gone, idempotency keys after their day. Some at a time, each
 * slice asked for when the one before is answered: what others have asked meanwhile comes first.
 *
 * Thread: worker 0. */
#include "signaling/durable.h"
#include "signaling/template.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

enum {
	FIRST_MS = 1000,
	EVERY_MS = 10 * 1000,
	PAGE = 200,  /* histories looked at with one question */
	SLICE = 500, /* messages, or keys, taken out with one */
	SLICE_BYTES = 1 << 20,
};

/* A history of which something goes. */
struct due {
	int64_t history;
	int64_t upto, before; /* offsets, and Unix ms */
	bool over;            /* and then itself */
};

static _Thread_local struct {
	uv_timer_t timer;
	bool stopped;
	int64_t after; /* the page's last history */
	bool last_page;
	struct due due[PAGE];
	size_t count, at;
} own;

static void look(uv_timer_t *timer);

static void rest(enum err err)
{
	if (err && err != ERR_OVERLOADED)
		log_warn("messages that are too old were not taken out",
			LOG_TEXT("why", err_info(err)->reason));
	if (!own.stopped)
		uv_timer_start(&own.timer, look, EVERY_MS, 0);
}

/* ---- keys ---- */

static void purge_keys(void);

static void keys_purged(struct store_op *op)
{
	if (!op->err && op->rows == SLICE && !own.stopped)
		purge_keys();
	else
		rest(op->err);
}

static void purge_keys(void)
{
	store_ask(STORE_MESSAGE_KEYS_PURGE, keys_purged, NULL,
		STORE_INT(clock_unix_ms() - DURABLE_KEYS_MS), STORE_INT(SLICE), STORE_END);
}

/* ---- messages ---- */

static void next(void);

static void removed(struct store_op *op)
{
	if (op->err) {
		rest(op->err);
		return;
	}
	own.at++;
	next();
}

static void pruned(struct store_op *op)
{
	const struct due *d = &own.due[own.at];
	if (op->err) {
		rest(op->err);
		return;
	}
	metric_add(METRIC_HISTORY_PRUNED, (int64_t)op->rows);
	if (!op->rows && d->over) {
		store_ask(STORE_HISTORY_REMOVE, removed, NULL, STORE_INT(d->history), STORE_END);
		return;
	}
	own.at += !op->rows;
	next();
}

static void list(void);

static void next(void)
{
	const struct due *d = &own.due[own.at];
	if (own.stopped)
		return;
	if (own.at < own.count)
		store_ask(STORE_MESSAGES_PRUNE, pruned, NULL, STORE_INT(d->history),
			STORE_INT(d->upto), STORE_INT(d->before), STORE_INT(SLICE),
			STORE_INT(SLICE_BYTES), STORE_END);
	else if (!own.last_page)
		list();
	else
		purge_keys();
}

/* ---- which ---- */

static struct param_int int_at(const struct store_op *op, size_t row, size_t column)
{
	bool given = op->cells[row * op->columns + column].kind == STORE_IS_INT;
	return (struct param_int){given, given ? store_int(op, row, column) : 0};
}

/* What goes of a room's history, by what the room keeps now. */
static struct due due_of(const struct store_op *op, size_t row)
{
	struct rules r = {
		.id = 1, .history_messages = int_at(op, row, 3), .history_age = int_at(op, row, 4)};
	struct history_rules h = rules_history(&r, template_of(store_str(op, row, 2)));
	return (struct due){.history = store_int(op, row, 0),
		.upto = store_int(op, row, 1) - (int64_t)h.messages,
		.before = clock_unix_ms() - INT64_C(1000) * h.age_s};
}

static void add_due(const struct store_op *op, size_t row)
{
	struct due d = {store_int(op, row, 0), INT64_MAX, INT64_MAX, true};
	struct param_int oldest = int_at(op, row, 5), published = int_at(op, row, 6);
	if (store_str(op, row, 2).n) {
		d = due_of(op, row);
		if (!oldest.given || (oldest.n > d.upto && published.n >= d.before))
			return;
	}
	own.due[own.count++] = d;
}

static void listed(struct store_op *op)
{
	if (op->err) {
		rest(op->err);
		return;
	}
	own.count = own.at = 0;
	own.last_page = op->rows < PAGE;
	for (size_t i = 0; i < op->rows; i++) {
		own.after = store_int(op, i, 0);
		add_due(op, i);
	}
	next();
}

static void list(void)
{
	store_ask(
		STORE_HISTORY_LIST, listed, NULL, STORE_INT(own.after), STORE_INT(PAGE), STORE_END);
}

static void look(uv_timer_t *timer)
{
	(void)timer;
	own.after = 0;
	list();
}

static enum err start(struct worker *w)
{
	if (w->index)
		return ERR_OK;
	own.stopped = false;
	uv_timer_init(&w->loop, &own.timer);
	uv_timer_start(&own.timer, look, FIRST_MS, 0);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	if (w->index)
		return;
	own.stopped = true;
	uv_timer_stop(&own.timer);
}

static void stop(struct worker *w)
{
	if (!w->index)
		uv_close((uv_handle_t *)&own.timer, NULL);
}

const struct worker_part retention_part = {
	.name = "retention", .start = start, .drain = drain, .stop = stop};
