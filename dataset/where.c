#include "dataset/where.h"

#include "core/json_out.h"
#include "core/json_scan.h"
#include "core/mem.h"
#include "dataset/capture.h"

#include <stdarg.h>
#include <stdlib.h>

enum term_shape { TERM_COMPARE, TERM_IN, TERM_LIKE, TERM_NULL, TERM_NOT, TERM_JOIN };

static const struct term {
	const char *word, *sql;
	enum term_shape shape;
	size_t operands; /* 0: any number */
} terms[] = {
	{"=", " = ", TERM_COMPARE, 2},
	{"!=", " <> ", TERM_COMPARE, 2},
	{"<", " < ", TERM_COMPARE, 2},
	{"<=", " <= ", TERM_COMPARE, 2},
	{">", " > ", TERM_COMPARE, 2},
	{">=", " >= ", TERM_COMPARE, 2},
	{"in", " IN (", TERM_IN, 2},
	{"like", " LIKE ", TERM_LIKE, 2},
	{"is-null", " IS NULL", TERM_NULL, 1},
	{"not", "NOT ", TERM_NOT, 1},
	{"and", " AND ", TERM_JOIN, 0},
	{"or", " OR ", TERM_JOIN, 0},
};

static const struct term *operator_of(struct str word)
{
	if (json_kind(word) != JSON_STRING)
		return NULL;
	for (size_t i = 0; i < sizeof(terms) / sizeof(*terms); i++)
		if (json_string_is((struct str){word.p + 1, word.n - 2}, terms[i].word))
			return &terms[i];
	return NULL;
}

enum err wish_refuse(struct wish_problem *p, enum err err, const char *reason, const char *field,
	const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(p->message, sizeof(p->message), format, args);
	va_end(args);
	snprintf(p->field, sizeof(p->field), "%s", field);
	p->why = (struct refusal){
		.reason = reason, .message = p->message, .field = str_of(p->field)};
	return err;
}

/* Into one form. */

struct canon {
	const struct layout *l;
	const bool *visible;
	struct wish_problem *problem;
	char *arena; /* for one value or name at a time */
	unsigned terms, values;
	size_t depth;
	size_t path[WHERE_DEPTH_MAX + 3]; /* places in the arrays, from the outermost */
};

static enum err refuse(struct canon *c, enum err err, const char *reason, const char *what)
{
	char field[FIELD_PATH_MAX] = "where";
	size_t n = strlen(field);
	for (size_t i = 0; i < c->depth && n < sizeof(field); i++)
		n += (size_t)snprintf(field + n, sizeof(field) - n, "[%zu]", c->path[i]);
	return wish_refuse(c->problem, err, reason, field, "%s %s", field, what);
}

static enum err too_long(struct canon *c, const char *what, int64_t limit)
{
	enum err err = refuse(c, ERR_TOO_LARGE, "filter_too_long", what);
	c->problem->why.limit = limit;
	return err;
}

/* Texts that will be sorted. */
struct texts {
	size_t count;
	char *p[WHERE_TERMS_MAX];
};

static void texts_free(struct texts *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->p[i]);
	free(t);
}

/* Takes what was written, or says why it could not be. */
static enum err texts_take(struct texts *t, enum err err, struct buf *b)
{
	err = err ? err : b->err;
	if (err)
		buf_free(b);
	else
		t->p[t->count++] = buf_take(b);
	return err;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their bytes, each once, a comma before each. */
static void texts_write(struct texts *t, struct buf *out, bool comma)
{
	qsort(t->p, t->count, sizeof(*t->p), by_text);
	for (size_t i = 0; i < t->count; i++) {
		if (i && strcmp(t->p[i], t->p[i - 1]) == 0)
			continue;
		if (i || comma)
			buf_addc(out, ',');
		buf_adds(out, str_of(t->p[i]));
	}
}

static size_t texts_different(struct texts *t)
{
	qsort(t->p, t->count, sizeof(*t->p), by_text);
	size_t n = t->count > 0;
	for (size_t i = 1; i < t->count; i++)
		n += strcmp(t->p[i], t->p[i - 1]) != 0;
	return n;
}

static enum err canon_column(struct canon *c, struct str json, struct buf *out)
{
	size_t n;
	if (json_kind(json) != JSON_STRING || json_decode(json, c->arena, &n) != ERR_OK)
		return refuse(c, ERR_PARAMS, NULL, "is no name of a column");
	size_t column = layout_find(c->l, (struct str){c->arena, n});
	if (column == SIZE_MAX || !c->visible[column])
		return refuse(c, ERR_PARAMS, "no_such_column", "names no column of this dataset");
	json_add_string(out, c->l->columns[column].name);
	return ERR_OK;
}

static enum err canon_value(
	struct canon *c, const struct term *op, struct str json, struct buf *out)
{
	struct value v;
	const char *why;
	if (++c->values > WHERE_VALUES_MAX)
		return too_long(c, "is one value too many", WHERE_VALUES_MAX);
	if (value_read(json, c->arena, &v, &why) != ERR_OK)
		return refuse(c, ERR_PARAMS, NULL, why);
	if (v.kind == VALUE_NULL)
		return refuse(c, ERR_PARAMS, NULL, "is null, which equals nothing: use is-null");
	if (op->shape == TERM_LIKE && v.kind != VALUE_TEXT)
		return refuse(c, ERR_PARAMS, NULL, "is a pattern, and has to be a text");
	if (op->shape == TERM_LIKE && v.bytes.n > WHERE_LIKE_MAX)
		return too_long(c, "is too long for a pattern", WHERE_LIKE_MAX);
	value_write(out, v);
	return ERR_OK;
}

/* ["in", column, [value, …]]; of one value it is ["=", column, value]. */
static enum err canon_in(
	struct canon *c, const struct term *op, struct str column, struct str list, struct buf *out)
{
	struct json_walk w = json_walk(list);
	struct buf name = BUF_INIT(WHERE_BYTES_MAX * 6);
	struct texts *texts = mem_new(struct texts);
	struct str item;
	enum err err = canon_column(c, column, &name);
	c->path[c->depth - 1] = 2;
	if (!err && json_kind(list) != JSON_ARRAY)
		err = refuse(c, ERR_PARAMS, NULL, "is no array of values");
	c->depth++;
	for (size_t i = 0; !err && json_next(&w, NULL, &item); i++) {
		struct buf b = BUF_INIT(WHERE_BYTES_MAX * 6);
		c->path[c->depth - 1] = i;
		err = texts_take(texts, canon_value(c, op, item, &b), &b);
	}
	c->depth--;
	if (!err) {
		bool one = texts_different(texts) == 1;
		buf_addf(out, one ? "[\"=\",%s," : "[\"in\",%s,[", name.p);
		texts_write(texts, out, false);
		buf_adds(out, one ? STR("]") : STR("]]"));
	}
	buf_free(&name);
	texts_free(texts);
	return err;
}

/* [op, column, value] and [op, column]. */
static enum err canon_term(
	struct canon *c, const struct term *op, const struct str *operands, struct buf *out)
{
	c->path[c->depth - 1] = 1;
	if (op->shape == TERM_IN)
		return canon_in(c, op, operands[0], operands[1], out);
	buf_addf(out, "[\"%s\",", op->word);
	enum err err = canon_column(c, operands[0], out);
	if (!err && op->operands == 2) {
		c->path[c->depth - 1] = 2;
		buf_addc(out, ',');
		err = canon_value(c, op, operands[1], out);
	}
	buf_addc(out, ']');
	return err;
}

static enum err canon_filter(struct canon *c, struct str json, struct buf *out);

/* An "and" in an "and" is as its operands alone, and so an "or" in an "or": seen behind the operand's own form, which
 * may have become one. */
static void texts_flatten(struct texts *t, const struct term *op)
{
	char *text = t->p[t->count - 1];
	struct json_walk w = json_walk(str_of(text));
	struct str item;
	json_next(&w, NULL, &item);
	if (operator_of(item) != op)
		return;
	t->count--;
	while (json_next(&w, NULL, &item))
		t->p[t->count++] = mem_copy(item);
	free(text);
}

static enum err gather(
	struct canon *c, const struct term *op, struct json_walk w, struct texts *texts)
{
	struct str item;
	enum err err = ERR_OK;
	for (size_t i = 1; !err && json_next(&w, NULL, &item); i++) {
		struct buf b = BUF_INIT(WHERE_BYTES_MAX * 8);
		c->path[c->depth - 1] = i;
		err = texts_take(texts, canon_filter(c, item, &b), &b);
		if (!err)
			texts_flatten(texts, op);
	}
	return err;
}

static enum err canon_join(
	struct canon *c, const struct term *op, struct json_walk w, struct buf *out)
{
	struct texts *texts = mem_new(struct texts);
	enum err err = gather(c, op, w, texts);
	if (!err && texts_different(texts) == 1) {
		buf_adds(out, str_of(texts->p[0]));
	} else if (!err) {
		buf_addf(out, "[\"%s\"", op->word);
		texts_write(texts, out, true);
		buf_addc(out, ']');
	}
	texts_free(texts);
	return err;
}

static enum err canon_not(struct canon *c, struct str json, struct buf *out)
{
	buf_adds(out, STR("[\"not\","));
	c->path[c->depth - 1] = 1;
	enum err err = canon_filter(c, json, out);
	buf_addc(out, ']');
	return err;
}

static enum err canon_filter(struct canon *c, struct str json, struct buf *out)
{
	struct json_walk w = json_walk(json), rest;
	struct str word, operands[2], more;
	if (json_kind(json) != JSON_ARRAY || !json_next(&w, NULL, &word))
		return refuse(c, ERR_PARAMS, NULL, "is no filter: an array with an operator first");
	if (c->depth >= WHERE_DEPTH_MAX)
		return too_long(c, "is nested too deep", WHERE_DEPTH_MAX);
	if (++c->terms > WHERE_TERMS_MAX)
		return too_long(c, "is one operator too many", WHERE_TERMS_MAX);
	const struct term *op = operator_of(word);
	c->path[c->depth++] = 0;
	rest = w;
	size_t count = 0;
	while (op && json_next(&w, NULL, &more))
		if (count++ < 2)
			operands[count - 1] = more;
	enum err err;
	if (!op)
		err = refuse(c, ERR_PARAMS, NULL,
			"is no operator; there are = != < <= > >= in like is-null not and or");
	else if (op->operands && count != op->operands)
		err = refuse(c, ERR_PARAMS, NULL,
			op->operands == 1 ? "takes one operand" : "takes a column and a value");
	else if (op->shape == TERM_JOIN)
		err = canon_join(c, op, rest, out);
	else if (op->shape == TERM_NOT)
		err = canon_not(c, operands[0], out);
	else
		err = canon_term(c, op, operands, out);
	c->depth--;
	return err;
}

enum err where_canon(struct str json, const struct layout *l, const bool *visible,
	struct buf *canon, struct wish_problem *ret_problem)
{
	struct canon c = {.l = l, .visible = visible, .problem = ret_problem};
	if (!json.n)
		return ERR_OK;
	if (json.n > WHERE_BYTES_MAX)
		return too_long(&c, "is too long", WHERE_BYTES_MAX);
	c.arena = mem_alloc(json.n);
	enum err err = canon_filter(&c, json_trim(json), canon);
	free(c.arena);
	return err ? err : canon->err;
}

/* Into SQL: what comes here is what was written above. */

struct compile {
	const struct layout *l;
	struct buf *sql;
	char *arena;
	size_t used, count;
	struct value *values;
	struct where_equal *equal;
};

static size_t add_column(struct compile *c, struct str json)
{
	size_t n = 0;
	(void)json_decode(json, c->arena + c->used, &n);
	size_t column = layout_find(c->l, (struct str){c->arena + c->used, n});
	sql_name(c->sql, c->l->table);
	buf_addc(c->sql, '.');
	sql_name(c->sql, c->l->columns[column].name);
	return column;
}

static struct value add_value(struct compile *c, struct str json)
{
	const char *why;
	struct value *v = &c->values[c->count++];
	(void)value_read(json, c->arena + c->used, v, &why);
	c->used += v->bytes.n;
	buf_addf(c->sql, ":w%zu", c->count);
	return *v;
}

static void add_filter(struct compile *c, struct str json, bool always);

/* Behind the operator: none is true of "and", and false of "or". */
static void add_join(struct compile *c, const struct term *op, struct json_walk w, bool always)
{
	struct str item;
	bool all = *op->word == 'a';
	size_t count = 0;
	while (json_next(&w, NULL, &item)) {
		if (count++)
			buf_adds(c->sql, str_of(op->sql));
		add_filter(c, item, always && all);
	}
	if (!count)
		buf_addc(c->sql, all ? '1' : '0');
}

static void add_in(struct compile *c, struct str list)
{
	struct json_walk w = json_walk(list);
	struct str item;
	for (size_t i = 0; json_next(&w, NULL, &item); i++) {
		if (i)
			buf_adds(c->sql, STR(", "));
		add_value(c, item);
	}
	buf_addc(c->sql, ')');
}

static void add_term(struct compile *c, const struct term *op, struct json_walk w, bool always)
{
	struct str column, operand;
	json_next(&w, NULL, &column);
	size_t at = add_column(c, column);
	buf_adds(c->sql, str_of(op->sql));
	if (!json_next(&w, NULL, &operand))
		return;
	if (op->shape == TERM_IN) {
		add_in(c, operand);
		return;
	}
	struct value v = add_value(c, operand);
	if (always && op == terms && c->equal->column == SIZE_MAX)
		*c->equal = (struct where_equal){at, v};
}

/* always: it holds of every row for which the whole filter does. */
static void add_filter(struct compile *c, struct str json, bool always)
{
	struct json_walk w = json_walk(json);
	struct str word = STR("null"), operand;
	json_next(&w, NULL, &word);
	const struct term *op = operator_of(word);
	buf_addc(c->sql, '(');
	if (op->shape == TERM_JOIN) {
		add_join(c, op, w, always);
	} else if (op->shape == TERM_NOT) {
		json_next(&w, NULL, &operand);
		buf_adds(c->sql, str_of(op->sql));
		add_filter(c, operand, false);
	} else {
		add_term(c, op, w, always);
	}
	buf_addc(c->sql, ')');
}

void where_sql(struct str canon, const struct layout *l, struct buf *sql, char *arena,
	struct value *values, size_t *ret_count, struct where_equal *ret_equal)
{
	struct compile c = {
		.l = l, .sql = sql, .arena = arena, .values = values, .equal = ret_equal};
	*ret_equal = (struct where_equal){.column = SIZE_MAX};
	if (canon.n)
		add_filter(&c, canon, true);
	else
		buf_addc(sql, '1');
	*ret_count = c.count;
}
