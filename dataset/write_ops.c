#include "dataset/write_parts.h"

#include "core/json_scan.h"
#include "core/mem.h"
#include "core/params.h"

#include <strings.h>

/* One op as it came. */
struct op_text {
	struct str op, key, set, condition;
	struct param_bool upsert;
};

static const struct field op_fields[] = {
	FIELD(struct op_text, op, STRING, true, 1, 16),
	FIELD(struct op_text, key, ARRAY, false, 0, WRITE_BYTES_MAX),
	FIELD(struct op_text, set, OBJECT, false, 0, WRITE_BYTES_MAX),
	{"if", FIELD_OBJECT, false, offsetof(struct op_text, condition), 0, WRITE_BYTES_MAX},
	FIELD(struct op_text, upsert, BOOL, false, 0, 0),
	{0},
};

struct condition_text {
	struct str seq, old;
};

static const struct field condition_fields[] = {
	FIELD(struct condition_text, seq, STRING, false, 1, 20),
	FIELD(struct condition_text, old, OBJECT, false, 0, WRITE_BYTES_MAX),
	{0},
};

static const char *const kinds[] = {"insert", "update", "delete"};

/* ---- which values a column takes ---- */

static bool type_has(struct str type, const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= type.n; i++)
		if (!strncasecmp(type.p + i, word, n))
			return true;
	return false;
}

/* By the affinity that SQLite gives a declared type (https://www.sqlite.org/datatype3.html, 3.1): SQLite itself would keep
 * a text in an INTEGER column, which whoever reads it does not expect. NULL: it takes this value. */
static const char *not_taken(const struct column *c, struct value v)
{
	bool number = v.kind == VALUE_INT || v.kind == VALUE_REAL;
	if (v.kind == VALUE_NULL)
		return NULL;
	if (type_has(c->type, "INT"))
		return number ? NULL : "takes a number";
	if (type_has(c->type, "CHAR") || type_has(c->type, "CLOB") || type_has(c->type, "TEXT"))
		return v.kind == VALUE_TEXT ? NULL : "takes a text";
	if (type_has(c->type, "BLOB") || !c->type.n)
		return NULL;
	if (type_has(c->type, "REAL") || type_has(c->type, "FLOA") || type_has(c->type, "DOUB"))
		return number ? NULL : "takes a number";
	return NULL;
}

/* ---- reading ---- */

/* All that is decoded from one JSON text is shorter than it, and each text is decoded once. */
static enum err read_value(struct write *w, size_t op, const char *member, struct str name,
	struct str json, struct value *ret)
{
	const char *why = NULL;
	if (value_read(json, w->arena, ret, &why))
		return write_refuse_member(w, op, ERR_PARAMS, NULL, member, name, why);
	w->arena += json.n;
	return ERR_OK;
}

/* The column of a member's name; hidden ones are none. */
static enum err find_column(
	struct write *w, size_t op, const char *member, struct str key, size_t *ret_column)
{
	struct str name = {w->arena, 0};
	if (json_decode(key, w->arena, &name.n))
		name.n = 0;
	w->arena += key.n;
	size_t column = layout_find(w->layout, name);
	if (column == SIZE_MAX || !w->rights->visible[column])
		return write_refuse_member(w, op, ERR_PARAMS, "no_such_column", member, name,
			"is no column of this dataset");
	*ret_column = column;
	return ERR_OK;
}

/* The members of set or old: each column once. */
static enum err read_cells(struct write *w, size_t op, const char *member, struct str json,
	bool writes, const struct write_cell **ret, size_t *ret_count)
{
	bool given[LAYOUT_COLUMNS_MAX] = {0};
	const struct write_cell *first = w->cells + w->cell_count;
	struct json_walk walk = json_walk(json);
	struct str key, text;
	while (json_next(&walk, &key, &text)) {
		struct write_cell *cell = w->cells + w->cell_count;
		enum err err = find_column(w, op, member, key, &cell->column);
		if (err)
			return err;
		const struct column *c = &w->layout->columns[cell->column];
		const char *why = given[cell->column] ? "is given twice" : NULL;
		given[cell->column] = true;
		if (!why && (err = read_value(w, op, member, c->name, text, &cell->value)))
			return err;
		if (!why && writes)
			why = c->generated ? "is made by the table" : not_taken(c, cell->value);
		if (why)
			return write_refuse_member(w, op, ERR_PARAMS, NULL, member, c->name, why);
		w->cell_count++;
	}
	*ret = first;
	*ret_count = (size_t)(w->cells + w->cell_count - first);
	return ERR_OK;
}

static enum err read_key(struct write *w, size_t op, struct str json, struct write_op *ret)
{
	struct value *key = w->values + w->value_count;
	size_t n = 0;
	struct json_walk walk = json_walk(json);
	struct str text;
	ret->key_json = json;
	while (json_next(&walk, NULL, &text)) {
		if (n == w->layout->key_count)
			return write_refuse_member(w, op, ERR_PARAMS, NULL, "key", STR(""),
				"has more values than the key has columns");
		enum err err = read_value(w, op, "key", STR(""), text, &key[n]);
		if (err)
			return err;
		const char *why = not_taken(&w->layout->columns[w->layout->key[n]], key[n]);
		if (why)
			return write_refuse_member(w, op, ERR_PARAMS, NULL, "key", STR(""), why);
		n++;
	}
	if (n < w->layout->key_count)
		return write_refuse_member(w, op, ERR_PARAMS, NULL, "key", STR(""),
			"has fewer values than the key has columns");
	w->value_count += n;
	ret->key = key;
	return ERR_OK;
}

static enum err read_condition(struct write *w, size_t op, struct str json, struct write_op *ret)
{
	struct condition_text text = {0};
	struct params_problem problem;
	enum err err = params_decode(json, condition_fields, &text, &problem);
	if (err)
		return write_refuse_member(w, op, err, NULL, "if", problem.field, problem.message);
	if (!text.seq.p == !text.old.p)
		return write_refuse_member(
			w, op, ERR_PARAMS, NULL, "if", STR(""), "has either seq or old");
	if (text.seq.p) {
		ret->if_seq = value_read_seq(text.seq, &ret->seq);
		return ret->if_seq ? ERR_OK
				   : write_refuse_member(w, op, ERR_PARAMS, NULL, "if", STR("seq"),
					     "is no position: a whole number as a string");
	}
	ret->if_old = true;
	return read_cells(w, op, "if.old", text.old, false, &ret->old, &ret->old_count);
}

/* What belongs to what. */
static enum err check_op(
	struct write *w, size_t at, const struct write_op *op, const struct op_text *text)
{
	const char *member = NULL, *why = NULL;
	if (op->upsert && op->kind != WRITE_INSERT)
		member = "upsert", why = "is for inserts";
	else if (op->kind != WRITE_INSERT && !op->key)
		member = "key", why = "is needed";
	else if (op->kind == WRITE_UPDATE && !op->set_count)
		member = "set", why = "is needed, with a column at least";
	else if (op->kind == WRITE_DELETE && text->set.p)
		member = "set", why = "is not for deletes";
	else if (op->kind == WRITE_INSERT && text->condition.p && !op->upsert)
		member = "if", why = "is not for inserts, unless with upsert";
	for (size_t i = 0; !why && op->kind == WRITE_INSERT && op->key && i < op->set_count; i++)
		if (w->layout->columns[op->set[i].column].key)
			member = "set", why = "has a column of the key, which is given in key";
	return why ? write_refuse_member(w, at, ERR_PARAMS, NULL, member, STR(""), why) : ERR_OK;
}

static enum err read_op(struct write *w, size_t at, struct str json)
{
	struct write_op *op = &w->ops[at];
	struct op_text text = {0};
	struct params_problem problem;
	if (json_kind(json) != JSON_OBJECT)
		return write_refuse_member(
			w, at, ERR_PARAMS, NULL, "", STR(""), "must be an object");
	enum err err = params_decode(json, op_fields, &text, &problem);
	if (err)
		return write_refuse_member(w, at, err, NULL, "", problem.field, problem.message);
	size_t kind = 0;
	while (kind < 3 && !str_is(text.op, kinds[kind]))
		kind++;
	if (kind == 3)
		return write_refuse_member(
			w, at, ERR_PARAMS, NULL, "op", STR(""), "must be insert, update or delete");
	op->kind = (enum write_kind)kind;
	op->upsert = text.upsert.yes;
	if (text.key.p && (err = read_key(w, at, text.key, op)))
		return err;
	if (text.set.p &&
		(err = read_cells(w, at, "set", text.set, true, &op->set, &op->set_count)))
		return err;
	if (text.condition.p && (err = read_condition(w, at, text.condition, op)))
		return err;
	return check_op(w, at, op, &text);
}

/* How many values there can be at most: each has a comma or a bracket before it, and each member a colon. */
static size_t count_of(struct str json, char a, char b)
{
	size_t n = 1;
	for (size_t i = 0; i < json.n; i++)
		n += json.p[i] == a || json.p[i] == b;
	return n;
}

enum err write_read_ops(struct write *w)
{
	struct str json = w->wish->ops, item;
	struct json_walk walk = json_walk(json);
	size_t count = 0;
	while (json_next(&walk, NULL, NULL))
		count++;
	if (!count)
		return write_refuse(w, ERR_PARAMS, NULL, "ops must not be empty");
	if (count > WRITE_OPS_MAX) {
		w->out->problem.why.limit = WRITE_OPS_MAX;
		return write_refuse(
			w, ERR_TOO_LARGE, NULL, "There are more than %d ops.", WRITE_OPS_MAX);
	}
	w->ops = mem_alloc(count * sizeof(*w->ops));
	w->values = mem_alloc(count_of(json, ',', '[') * sizeof(*w->values));
	w->cells = mem_alloc(count_of(json, ':', ':') * sizeof(*w->cells));
	w->arena = w->arena_start = mem_alloc(json.n);
	walk = json_walk(json);
	enum err err = ERR_OK;
	for (; !err && json_next(&walk, NULL, &item); w->op_count++)
		err = read_op(w, w->op_count, item);
	return err;
}

void write_free_ops(struct write *w)
{
	free(w->ops);
	free(w->values);
	free(w->cells);
	free(w->arena_start);
}
