#include "dataset/write_parts.h"

#include "dataset/capture.h"

/* SQLite says only that some foreign key has failed. Which one it was is looked up: of those that the op sets a column of,
 * each that has no row to refer to. */

static const struct value *set_value(
	const struct write *w, const struct write_op *op, size_t column)
{
	for (size_t i = 0; i < op->set_count; i++)
		if (op->set[i].column == column)
			return &op->set[i].value;
	for (size_t i = 0; op->key && op->kind == WRITE_INSERT && i < w->layout->key_count; i++)
		if (w->layout->key[i] == column)
			return &op->key[i];
	return NULL;
}

/* to n 0: the other table's own key, which its rowid is if it is a number. */
static bool refers_to_row(struct write *w, struct str table, struct str to, struct value value)
{
	bool row = false;
	buf_cut(&w->sql, 0);
	buf_adds(&w->sql, STR("SELECT 1 FROM "));
	sql_name(&w->sql, table);
	buf_adds(&w->sql, STR(" WHERE "));
	if (to.n)
		sql_name(&w->sql, to);
	else
		buf_adds(&w->sql, STR("rowid"));
	buf_adds(&w->sql, STR("=?1"));
	sqlite3_stmt *stmt = w->sql.err ? NULL : write_statement(w, w->sql.p);
	if (!stmt || value_bind(stmt, 1, value) || write_step(w, stmt, &row))
		return false;
	sqlite3_reset(stmt);
	return row;
}

static struct str text_of(sqlite3_stmt *stmt, int column)
{
	return value_of(stmt, column).bytes;
}

static size_t find_columns(struct write *w, size_t *columns)
{
	const struct write_op *op = &w->ops[w->at];
	size_t n = 0;
	bool row = false;
	sqlite3_stmt *stmt = write_statement(
		w, "SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list(?1)");
	if (!stmt)
		return 0;
	sqlite3_bind_text(stmt, 1, w->layout->table.p, (int)w->layout->table.n, SQLITE_STATIC);
	while (n < LAYOUT_COLUMNS_MAX && !write_step(w, stmt, &row) && row) {
		size_t column = layout_find(w->layout, text_of(stmt, 0));
		const struct value *value = column == SIZE_MAX ? NULL : set_value(w, op, column);
		if (value && value->kind != VALUE_NULL &&
			!refers_to_row(w, text_of(stmt, 1), text_of(stmt, 2), *value))
			columns[n++] = column;
	}
	sqlite3_reset(stmt);
	return n;
}

/* What SQLite tells as a table, it makes at first, which is nothing that client's data may do. */
size_t write_foreign_columns(struct write *w, size_t *columns)
{
	write_guard(w, false);
	size_t n = find_columns(w, columns);
	write_guard(w, true);
	return n;
}
