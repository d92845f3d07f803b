#include "dataset/write_parts.h"

#include "core/clock.h"
#include "core/frame.h"
#include "dataset/capture.h"

#include <inttypes.h>

/* ---- the transaction ---- */

static void undo(struct write *w)
{
	if (!sqlite3_get_autocommit(w->db))
		sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Whose change it is, for all that the triggers log from here on; back to nobody's before the commit. */
static enum err sign(struct write *w, bool on)
{
	bool row = false;
	sqlite3_stmt *stmt = write_statement(w, "UPDATE _sb_ctx SET txn=?1, actor=?2");
	if (!stmt)
		return w->out->err;
	if (on) {
		sqlite3_bind_int64(stmt, 1, w->base + 1);
		sqlite3_bind_text(stmt, 2, w->wish->user.p, (int)w->wish->user.n, SQLITE_STATIC);
	} else {
		sqlite3_clear_bindings(stmt);
	}
	enum err err = write_step(w, stmt, &row);
	sqlite3_reset(stmt);
	return err;
}

static bool owes_rows(struct write *w)
{
	int now = 0, most = 0;
	sqlite3_db_status(w->db, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &most, 0);
	return now != 0;
}

/* Whether a refusal is about one op, so that the others of a batch that is not atomic go on. */
static bool about_op(enum err err)
{
	return err != ERR_OVERLOADED && err != ERR_TIMEOUT && err != ERR_INTERNAL;
}

static void add_refused(struct write *w, const struct write_op *op)
{
	struct buf *b = &w->rows;
	struct refusal *why = &w->out->problem.why;
	why->also = buf_str(&w->out->also);
	buf_adds(b, b->n ? STR(",{") : STR("{"));
	size_t bare = b->n;
	buf_adds(b, STR("\"key\":"));
	buf_adds(b, op->key ? op->key_json : STR("null"));
	struct json_out o = {b, true};
	call_error(&o, "error", w->out->err, why);
	if (b->n > WRITE_ANSWER_MAX || b->err) {
		buf_cut(b, bare);
		o.comma = false;
		call_error(&o, "error", w->out->err, &(struct refusal){.reason = why->reason});
	}
	buf_addc(b, '}');
}

/* One of several that stand each for themselves. */
static enum err apply_alone(struct write *w, const struct write_op *op)
{
	size_t rows = w->rows.n, done = w->done;
	if (write_exec(w, "SAVEPOINT op"))
		return w->out->err;
	enum err err = write_apply(w, op);
	if (!err && owes_rows(w))
		err = write_refuse_foreign_key(w);
	if (!err)
		return write_exec(w, "RELEASE op");
	if (!about_op(err) ||
		sqlite3_get_autocommit(w->db)) /* a trigger may end all of it: RAISE(ROLLBACK) */
		return err;
	buf_cut(&w->rows, rows);
	w->done = done;
	if (w->conflicts.n)
		write_tell_conflicts(w);
	add_refused(w, op);
	write_forget_refusal(w);
	return write_exec(w, "ROLLBACK TO op; RELEASE op");
}

static bool is_conflict(const struct write *w)
{
	const char *reason = w->out->problem.why.reason;
	return w->out->err == ERR_CONFLICT && reason && strcmp(reason, "conflict") == 0;
}

static enum err apply_all(struct write *w)
{
	enum err err = ERR_OK;
	size_t at = 0;
	w->deadline_ms = clock_steady_ms() + w->wish->limit_ms;
	write_guard(w, true);
	for (; !err && at < w->op_count; at++) {
		w->at = at;
		err = w->wish->atomic ? write_apply(w, &w->ops[at]) : apply_alone(w, &w->ops[at]);
	}
	if (is_conflict(w)) {
		write_find_conflicts(w);
		write_tell_conflicts(w);
	}
	write_guard(w, false);
	return err;
}

static void add_seq(struct json_out *o, const char *key, int64_t seq)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, seq);
	json_text(o, key, text);
}

static void write_result(struct write *w, int64_t seq)
{
	struct json_out o = JSON_OUT(&w->out->result);
	json_open(&o, NULL, '{');
	json_str(&o, "mutation", w->wish->mutation);
	add_seq(&o, "seq", seq);
	add_seq(&o, "txn", w->base + 1);
	write_columns(w, &o);
	json_open(&o, "rows", '[');
	buf_adds(o.b, buf_str(&w->rows));
	json_close(&o, ']');
	json_close(&o, '}');
}

static enum err finish(struct write *w)
{
	int64_t seq = 0, floor = 0;
	w->at = w->op_count;
	if (write_head(w, &seq, &floor))
		return w->out->err;
	write_result(w, seq);
	if (w->rows.err || w->out->result.err)
		return write_refuse(w, ERR_TOO_LARGE, NULL,
			"The answer would be too large; write less at once.");
	if (!w->done) {
		undo(w); /* nothing was written, so nothing is remembered */
		return ERR_OK;
	}
	if (sign(w, false) || write_keep(w))
		return w->out->err;
	if (write_exec(w, "COMMIT"))
		return w->out->err;
	w->out->done = (unsigned)w->done;
	return ERR_OK;
}

/* A table may be declared to replace whatever is in a new row's way. Clients' rules know nothing of the rows that would
 * go, so for them that is a conflict as elsewhere. (Then the owner's triggers meet conflicts in the same way, which is why
 * it is not said to all tables.) */
static enum err find_replacing(struct write *w)
{
	sqlite3_stmt *stmt = write_statement(w,
		"SELECT sql LIKE '%CONFLICT%REPLACE%' FROM sqlite_schema WHERE type='table' AND "
		"name=?1 COLLATE NOCASE");
	if (!stmt)
		return w->out->err;
	bool row = false;
	sqlite3_bind_text(stmt, 1, w->layout->table.p, (int)w->layout->table.n, SQLITE_STATIC);
	enum err err = write_step(w, stmt, &row);
	w->abort = row && sqlite3_column_int(stmt, 0);
	sqlite3_reset(stmt);
	return err;
}

static enum err transact(struct write *w)
{
	bool known = false;
	if (write_exec(w, "PRAGMA foreign_keys=ON") || write_exec(w, "BEGIN IMMEDIATE") ||
		write_recall(w, &known))
		return w->out->err;
	if (known)
		return ERR_OK;
	if (!capture_stands(w->db, &w->layout->table, 1))
		return write_refuse(w, ERR_OVERLOADED, "dataset_unavailable",
			"The table has just been changed; it is captured anew.");
	if (write_head(w, &w->base, &w->floor) || find_replacing(w) || sign(w, true) ||
		apply_all(w))
		return w->out->err;
	return finish(w);
}

void write_run(sqlite3 *db, const struct layout *l, const struct write_rights *rights,
	const struct write_wish *wish, struct written *ret)
{
	struct write w = {.db = db,
		.layout = l,
		.rights = rights,
		.wish = wish,
		.out = ret,
		.sql = BUF_INIT(WRITE_SQL_MAX),
		.key_bytes = BUF_INIT(FRAME_MAX_BYTES),
		.conflicts = BUF_INIT(FRAME_MAX_BYTES),
		.rows = BUF_INIT(FRAME_MAX_BYTES)};
	*ret = (struct written){.result = BUF_INIT(FRAME_MAX_BYTES)};
	write_forget_refusal(&w);
	write_hash(&w);
	if (l->view)
		write_refuse(&w, ERR_FORBIDDEN, "rule_forbids", "A view is not written to.");
	else if (!write_read_ops(&w))
		transact(&w);
	undo(&w);
	write_finalize(&w);
	write_free_ops(&w);
	buf_free(&w.sql);
	buf_free(&w.key_bytes);
	buf_free(&w.conflicts);
	buf_free(&w.rows);
	ret->problem.why.also = buf_str(&ret->also);
}

void written_free(struct written *w)
{
	buf_free(&w->also);
	buf_free(&w->result);
}
