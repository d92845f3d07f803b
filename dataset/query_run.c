#include "core/json_scan.h"
#include "core/mem.h"
#include "dataset/capture.h"
#include "dataset/query_parts.h"

#include <inttypes.h>
#include <stdlib.h>

/* While one query runs. */
struct query {
	struct reading *reading;
	const struct query_wish *wish;
	struct shape *shape;
	struct position at;
	struct wish_problem *problem;
	size_t term_count;
	struct order_term terms[SHAPE_TERMS_MAX];
	bool whole[LAYOUT_COLUMNS_MAX]; /* cells that a range is asked of */
	struct range {
		size_t offset, length;
	} ranges[LAYOUT_COLUMNS_MAX];
	struct buf rows, cursor;
	int64_t count;
};

/* Ranges. */

static enum err bad_range(struct query *q, const char *what)
{
	return wish_refuse(q->problem, ERR_PARAMS, NULL, "ranges", "ranges %s", what);
}

static enum err read_range(struct query *q, struct str name, struct str json, int64_t *total)
{
	const struct shape *s = q->shape;
	char decoded[LAYOUT_COLUMNS_MAX * 4];
	size_t n = 0, at = 0;
	int64_t offset = -1, length = -1;
	struct json_walk w = json_walk(json);
	struct str first, second;
	if (name.n > sizeof(decoded) || json_decode(name, decoded, &n) != ERR_OK)
		return bad_range(q, "names a column that is not there");
	size_t column = layout_find(s->layout, (struct str){decoded, n});
	while (at < s->column_count && s->columns[at] != column)
		at++;
	if (at == s->column_count)
		return wish_refuse(q->problem, ERR_PARAMS, "no_such_column", "ranges",
			"ranges names a column that is not asked for");
	if (json_kind(json) != JSON_ARRAY || !json_next(&w, NULL, &first) ||
		!json_next(&w, NULL, &second) || json_next(&w, NULL, NULL) ||
		json_decode_int(first, &offset) || json_decode_int(second, &length) || offset < 0 ||
		length < 1)
		return bad_range(q, "has [offset, length] for each column");
	if (length > QUERY_RANGE_BYTES || (*total += length) > QUERY_RANGE_BYTES) {
		q->problem->why.limit = QUERY_RANGE_BYTES;
		return wish_refuse(q->problem, ERR_TOO_LARGE, NULL, "ranges",
			"ranges has more than %d bytes together", QUERY_RANGE_BYTES);
	}
	q->whole[at] = true;
	q->ranges[at] = (struct range){(size_t)offset, (size_t)length};
	return ERR_OK;
}

static enum err read_ranges(struct query *q)
{
	struct json_walk w = json_walk(q->wish->ranges);
	struct str name, json;
	int64_t total = 0;
	enum err err = ERR_OK;
	if (!q->wish->ranges.n)
		return ERR_OK;
	if (json_once(q->wish->ranges) != ERR_OK)
		return bad_range(q, "names a column twice");
	while (!err && json_next(&w, &name, &json))
		err = read_range(q, name, json, &total);
	return err;
}

/* A part of a text or blob is bytes. */
static struct value cut(struct value v, struct range r)
{
	if (v.kind != VALUE_TEXT && v.kind != VALUE_BLOB)
		return v;
	size_t from = r.offset < v.bytes.n ? r.offset : v.bytes.n, left = v.bytes.n - from;
	return (struct value){
		.kind = VALUE_BLOB, .bytes = {v.bytes.p + from, left < r.length ? left : r.length}};
}

/* Rows. */

static enum err unavailable(struct query *q, const char *what)
{
	return wish_refuse(q->problem, ERR_OVERLOADED, "dataset_unavailable", "", "%s", what);
}

static enum err failed(struct query *q, enum err err)
{
	switch (err) {
	case ERR_TIMEOUT:
		return wish_refuse(q->problem, ERR_TIMEOUT, "query_too_slow", "",
			"the query took too long: narrow its filter, or have an index made");
	case ERR_NOT_FOUND:
		return unavailable(q, "the dataset's rule does not fit its table any more");
	case ERR_INTERNAL:
		return unavailable(q, "the dataset's rule fails on a row");
	default:
		return unavailable(q, "the database cannot be read now");
	}
}

static void add_from(struct buf *sql, const struct shape *s)
{
	const struct layout *l = s->layout;
	buf_adds(sql, STR(" FROM main."));
	sql_name(sql, l->table);
	buf_adds(sql, STR(" AS "));
	sql_name(sql, l->table);
	buf_adds(sql, STR(" WHERE "));
	for (size_t i = 0; i < l->key_count && l->null_keys; i++) {
		shape_column_sql(sql, s, l->key[i]); /* without a key it is no row of a dataset */
		buf_adds(sql, STR(" IS NOT NULL AND "));
	}
	buf_adds(sql, s->predicate);
}

/* Columns of the answer, then the values of the order. */
static void add_select(struct buf *sql, const struct query *q)
{
	const struct shape *s = q->shape;
	buf_adds(sql, STR("SELECT "));
	for (size_t i = 0; i < s->column_count + q->term_count; i++) {
		if (i)
			buf_adds(sql, STR(", "));
		shape_column_sql(sql, s,
			i < s->column_count ? s->columns[i] : q->terms[i - s->column_count].column);
	}
	add_from(sql, s);
	if (q->at.count) {
		buf_adds(sql, STR(" AND "));
		position_sql(sql, s, &q->at);
	}
	shape_order_sql(sql, s);
	buf_adds(sql, STR(" LIMIT :rows"));
}

static enum err prepare(struct query *q, struct buf *sql, sqlite3_stmt **ret)
{
	enum err err = sql->err;
	if (!err)
		err = reading_statement(q->reading, buf_str(sql), ret);
	buf_free(sql);
	if (!err)
		err = shape_bind(*ret, q->shape->params, q->shape->param_count);
	return err;
}

/* False: the page is full without it. */
static bool add_row(struct query *q, sqlite3_stmt *stmt, size_t before)
{
	const struct shape *s = q->shape;
	struct value cells[LAYOUT_COLUMNS_MAX];
	size_t n = q->rows.n;
	for (size_t i = 0; i < s->column_count; i++) {
		cells[i] = value_of(stmt, (int)i);
		if (q->whole[i])
			cells[i] = cut(cells[i], q->ranges[i]);
	}
	if (before)
		buf_addc(&q->rows, ',');
	value_write_row_with(&q->rows, cells, s->column_count, q->whole);
	if (!before || q->rows.n <= QUERY_PAGE_BYTES)
		return true;
	buf_cut(&q->rows, n);
	return false;
}

static enum err keep_position(struct query *q, sqlite3_stmt *stmt)
{
	struct position at = {.count = q->term_count};
	for (size_t i = 0; i < at.count; i++)
		at.values[i] = value_of(stmt, (int)(q->shape->column_count + i));
	buf_cut(&q->cursor, 0);
	return cursor_write(&q->cursor, q->shape, &at);
}

/* The cursor stays when there is more. */
static enum err read_page(struct query *q, sqlite3_stmt *stmt)
{
	int64_t count = 0;
	enum err kept = ERR_OK;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (count == q->wish->limit || !add_row(q, stmt, (size_t)count)) {
			/* the values of a row that are too long for a cursor only matter when it is wanted */
			return !kept
				? ERR_OK
				: wish_refuse(q->problem, ERR_TOO_LARGE, NULL, "order",
					  "order has a value that is too long to go on behind it");
		}
		kept = keep_position(q, stmt);
		count++;
	}
	buf_cut(&q->cursor, 0);
	return rc == SQLITE_DONE ? ERR_OK : failed(q, reading_failed(q->reading));
}

static enum err read_rows(struct query *q)
{
	struct buf sql = BUF_INIT(1 << 23);
	sqlite3_stmt *stmt = NULL;
	add_select(&sql, q);
	enum err err = prepare(q, &sql, &stmt);
	if (!err)
		err = position_bind(stmt, &q->at);
	if (!err) {
		int index = sqlite3_bind_parameter_index(stmt, ":rows");
		sqlite3_bind_int64(stmt, index, q->wish->limit + 1);
		err = read_page(q, stmt);
	} else {
		err = failed(q, err);
	}
	reading_release(stmt);
	return err;
}

static enum err count_rows(struct query *q)
{
	struct buf sql = BUF_INIT(1 << 23);
	sqlite3_stmt *stmt = NULL;
	if (!q->wish->count)
		return ERR_OK;
	buf_adds(&sql, STR("SELECT count(*)"));
	add_from(&sql, q->shape);
	enum err err = prepare(q, &sql, &stmt);
	if (!err && sqlite3_step(stmt) == SQLITE_ROW)
		q->count = sqlite3_column_int64(stmt, 0);
	else
		err = failed(q, err ? err : reading_failed(q->reading));
	reading_release(stmt);
	return err;
}

/* The answer. */

static enum err write_answer(struct query *q, struct buf *result)
{
	const struct shape *s = q->shape;
	const struct head *head = reading_head(q->reading);
	struct json_out o = JSON_OUT(result);
	char seq[24];
	json_open(&o, NULL, '{');
	json_open(&o, "columns", '[');
	for (size_t i = 0; i < s->column_count; i++)
		json_str(&o, NULL, s->layout->columns[s->columns[i]].name);
	json_close(&o, ']');
	json_open(&o, "rows", '[');
	buf_adds(result, buf_str(&q->rows));
	json_close(&o, ']');
	json_str_if(&o, "cursor", buf_str(&q->cursor));
	snprintf(seq, sizeof(seq), "%" PRId64, head->seq);
	json_text(&o, "as_of", seq);
	json_text(&o, "epoch", head->epoch);
	json_int(&o, "schema_version", s->layout->version);
	if (q->wish->count)
		json_int(&o, "count", q->count);
	json_close(&o, '}');
	return result->err;
}

static enum err run(struct query *q, char *room, struct buf *result)
{
	q->term_count = shape_terms(q->shape, q->terms);
	enum err err = read_ranges(q);
	if (!err && q->wish->cursor.n &&
		cursor_read(q->wish->cursor, q->shape, room, &q->at) != ERR_OK)
		err = wish_refuse(q->problem, ERR_PARAMS, NULL, "cursor",
			"cursor is none of this query: begin again without one");
	if (!err)
		err = read_rows(q);
	if (!err)
		err = count_rows(q);
	if (!err && write_answer(q, result))
		err = wish_refuse(q->problem, ERR_TOO_LARGE, NULL, "columns",
			"a row is too long with its names");
	return err;
}

enum err query_run(struct reading *r, const struct definition *d, const struct layout *l,
	const struct principal *who, const struct query_wish *wish, struct query_answer *ret)
{
	struct query *q = mem_new(struct query);
	*q = (struct query){.reading = r, .wish = wish, .problem = &ret->problem};
	q->rows = BUF_INIT(QUERY_PAGE_BYTES + 2 * CELL_BYTES_MAX);
	q->cursor = BUF_INIT(QUERY_CURSOR_MAX);
	ret->result = BUF_INIT(FRAME_MAX_BYTES);
	enum err err = shape_new(&wish->shape, d, l, who, &q->shape, &ret->problem);
	if (!err) {
		char *room = mem_alloc(wish->cursor.n + 1);
		err = run(q, room, &ret->result);
		free(room);
		shape_unref(&q->shape);
	}
	if (err)
		buf_free(&ret->result);
	buf_free(&q->rows);
	buf_free(&q->cursor);
	free(q);
	return err;
}
