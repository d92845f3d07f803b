#include "dataset/past.h"

#include "core/alarm.h"
#include "core/frame.h"
#include "core/mem.h"
#include "dataset/catalog.h"
#include "dataset/value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* The log is the buffer here too: whoever waits for a change is a call with a position, and nothing is kept for it. */

enum {
	ROWS = 100,
	ROWS_MAX = 1000,
	WAIT_MAX_S = 30,
	PAGE_BYTES = 128 * 1024, /* no change is begun behind these, */
	CHANGE_BYTES =
		200 * 1024, /* and of one that alone is larger the old row is told as sizes */
};

struct changes_params {
	struct str dataset, epoch, since;
	struct param_int limit, wait;
};

/* A call of dataset.changes: in the pool, or waiting at home. */
struct asked {
	struct read_job job; /* the first */
	struct call *call;
	int64_t since; /* -1: from the head on, wherever that is when it is first looked at */
	struct buf answer;
	bool nothing; /* the answer has no change */
	enum err err;
	struct refusal why;
	struct alarm alarm;
	uint64_t until_ms;
	struct asked *next, **back; /* while it waits */
};

static _Thread_local struct asked *waiting;
static _Thread_local struct alarms alarms;
static _Thread_local bool draining;

/* ---- in the pool ---- */

static void write_seq(struct json_out *o, const char *key, int64_t seq)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, seq);
	json_text(o, key, text);
}

static void gone(struct asked *a, const char *reason, const char *message)
{
	a->err = ERR_GONE;
	a->why = (struct refusal){.reason = reason, .message = message};
}

/* Before which the log of this table has nothing. */
static enum err log_begins(struct reading *r, const struct layout *l, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	enum err err = reading_statement(r,
		STR("SELECT max(since, floor) FROM main._sb_tables, main._sb_ctx WHERE id = ?1"),
		&s);
	if (err)
		return err;
	sqlite3_bind_int64(s, 1, l->id);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(s, 0);
	else
		err = rc == SQLITE_DONE ? ERR_OVERLOADED : reading_failed(r);
	reading_release(s);
	return err;
}

static enum err open_log(
	struct reading *r, const struct asked *a, int64_t limit, sqlite3_stmt **ret)
{
	const struct layout *l = a->job.layout;
	struct buf b = BUF_INIT(64 * 1024);
	buf_adds(&b, STR("SELECT seq, txn, actor, op"));
	for (size_t i = 0; i < 2 * l->count; i++)
		buf_addf(&b, ", %c%zu", i < l->count ? 'o' : 'n', i % l->count + 1);
	buf_addf(&b, " FROM main._sb_c%" PRId64 " WHERE seq > ?1 ORDER BY seq LIMIT ?2", l->id);
	enum err err = b.err ? ERR_INTERNAL : reading_statement(r, buf_str(&b), ret);
	buf_free(&b);
	if (err)
		return err;
	sqlite3_bind_int64(*ret, 1, a->since);
	sqlite3_bind_int64(*ret, 2, limit);
	return ERR_OK;
}

static void write_cells(
	struct json_out *o, const char *key, const struct value *cells, size_t count, bool sizes)
{
	json_raw(o, key, STR(""));
	if (!sizes) {
		value_write_row(o->b, cells, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		buf_addc(o->b, i ? ',' : '[');
		if (cells[i].kind == VALUE_TEXT || cells[i].kind == VALUE_BLOB)
			value_write_big(o->b, cells[i]);
		else
			value_write(o->b, cells[i]);
	}
	buf_addc(o->b, ']');
}

static void write_image(struct json_out *o, const char *key, sqlite3_stmt *s, int first,
	const struct layout *l, bool sizes)
{
	struct value cells[LAYOUT_COLUMNS_MAX];
	for (size_t i = 0; i < l->count; i++)
		cells[i] = value_of(s, first + (int)i);
	write_cells(o, key, cells, l->count, sizes);
}

static void write_key(struct json_out *o, sqlite3_stmt *s, int first, const struct layout *l)
{
	struct value cells[KEY_COLUMNS_MAX];
	for (size_t i = 0; i < l->key_count; i++)
		cells[i] = value_of(s, first + (int)l->key[i]);
	write_cells(o, "key", cells, l->key_count, false);
}

/* A row of the log: seq, txn, actor, op, the old row, the new row. */
static void write_change(struct json_out *o, sqlite3_stmt *s, const struct layout *l, bool sizes)
{
	int old = 4, new = old + (int)l->count;
	char op[2] = {*(const char *)sqlite3_column_text(s, 3), 0};
	json_open(o, NULL, '{');
	write_seq(o, "seq", sqlite3_column_int64(s, 0));
	if (sqlite3_column_type(s, 1) == SQLITE_NULL)
		json_nothing(o, "txn");
	else
		write_seq(o, "txn", sqlite3_column_int64(s, 1));
	json_text(o, "actor", (const char *)sqlite3_column_text(s, 2));
	json_text(o, "op", op);
	write_key(o, s, *op == 'D' ? old : new, l);
	if (*op == 'D')
		json_nothing(o, "row");
	else
		write_image(o, "row", s, new, l, false);
	if (*op == 'I')
		json_nothing(o, "old");
	else
		write_image(o, "old", s, old, l, sizes);
	json_close(o, '}');
}

/* Until the page is full: then *ret_seq is the last that was written, else it stays. */
static enum err write_changes(
	struct reading *r, struct asked *a, struct json_out *o, int64_t *ret_seq)
{
	const struct changes_params *p = a->call->params;
	int64_t limit = p->limit.given ? p->limit.n : ROWS, last = 0, count = 0;
	sqlite3_stmt *s = NULL;
	enum err err = open_log(r, a, limit, &s);
	if (err)
		return err;
	size_t begin = o->b->n;
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		size_t before = o->b->n;
		bool comma = o->comma;
		write_change(o, s, a->job.layout, false);
		if (o->b->n - before > CHANGE_BYTES) {
			buf_cut(o->b, before);
			o->comma = comma;
			write_change(o, s, a->job.layout, true);
		}
		if (count && o->b->n - begin > PAGE_BYTES) {
			buf_cut(o->b, before);
			break;
		}
		last = sqlite3_column_int64(s, 0);
		count++;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		err = reading_failed(r);
	reading_release(s);
	a->nothing = !count;
	if (rc == SQLITE_ROW || count == limit)
		*ret_seq = last;
	return err;
}

static enum err write_page(struct reading *r, struct asked *a, int64_t begins)
{
	const struct layout *l = a->job.layout;
	int64_t seq = a->job.head.seq;
	a->answer = BUF_INIT(FRAME_MAX_BYTES);
	struct json_out o = JSON_OUT(&a->answer);
	json_open(&o, NULL, '{');
	json_text(&o, "epoch", a->job.head.epoch);
	json_open(&o, "columns", '[');
	for (size_t i = 0; i < l->count; i++)
		json_str(&o, NULL, l->columns[i].name);
	json_close(&o, ']');
	json_open(&o, "changes", '[');
	enum err err = write_changes(r, a, &o, &seq);
	json_close(&o, ']');
	write_seq(&o, "seq", seq);
	write_seq(&o, "floor", begins);
	json_close(&o, '}');
	return err ? err : a->answer.err;
}

static void run(struct read_job *job, struct reading *r)
{
	struct asked *a = (struct asked *)job;
	const struct changes_params *p = a->call->params;
	const struct head *head = &job->head;
	int64_t begins = 0;
	if (job->layout->view) {
		a->err = ERR_PARAMS;
		a->why = (struct refusal){.field = STR("dataset"),
			.message = "The dataset is a view, which has no log: ask for its tables."};
		return;
	}
	job->err = log_begins(r, job->layout, &begins);
	if (job->err)
		return;
	if (a->since < 0)
		a->since = head->seq;
	if ((p->epoch.n && !str_is(p->epoch, head->epoch)) || a->since > head->seq)
		gone(a, "epoch", "The database is not the one that this position is of.");
	else if (a->since < begins)
		gone(a, "pruned", "The log does not reach back so far any more.");
	else
		job->err = write_page(r, a, begins);
}

/* ---- at home ---- */

static void asked_free(struct asked **ret)
{
	struct asked *a = *ret;
	*ret = NULL;
	buf_free(&a->answer);
	free(a);
}

static void answer(struct asked *a)
{
	struct call *c = a->call;
	if (a->job.err)
		catalog_unavailable(c);
	else if (a->err)
		call_fail(c, a->err, &a->why);
	else {
		json_raw(call_result(c), NULL, buf_str(&a->answer));
		call_reply(c);
	}
	asked_free(&a);
}

static void park(struct asked *a)
{
	buf_free(&a->answer);
	a->next = waiting;
	a->back = &waiting;
	if (a->next)
		a->next->back = &a->next;
	waiting = a;
	alarm_set(&alarms, &a->alarm, a->until_ms);
}

static void unpark(struct asked *a)
{
	alarm_clear(&alarms, &a->alarm);
	*a->back = a->next;
	if (a->next)
		a->next->back = a->back;
}

static void done(struct read_job *job)
{
	struct asked *a = (struct asked *)job;
	bool waits =
		!job->err && !a->err && a->nothing && !draining && worker_now_ms() < a->until_ms;
	if (waits)
		park(a);
	else
		answer(a);
}

/* The dataset may be another than before. */
static void look(struct asked *a)
{
	const struct changes_params *p = a->call->params;
	struct attached *attached = NULL;
	struct definition *d = NULL;
	if (catalog_named(a->call, p->dataset, &d, &attached)) {
		asked_free(&a);
		return;
	}
	definition_unref(&d);
	a->job = (struct read_job){.attached = attached, .run = run, .done = done};
	if (database_read(&a->job)) {
		catalog_unavailable(a->call);
		asked_free(&a);
	}
}

static void ring(struct alarm *alarm)
{
	struct asked *a = (struct asked *)(void *)((char *)alarm - offsetof(struct asked, alarm));
	a->until_ms = 0;
	unpark(a);
	look(a);
}

void past_moved(struct str dataset)
{
	for (struct asked *a = waiting, *next; a; a = next) {
		next = a->next;
		const struct changes_params *p = a->call->params;
		if (!str_eq(p->dataset, dataset))
			continue;
		unpark(a);
		look(a);
	}
}

static void dataset_changes(struct call *c)
{
	const struct changes_params *p = c->params;
	int64_t since = -1;
	if (p->since.p && !value_read_seq(p->since, &since)) {
		call_refuse(c, ERR_PARAMS, .field = STR("since"),
			.message = "The parameter since is no position: a number as a string.");
		return;
	}
	struct asked *a = mem_new(struct asked);
	a->call = c;
	a->since = since;
	if (p->wait.n)
		a->until_ms = worker_now_ms() + (uint64_t)p->wait.n * 1000;
	look(a);
}

/* ---- the part ---- */

static enum err start(struct worker *w)
{
	draining = false;
	alarms_start(&alarms, w, ring);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	while (waiting) {
		struct asked *a = waiting;
		unpark(a);
		call_refuse(a->call, ERR_OVERLOADED, .reason = "dataset_unavailable");
		asked_free(&a);
	}
}

static void stop(struct worker *w)
{
	(void)w;
	assert(!waiting);
	alarms_stop(&alarms);
}

const struct worker_part past_part = {
	.name = "changes of datasets", .start = start, .drain = drain, .stop = stop};

static const struct field changes_fields[] = {
	FIELD(struct changes_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	FIELD(struct changes_params, since, STRING, false, 1, 20),
	FIELD(struct changes_params, epoch, STRING, false, 1, EPOCH_BYTES),
	FIELD(struct changes_params, limit, INT, false, 1, ROWS_MAX),
	FIELD(struct changes_params, wait, INT, false, 0, WAIT_MAX_S),
	{0},
};

const struct method past_methods[] = {
	{"dataset.changes", SCOPE_ADMIN, HOME_NAME, METHOD_READS | METHOD_WAITS, changes_fields,
		sizeof(struct changes_params), dataset_changes},
	{0},
};
