#include "dataset/write_parts.h"

#include "core/json_out.h"
#include "core/log.h"

#include <ctype.h>
#include <stdarg.h>

enum { ALSO_MAX = 1 << 20 };

void write_forget_refusal(struct write *w)
{
	w->out->err = ERR_OK;
	w->out->problem = (struct wish_problem){0};
	buf_free(&w->out->also);
	w->out->also = BUF_INIT(ALSO_MAX);
}

/* The members of data that this module adds: {"op": 3, …}. */
static struct json_out also(struct write *w)
{
	struct json_out o = JSON_OUT(&w->out->also);
	o.comma = w->out->also.n > 0;
	return o;
}

static void also_op(struct write *w, size_t op)
{
	struct json_out o = also(w);
	if (op < w->op_count)
		json_int(&o, "op", (int64_t)op);
}

enum err write_refuse(struct write *w, enum err err, const char *reason, const char *format, ...)
{
	struct wish_problem *p = &w->out->problem;
	va_list args;
	va_start(args, format);
	vsnprintf(p->message, sizeof(p->message), format, args);
	va_end(args);
	w->out->err = err;
	p->why.reason = reason;
	p->why.message = p->message;
	return err;
}

enum err write_refuse_member(struct write *w, size_t op, enum err err, const char *reason,
	const char *member, struct str name, const char *message)
{
	struct wish_problem *p = &w->out->problem;
	int cut = name.n < 64 ? (int)name.n : 64;
	int n = snprintf(p->field, sizeof(p->field), "ops[%zu]%s%s%s%.*s", op, *member ? "." : "",
		member, name.n ? "." : "", cut, name.n ? name.p : "");
	if (n >= (int)sizeof(p->field))
		n = (int)sizeof(p->field) - 1;
	p->why.field = (struct str){p->field, (size_t)n};
	return write_refuse(w, err, reason, "%s %s.", p->field, message);
}

/* ---- constraints ---- */

static enum err constraint(struct write *w, const char *kind, const char *message)
{
	also_op(w, w->at);
	struct json_out o = also(w);
	json_text(&o, "constraint", kind);
	return write_refuse(w, ERR_CONFLICT, "constraint", "%s", message);
}

/* Columns that a message of SQLite's names: each once, and none that is hidden from the caller. */
struct naming {
	size_t count;
	size_t columns[LAYOUT_COLUMNS_MAX];
};

static void name_column(const struct write *w, struct naming *n, struct str name)
{
	size_t column = layout_find(w->layout, name);
	if (column == SIZE_MAX || !w->rights->visible[column] || n->count == LAYOUT_COLUMNS_MAX)
		return;
	for (size_t i = 0; i < n->count; i++)
		if (n->columns[i] == column)
			return;
	n->columns[n->count++] = column;
}

/* "table.a, table.b": how SQLite names the columns of UNIQUE and NOT NULL. False: of another table. */
static bool name_listed(const struct write *w, struct naming *n, struct str list)
{
	struct str table = w->layout->table;
	while (list.n) {
		if (!str_starts(list, table) || list.n == table.n || list.p[table.n] != '.')
			return false;
		list.p += table.n + 1;
		list.n -= table.n + 1;
		size_t end = 0;
		while (end < list.n &&
			!(str_starts((struct str){list.p + end, list.n - end}, STR(", ")) &&
				str_starts(
					(struct str){list.p + end + 2, list.n - end - 2}, table)))
			end++;
		name_column(w, n, (struct str){list.p, end});
		list = end == list.n ? (struct str){0}
				     : (struct str){list.p + end + 2, list.n - end - 2};
	}
	return true;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Every word of an expression that is a column's name. */
static void name_words(const struct write *w, struct naming *n, const char *text)
{
	while (*text) {
		size_t end = 0;
		while (is_word(text[end]))
			end++;
		if (end)
			name_column(w, n, (struct str){text, end});
		text += end ? end : 1;
	}
}

/* field is the only column, or their names with commas between; columns has them exactly. */
static void also_columns(struct write *w, const struct naming *n)
{
	struct wish_problem *p = &w->out->problem;
	struct buf list = BUF_INIT(sizeof(p->field) - 1);
	struct json_out o = also(w);
	json_open(&o, "columns", '[');
	for (size_t i = 0; i < n->count; i++) {
		struct str name = w->layout->columns[n->columns[i]].name;
		if (i)
			buf_addc(&list, ',');
		buf_adds(&list, name);
		json_str(&o, NULL, name);
	}
	json_close(&o, ']');
	if (n->count && !list.err) {
		memcpy(p->field, list.p, list.n);
		p->why.field = (struct str){p->field, list.n};
	}
	buf_free(&list);
}

static const char *behind(const char *text, const char *beginning)
{
	size_t n = strlen(beginning);
	return strncmp(text, beginning, n) == 0 ? text + n : NULL;
}

static enum err refuse_listed(
	struct write *w, const char *kind, const char *list, const char *message)
{
	struct naming n = {0};
	bool here = list && name_listed(w, &n, str_of(list));
	enum err err =
		constraint(w, kind, here ? message : "A constraint of the database refuses this.");
	if (here)
		also_columns(w, &n);
	return err;
}

/* The name of the constraint, or its text when it has none; where columns are hidden, the text may speak of them. */
static enum err refuse_check(struct write *w, const char *check)
{
	bool all = true;
	for (size_t i = 0; i < w->layout->count; i++)
		all = all && w->rights->visible[i];
	struct naming n = {0};
	if (check)
		name_words(w, &n, check);
	char message[WHERE_MESSAGE_MAX];
	snprintf(message, sizeof(message), "A check of the table refuses this%s%.100s.",
		check && all ? ": " : "", check && all ? check : "");
	enum err err = constraint(w, "check", message);
	also_columns(w, &n);
	return err;
}

/* "cannot store TEXT value in INTEGER column todos.n" */
static enum err refuse_type(struct write *w, const char *text)
{
	const char *list = strstr(text, " column ");
	return refuse_listed(w, "type", list ? list + 8 : NULL,
		"This column does not take a value of this type.");
}

enum err write_refuse_foreign_key(struct write *w)
{
	struct naming n = {0};
	size_t columns[LAYOUT_COLUMNS_MAX];
	size_t count = w->at < w->op_count ? write_foreign_columns(w, columns) : 0;
	write_forget_refusal(w); /* of what that has asked */
	for (size_t i = 0; i < count; i++)
		name_column(w, &n, w->layout->columns[columns[i]].name);
	enum err err = constraint(w, "foreign_key",
		"A row that this refers to is not there, or this row is referred to.");
	also_columns(w, &n);
	return err;
}

static enum err refuse_constraint(struct write *w, int code, const char *text)
{
	switch (code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return refuse_listed(w, "unique", behind(text, "UNIQUE constraint failed: "),
			"Another row has this value already.");
	case SQLITE_CONSTRAINT_NOTNULL:
		return refuse_listed(w, "not_null", behind(text, "NOT NULL constraint failed: "),
			"This column needs a value.");
	case SQLITE_CONSTRAINT_CHECK:
		return refuse_check(w, behind(text, "CHECK constraint failed: "));
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return write_refuse_foreign_key(w);
	case SQLITE_CONSTRAINT_DATATYPE:
		return refuse_type(w, text);
	case SQLITE_CONSTRAINT_TRIGGER: /* what the table's owner wrote into RAISE() */
		return constraint(w, "trigger", text);
	default:
		return constraint(w, "other", "A constraint of the database refuses this.");
	}
}

/* An expression that fails with these values, as one over JSON that is none, would do so again. */
enum err write_refuse_values(struct write *w)
{
	log_warn("dataset_write_failed", LOG_TEXT("why", sqlite3_errmsg(w->db)));
	return constraint(
		w, "other", "An expression of the table or of its rules fails with these values.");
}

enum err write_refuse_sqlite(struct write *w)
{
	int code = sqlite3_extended_errcode(w->db);
	const char *text = sqlite3_errmsg(w->db);
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		return refuse_constraint(w, code, text);
	case SQLITE_MISMATCH:
		return refuse_type(w, "");
	case SQLITE_TOOBIG:
		return write_refuse(
			w, ERR_TOO_LARGE, NULL, "A row would be larger than the database takes.");
	}
	if ((code & 0xff) == SQLITE_INTERRUPT)
		return write_refuse(w, ERR_TIMEOUT, "query_too_slow",
			"The write took longer than %u ms, and nothing of it was done.",
			w->wish->limit_ms);
	log_warn("dataset_write_failed", LOG_TEXT("why", text), LOG_INT("code", code));
	return write_refuse(w, ERR_OVERLOADED, "dataset_unavailable",
		"The database cannot be written to just now; nothing of it was done.");
}
