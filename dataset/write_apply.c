#include "dataset/write_parts.h"

#include "core/json_out.h"
#include "dataset/capture.h"

#include <assert.h>
#include <inttypes.h>

/* ---- the texts of statements ---- */

static void sql_begin(struct write *w)
{
	buf_cut(&w->sql, 0);
}

static sqlite3_stmt *sql_end(struct write *w)
{
	if (!w->sql.err)
		return write_statement(w, w->sql.p);
	write_refuse(w, ERR_TOO_LARGE, NULL, "The table has too many columns for this.");
	return NULL;
}

static const struct column *key_column(const struct write *w, size_t i)
{
	return &w->layout->columns[w->layout->key[i]];
}

/* WHERE "a"=?1 AND "b"=?2; where rules have parameters of their own, @1 and @2. */
static void add_where_key(struct write *w, char mark)
{
	for (size_t i = 0; i < w->layout->key_count; i++) {
		buf_adds(&w->sql, i ? STR(" AND ") : STR(" WHERE "));
		sql_name(&w->sql, key_column(w, i)->name);
		buf_addf(&w->sql, "=%c%zu", mark, i + 1);
	}
}

static void add_returning(struct write *w)
{
	for (size_t i = 0; i < w->layout->key_count; i++) {
		buf_adds(&w->sql, i ? STR(",") : STR(" RETURNING "));
		sql_name(&w->sql, key_column(w, i)->name);
	}
}

static void add_verdict(struct write *w, const struct ruling *ruling)
{
	buf_adds(&w->sql, STR(",("));
	buf_adds(&w->sql, ruling ? ruling->predicate : STR("0"));
	buf_adds(&w->sql, STR(") IS TRUE"));
}

/* ---- looking at a row ---- */

struct sight {
	sqlite3_stmt *stmt; /* stands at the row, until it is reset */
	bool seen;          /* it is there, and the caller may see it */
	bool there, allowed;
};

static enum err bind_key(struct write *w, sqlite3_stmt *stmt, const struct value *key)
{
	char name[24];
	for (size_t i = 0; i < w->layout->key_count; i++) {
		snprintf(name, sizeof(name), "@%zu", i + 1);
		if (value_bind(stmt, sqlite3_bind_parameter_index(stmt, name), key[i]))
			return write_refuse_sqlite(w);
	}
	return ERR_OK;
}

/* The row of this key, whether the caller may see it, and what the rule says of it. */
static enum err look(
	struct write *w, const struct value *key, enum rule_of which, struct sight *ret)
{
	const struct layout *l = w->layout;
	const struct ruling *read = w->rights->rulings[RULE_READ],
			    *rule = w->rights->rulings[which];
	sql_begin(w);
	for (size_t i = 0; i < l->count; i++) {
		buf_adds(&w->sql, i ? STR(",") : STR("SELECT "));
		sql_name(&w->sql, l->columns[i].name);
	}
	add_verdict(w, read);
	add_verdict(w, rule);
	buf_adds(&w->sql, STR(" FROM "));
	sql_name(&w->sql, l->table);
	add_where_key(w, '@');
	sqlite3_stmt *stmt = sql_end(w);
	if (!stmt || bind_key(w, stmt, key) || write_bind_ruling(w, stmt, read) ||
		write_bind_ruling(w, stmt, rule) || write_step(w, stmt, &ret->there))
		return w->out->err;
	ret->stmt = stmt;
	ret->seen = ret->there && sqlite3_column_int(stmt, (int)l->count);
	ret->allowed = ret->there && sqlite3_column_int(stmt, (int)l->count + 1);
	return ERR_OK;
}

static void looked(struct sight *s)
{
	sqlite3_reset(s->stmt);
	s->stmt = NULL;
}

static void write_key(const struct write *w, struct buf *b, const struct sight *s)
{
	for (size_t i = 0; i < w->layout->key_count; i++) {
		buf_addc(b, i ? ',' : '[');
		value_write(b, value_of(s->stmt, (int)w->layout->key[i]));
	}
	buf_addc(b, ']');
}

static void write_row(const struct write *w, struct buf *b, const struct sight *s)
{
	struct value cells[LAYOUT_COLUMNS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < w->layout->count; i++)
		if (w->rights->visible[i])
			cells[n++] = value_of(s->stmt, (int)i);
	value_write_row(b, cells, n);
}

/* ---- refusals ---- */

void write_columns(const struct write *w, struct json_out *o)
{
	json_open(o, "columns", '[');
	for (size_t i = 0; i < w->layout->count; i++)
		if (w->rights->visible[i])
			json_str(o, NULL, w->layout->columns[i].name);
	json_close(o, ']');
}

static struct json_out also_this_op(struct write *w)
{
	struct json_out o = JSON_OUT(&w->out->also);
	json_int(&o, "op", (int64_t)w->at);
	return o;
}

static enum err forbidden(struct write *w, const char *what)
{
	also_this_op(w);
	return write_refuse(w, ERR_FORBIDDEN, "rule_forbids",
		"The rules of this dataset do not allow %s.", what);
}

static enum err ignored(struct write *w)
{
	struct json_out o = also_this_op(w);
	json_text(&o, "constraint", "trigger");
	return write_refuse(w, ERR_CONFLICT, "constraint",
		"The table itself has let nothing of this be written.");
}

/* s: the row as it is; one that is not there for the caller is null, and so it is where nothing is. Told by
 * write_tell_conflicts(). */
static enum err conflict(struct write *w, const struct write_op *op, const struct sight *s)
{
	struct buf *b = &w->conflicts;
	size_t before = b->n;
	buf_adds(b, before ? STR(",{\"key\":") : STR("{\"key\":"));
	if (s->seen)
		write_key(w, b, s);
	else
		buf_adds(b, op->key ? op->key_json : STR("null"));
	buf_addf(b, ",\"seq\":\"%" PRId64 "\",\"current\":", w->base);
	if (s->seen)
		write_row(w, b, s);
	else
		buf_adds(b, STR("null"));
	buf_addc(b, '}');
	if (b->n > WRITE_CONFLICTS_MAX || b->err)
		buf_cut(b, before);
	w->out->conflicts++;
	return write_refuse(w, ERR_CONFLICT, "conflict", "The row is not as the condition says.");
}

static enum err absent(struct write *w, const struct write_op *op, const struct sight *s)
{
	if (op->if_seq || op->if_old)
		return conflict(w, op, s);
	also_this_op(w);
	return write_refuse(w, ERR_NOT_FOUND, "no_such_row", "There is no such row.");
}

/* ---- conditions ---- */

/* What JSON of JavaScript cannot tell apart is the same here: 1 and 1.0. All else by its bits, whatever the column's
 * collation would say. */
static bool same_cell(struct value is, struct value was)
{
	if (is.kind == VALUE_INT && was.kind == VALUE_REAL)
		return same_cell(was, is);
	if (is.kind == VALUE_REAL && was.kind == VALUE_INT) {
		struct value real = {.kind = VALUE_REAL, .real = (double)was.number};
		bool exact = real.real < 9.2e18 && (int64_t)real.real == was.number;
		return exact && value_eq(is, real);
	}
	return value_eq(is, was);
}

static bool old_holds(const struct write_op *op, const struct sight *s)
{
	for (size_t i = 0; i < op->old_count; i++)
		if (!same_cell(value_of(s->stmt, (int)op->old[i].column), op->old[i].value))
			return false;
	return true;
}

/* What the log says of the row's key behind seq, up to where this write began: what the ops before this one did is no
 * conflict. The log has no index by key: the further back, the longer it takes. */
static sqlite3_stmt *log_statement(struct write *w)
{
	const struct layout *l = w->layout;
	sql_begin(w);
	buf_addf(&w->sql, "SELECT 1 FROM _sb_c%" PRId64 " WHERE seq>?%zu AND seq<=?%zu AND (",
		l->id, l->key_count + 1, l->key_count + 2);
	for (size_t i = 0; i < l->key_count; i++)
		buf_addf(&w->sql, "%so%zu IS ?%zu", i ? " AND " : "", l->key[i] + 1, i + 1);
	buf_adds(&w->sql, STR(" OR "));
	for (size_t i = 0; i < l->key_count; i++)
		buf_addf(&w->sql, "%sn%zu IS ?%zu", i ? " AND " : "", l->key[i] + 1, i + 1);
	buf_adds(&w->sql, STR(") LIMIT 1"));
	return sql_end(w);
}

static enum err changed_since(struct write *w, int64_t seq, const struct sight *s, bool *ret)
{
	int n = (int)w->layout->key_count;
	sqlite3_stmt *stmt = log_statement(w);
	if (!stmt)
		return w->out->err;
	for (int i = 0; i < n; i++)
		if (value_bind(stmt, i + 1, value_of(s->stmt, (int)w->layout->key[i])))
			return write_refuse_sqlite(w);
	sqlite3_bind_int64(stmt, n + 1, seq);
	sqlite3_bind_int64(stmt, n + 2, w->base);
	enum err err = write_step(w, stmt, ret);
	sqlite3_reset(stmt);
	return err;
}

static enum err pruned(struct write *w, const char *what)
{
	also_this_op(w);
	return write_refuse(w, ERR_GONE, "pruned",
		"%s: read the row again, or say its old values in if.", what);
}

static enum err check_condition(struct write *w, const struct write_op *op, const struct sight *s)
{
	if (op->if_old && !old_holds(op, s))
		return conflict(w, op, s);
	if (!op->if_seq)
		return ERR_OK;
	if (op->seq < w->floor || op->seq > w->base)
		return pruned(w, "What has changed since that seq is not held");
	w->looked += w->base - op->seq;
	if (w->looked > WRITE_LOOK_MAX) {
		w->out->problem.why.limit = WRITE_LOOK_MAX;
		return pruned(w, "Too much has changed since that seq");
	}
	bool changed = false;
	if (changed_since(w, op->seq, s, &changed))
		return w->out->err;
	return changed ? conflict(w, op, s) : ERR_OK;
}

/* ---- what was done ---- */

/* row: NULL of a deleted one. Past its maximum the answer has only where each op has led to. */
static void add_result(struct write *w, struct str key, const struct sight *row, int64_t seq)
{
	struct buf *b = &w->rows;
	buf_adds(b, b->n ? STR(",{") : STR("{"));
	size_t bare = b->n;
	buf_adds(b, STR("\"key\":"));
	buf_adds(b, key);
	buf_adds(b, STR(",\"row\":"));
	if (row && row->seen)
		write_row(w, b, row);
	else
		buf_adds(b, STR("null"));
	buf_addc(b, ',');
	if (b->n > WRITE_ANSWER_MAX || b->err)
		buf_cut(b, bare);
	buf_addf(b, "\"seq\":\"%" PRId64 "\"}", seq);
	w->done++;
}

/* Takes the key of what was written out of RETURNING, and ends the statement: only then is all of it done. */
static enum err take_key(struct write *w, sqlite3_stmt *stmt, bool *ret_written)
{
	if (write_step(w, stmt, ret_written))
		return w->out->err;
	buf_cut(&w->key_bytes, 0);
	size_t n = w->layout->key_count, at = 0;
	for (size_t i = 0; *ret_written && i < n; i++) {
		w->key[i] = value_of(stmt, (int)i);
		buf_adds(&w->key_bytes, w->key[i].bytes);
	}
	for (size_t i = 0; *ret_written && i < n; i++) {
		w->key[i].bytes.p = w->key_bytes.p ? w->key_bytes.p + at : "";
		at += w->key[i].bytes.n;
	}
	bool more = *ret_written;
	while (more)
		if (write_step(w, stmt, &more))
			return w->out->err;
	sqlite3_reset(stmt);
	return w->key_bytes.err ? write_refuse(w, ERR_TOO_LARGE, NULL, "The key is too large.")
				: ERR_OK;
}

/* The row as it stands behind the op, with what triggers and defaults have made of it: the rule has to hold for it. */
static enum err judge(struct write *w, enum rule_of which, const char *what)
{
	struct sight s = {0};
	int64_t seq = 0, floor = 0;
	if (look(w, w->key, which, &s))
		return w->out->err;
	enum err err = !s.there ? ignored(w)
		: !s.allowed    ? forbidden(w, what)
				: write_head(w, &seq, &floor);
	struct buf key = BUF_INIT(WRITE_ANSWER_MAX);
	if (!err) {
		write_key(w, &key, &s);
		add_result(w, buf_str(&key), &s, seq);
	}
	looked(&s);
	buf_free(&key);
	return err;
}

/* ---- all conflicts of a write ---- */

/* Whoever is refused because of one row wants to know of the others, too: each condition behind it is looked at as if
 * the ops before had been done. What else is wrong with those is told when they are written. */
void write_find_conflicts(struct write *w)
{
	const struct wish_problem first = w->out->problem;
	size_t at = w->at;
	for (size_t i = at + 1; i < w->op_count && w->out->err == ERR_CONFLICT; i++) {
		const struct write_op *op = &w->ops[i];
		struct sight s = {0};
		if (!op->key || !(op->if_seq || op->if_old) || look(w, op->key, RULE_UPDATE, &s))
			continue;
		if (s.seen)
			check_condition(w, op, &s);
		else
			conflict(w, op, &s);
		looked(&s);
	}
	write_forget_refusal(w);
	w->out->err = ERR_CONFLICT;
	w->out->problem = first;
}

/* Conflicts that are too large to be told are left out. */
void write_tell_conflicts(struct write *w)
{
	struct json_out o = also_this_op(w);
	write_columns(w, &o);
	json_open(&o, "conflicts", '[');
	buf_adds(o.b, buf_str(&w->conflicts));
	json_close(&o, ']');
	buf_cut(&w->conflicts, 0);
}

/* ---- the three ops ---- */

static bool is_key(const struct write *w, size_t column)
{
	return w->layout->columns[column].key > 0;
}

/* without_key: an upsert leaves the key as it stands in the table. ret_none: nothing is left to set. */
static sqlite3_stmt *update_statement(
	struct write *w, const struct write_op *op, bool without_key, bool *ret_none)
{
	size_t n = 0;
	sql_begin(w);
	buf_adds(&w->sql, w->abort ? STR("UPDATE OR ABORT ") : STR("UPDATE "));
	sql_name(&w->sql, w->layout->table);
	for (size_t i = 0; i < op->set_count; i++) {
		if (without_key && is_key(w, op->set[i].column))
			continue;
		buf_adds(&w->sql, n++ ? STR(",") : STR(" SET "));
		sql_name(&w->sql, w->layout->columns[op->set[i].column].name);
		buf_addf(&w->sql, "=?%zu", w->layout->key_count + n);
	}
	add_where_key(w, '?');
	add_returning(w);
	*ret_none = n == 0;
	return n ? sql_end(w) : NULL;
}

/* s: the row, looked at for RULE_UPDATE; it is not needed any more behind this. */
static enum err update_row(struct write *w, const struct write_op *op, const struct value *key,
	struct sight *s, bool without_key)
{
	static const char what[] = "this update";
	enum err err = check_condition(w, op, s);
	if (!err && !s->allowed)
		err = forbidden(w, what);
	looked(s);
	if (err)
		return err;
	bool none = false, written = false;
	sqlite3_stmt *stmt = update_statement(w, op, without_key, &none);
	if (none) {
		memcpy(w->key, key, w->layout->key_count * sizeof(*key));
		return judge(w, RULE_UPDATE, what);
	}
	if (!stmt || write_bind_cells(w, stmt, key, w->layout->key_count))
		return w->out->err;
	int at = (int)w->layout->key_count;
	for (size_t i = 0; i < op->set_count; i++)
		if (!(without_key && is_key(w, op->set[i].column)) &&
			value_bind(stmt, ++at, op->set[i].value))
			return write_refuse_sqlite(w);
	if (take_key(w, stmt, &written))
		return w->out->err;
	return written ? judge(w, RULE_UPDATE, what) : ignored(w);
}

static enum err apply_update(struct write *w, const struct write_op *op)
{
	struct sight s = {0};
	if (look(w, op->key, RULE_UPDATE, &s))
		return w->out->err;
	if (s.seen)
		return update_row(w, op, op->key, &s, false);
	enum err err = absent(w, op, &s);
	looked(&s);
	return err;
}

/* Columns of the key that are not in set come from key. */
static sqlite3_stmt *insert_statement(struct write *w, const struct write_op *op)
{
	size_t keys = op->key ? w->layout->key_count : 0, n = keys + op->set_count;
	sql_begin(w);
	buf_adds(&w->sql, w->abort ? STR("INSERT OR ABORT INTO ") : STR("INSERT INTO "));
	sql_name(&w->sql, w->layout->table);
	for (size_t i = 0; i < n; i++) {
		size_t column = i < keys ? w->layout->key[i] : op->set[i - keys].column;
		buf_adds(&w->sql, i ? STR(",") : STR("("));
		sql_name(&w->sql, w->layout->columns[column].name);
	}
	buf_adds(&w->sql, n ? STR(") VALUES") : STR(" DEFAULT VALUES"));
	for (size_t i = 0; i < n; i++)
		buf_addf(&w->sql, "%c?%zu", i ? ',' : '(', i + 1);
	if (n)
		buf_addc(&w->sql, ')');
	add_returning(w);
	return sql_end(w);
}

static enum err insert_row(struct write *w, const struct write_op *op)
{
	static const char what[] = "this insert";
	if (!w->rights->rulings[RULE_INSERT])
		return forbidden(w, what);
	sqlite3_stmt *stmt = insert_statement(w, op);
	size_t keys = op->key ? w->layout->key_count : 0;
	if (!stmt || write_bind_cells(w, stmt, op->key, keys))
		return w->out->err;
	for (size_t i = 0; i < op->set_count; i++)
		if (value_bind(stmt, (int)(keys + i) + 1, op->set[i].value))
			return write_refuse_sqlite(w);
	bool written = false;
	if (take_key(w, stmt, &written))
		return w->out->err;
	return written ? judge(w, RULE_INSERT, what) : ignored(w);
}

/* The key of an upsert, from key or out of set. False: the table makes some of it. */
static bool upsert_key(const struct write *w, const struct write_op *op, struct value *key)
{
	size_t found = 0;
	for (size_t i = 0; i < w->layout->key_count; i++) {
		if (op->key) {
			key[i] = op->key[i];
			found++;
		}
		for (size_t j = 0; !op->key && j < op->set_count; j++)
			if (op->set[j].column == w->layout->key[i]) {
				key[i] = op->set[j].value;
				found++;
			}
	}
	return found == w->layout->key_count;
}

static enum err apply_insert(struct write *w, const struct write_op *op)
{
	struct value key[KEY_COLUMNS_MAX];
	struct sight s = {0};
	if (!op->upsert || !upsert_key(w, op, key))
		return op->if_seq || op->if_old ? absent(w, op, &s) : insert_row(w, op);
	if (look(w, key, RULE_UPDATE, &s))
		return w->out->err;
	if (s.seen)
		return update_row(w, op, key, &s, true);
	looked(&s);
	s.there = false;
	return op->if_seq || op->if_old ? absent(w, op, &s) : insert_row(w, op);
}

static sqlite3_stmt *delete_statement(struct write *w)
{
	sql_begin(w);
	buf_adds(&w->sql, STR("DELETE FROM "));
	sql_name(&w->sql, w->layout->table);
	add_where_key(w, '?');
	return sql_end(w);
}

static enum err delete_row(struct write *w, const struct write_op *op)
{
	bool row = false;
	sqlite3_stmt *stmt = delete_statement(w);
	if (!stmt || write_bind_cells(w, stmt, op->key, w->layout->key_count) ||
		write_step(w, stmt, &row))
		return w->out->err;
	sqlite3_reset(stmt);
	return sqlite3_changes(w->db) ? ERR_OK : ignored(w);
}

static enum err apply_delete(struct write *w, const struct write_op *op)
{
	struct sight s = {0};
	if (look(w, op->key, RULE_DELETE, &s))
		return w->out->err;
	enum err err = s.seen ? check_condition(w, op, &s) : absent(w, op, &s);
	if (!err && !s.allowed)
		err = forbidden(w, "this delete");
	struct buf key = BUF_INIT(WRITE_ANSWER_MAX);
	if (!err)
		write_key(w, &key, &s);
	looked(&s);
	int64_t seq = 0, floor = 0;
	if (!err && !(err = delete_row(w, op)) && !(err = write_head(w, &seq, &floor)))
		add_result(w, buf_str(&key), NULL, seq);
	buf_free(&key);
	return err;
}

enum err write_apply(struct write *w, const struct write_op *op)
{
	switch (op->kind) {
	case WRITE_INSERT:
		return apply_insert(w, op);
	case WRITE_UPDATE:
		return apply_update(w, op);
	case WRITE_DELETE:
		return apply_delete(w, op);
	}
	assert(false);
	return ERR_INTERNAL;
}
