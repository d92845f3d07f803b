#include "dataset/shape.h"

#include "auth/b64url.h"
#include "core/json_scan.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/record.h"
#include "dataset/caller.h"
#include "dataset/capture.h"
#include "dataset/rule.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
	TEXT_MAX = 1 << 20,    /* of one predicate: a rule and a filter, with their names in full */
	SHAPE_HASH_BYTES = 16, /* 22 digits */
	SHAPE_FORMAT_VERSION = 1 /* of what is hashed */
};

struct counted {
	struct shape s;
	atomic_int refs;
	char *values; /* of the filter */
	char *caller; /* the caller's values, and names of columns of depends */
	struct str where;
};

/* While a shape is made. */
struct making {
	struct counted *c;
	const struct principal *who;
	struct rule *rule;
	struct buf caller; /* texts, whose addresses count only when all are there */
	struct where_equal equal;
	bool visible[LAYOUT_COLUMNS_MAX];
	struct wish_problem *problem;
};

/* Columns and order. */

static enum err find_column(
	struct making *m, struct str json, const char *field, bool minus, struct order_term *ret)
{
	const struct layout *l = m->c->s.layout;
	char name[LAYOUT_COLUMNS_MAX * 4];
	size_t n = 0;
	if (json_kind(json) != JSON_STRING || json.n > sizeof(name) ||
		json_decode(json, name, &n) != ERR_OK)
		return wish_refuse(
			m->problem, ERR_PARAMS, NULL, field, "%s is no name of a column", field);
	ret->descending = minus && n && *name == '-';
	size_t skip = ret->descending;
	ret->column = layout_find(l, (struct str){name + skip, n - skip});
	return ret->column != SIZE_MAX && m->visible[ret->column]
		? ERR_OK
		: wish_refuse(m->problem, ERR_PARAMS, "no_such_column", field,
			  "%s names no column of this dataset", field);
}

static bool has_column(const struct shape *s, size_t column)
{
	for (size_t i = 0; i < s->column_count; i++)
		if (s->columns[i] == column)
			return true;
	return false;
}

static enum err read_columns(struct making *m, struct str json)
{
	struct shape *s = &m->c->s;
	struct json_walk w = json_walk(json);
	struct str item;
	struct order_term term;
	char field[32];
	if (json_kind(json) != JSON_ARRAY)
		return wish_refuse(
			m->problem, ERR_PARAMS, NULL, "columns", "columns is an array of names");
	for (size_t i = 0; json_next(&w, NULL, &item); i++) {
		snprintf(field, sizeof(field), "columns[%zu]", i);
		enum err err = find_column(m, item, field, false, &term);
		if (err)
			return err;
		if (has_column(s, term.column))
			return wish_refuse(m->problem, ERR_PARAMS, NULL, field,
				"%s is there a second time", field);
		s->columns[s->column_count++] = term.column;
	}
	return ERR_OK;
}

/* Those of the key always, at the end when nobody has asked for them: whoever has rows can tell them apart. */
static enum err choose_columns(struct making *m, struct str json)
{
	struct shape *s = &m->c->s;
	s->columns = mem_alloc(s->layout->count * sizeof(*s->columns));
	enum err err = ERR_OK;
	if (json.n)
		err = read_columns(m, json);
	else
		for (size_t i = 0; i < s->layout->count; i++)
			if (m->visible[i])
				s->columns[s->column_count++] = i;
	for (size_t i = 0; i < s->layout->key_count; i++)
		if (!has_column(s, s->layout->key[i]))
			s->columns[s->column_count++] = s->layout->key[i];
	return err;
}

/* "title", "-title" or {"column": "title", "desc": true} */
static enum err read_term(
	struct making *m, struct str json, const char *field, struct order_term *ret)
{
	struct json_walk w = json_walk(json);
	struct str key, value, name = {0};
	bool known = true, descending = false;
	if (json_kind(json) != JSON_OBJECT)
		return find_column(m, json, field, true, ret);
	while (json_next(&w, &key, &value)) {
		enum json_kind kind = json_kind(value);
		if (json_string_is(key, "column") && !name.n)
			name = value;
		else if (json_string_is(key, "desc") && (kind == JSON_TRUE || kind == JSON_FALSE))
			descending = kind == JSON_TRUE;
		else
			known = false;
	}
	if (!known || !name.n)
		return wish_refuse(m->problem, ERR_PARAMS, NULL, field,
			"%s has a column, and may have desc: true or false", field);
	enum err err = find_column(m, name, field, false, ret);
	ret->descending = descending;
	return err;
}

static enum err read_order(struct making *m, struct str json)
{
	struct shape *s = &m->c->s;
	struct json_walk w = json_walk(json);
	struct str item;
	char field[32];
	if (!json.n)
		return ERR_OK;
	if (json_kind(json) != JSON_ARRAY)
		return wish_refuse(
			m->problem, ERR_PARAMS, NULL, "order", "order is an array of columns");
	s->order = mem_alloc(SHAPE_ORDER_MAX * sizeof(*s->order));
	for (size_t i = 0; json_next(&w, NULL, &item); i++) {
		struct order_term term = {0};
		snprintf(field, sizeof(field), "order[%zu]", i);
		if (i == SHAPE_ORDER_MAX) {
			enum err err = wish_refuse(m->problem, ERR_TOO_LARGE, NULL, field,
				"%s is one column too many", field);
			m->problem->why.limit = SHAPE_ORDER_MAX;
			return err;
		}
		enum err err = read_term(m, item, field, &term);
		if (err)
			return err;
		for (size_t j = 0; j < s->order_count; j++)
			if (s->order[j].column == term.column)
				return wish_refuse(m->problem, ERR_PARAMS, NULL, field,
					"%s is there a second time", field);
		s->order[s->order_count++] = term;
	}
	return ERR_OK;
}

size_t shape_terms(const struct shape *s, struct order_term ret_terms[SHAPE_TERMS_MAX])
{
	size_t count = s->order_count;
	for (size_t i = 0; i < count; i++)
		ret_terms[i] = s->order[i];
	for (size_t i = 0; i < s->layout->key_count; i++) {
		size_t column = s->layout->key[i], j = 0;
		while (j < s->order_count && s->order[j].column != column)
			j++;
		if (j == s->order_count)
			ret_terms[count++] = (struct order_term){.column = column};
	}
	return count;
}

/* Said only where it makes a difference: SQLite finds more indexes then. */
void shape_column_sql(struct buf *b, const struct shape *s, size_t column)
{
	const struct column *c = &s->layout->columns[column];
	sql_name(b, s->layout->table);
	buf_addc(b, '.');
	sql_name(b, c->name);
	if (!str_is(c->collation, "BINARY"))
		buf_adds(b, STR(" COLLATE BINARY"));
}

void shape_order_sql(struct buf *b, const struct shape *s)
{
	struct order_term terms[SHAPE_TERMS_MAX];
	size_t count = shape_terms(s, terms);
	for (size_t i = 0; i < count; i++) {
		buf_adds(b, i ? STR(", ") : STR(" ORDER BY "));
		shape_column_sql(b, s, terms[i].column);
		if (terms[i].descending)
			buf_adds(b, STR(" DESC"));
	}
}

/* The caller's values. */

/* Into one buffer; the addresses become right when it is whole. */
static struct str keep(struct buf *b, struct str bytes)
{
	struct str at = {(const char *)(uintptr_t)b->n, bytes.n};
	buf_adds(b, bytes);
	return at;
}

static void settle(const struct buf *b, struct str *s)
{
	s->p = (b->p ? b->p : "") + (uintptr_t)s->p;
}

static void add_caller_values(struct buf *b, const struct rule *r, const struct principal *who,
	struct shape_param *params)
{
	for (size_t i = 0; i < r->param_count; i++) {
		char *own;
		struct value v = caller_value(who, r->params[i], &own);
		snprintf(params[i].name, sizeof(params[i].name), STR_FMT, STR_ARG(r->params[i]));
		v.bytes = keep(b, v.bytes);
		params[i].value = v;
		free(own);
	}
}

static struct value value_of_param(const struct making *m, struct str name)
{
	const struct shape *s = &m->c->s;
	size_t i = 0;
	while (!str_is(name, s->params[i].name))
		i++;
	return s->params[i].value;
}

/* The predicates. */

static enum err too_long(struct wish_problem *problem)
{
	return wish_refuse(problem, ERR_TOO_LARGE, "filter_too_long", "where", "where is too long");
}

static struct str predicate(
	const struct making *m, enum rule_view view, size_t place, struct str filter)
{
	struct buf b = BUF_INIT(4 * TEXT_MAX);
	rule_sql(m->rule, view, place, &b);
	buf_adds(&b, STR(" AND "));
	buf_adds(&b, filter);
	size_t n = b.n;
	char *p = buf_take(&b);
	assert(p); /* its parts have maxima */
	return (struct str){p, n};
}

static void add_deltas(struct making *m, struct str filter)
{
	struct shape *s = &m->c->s;
	s->delta_count = m->rule->place_count;
	s->predicate_wide = s->predicate;
	if (!s->delta_count)
		return;
	s->predicate_wide = predicate(m, RULE_WIDE, 0, filter);
	s->deltas = mem_alloc(s->delta_count * sizeof(*s->deltas));
	for (size_t i = 0; i < s->delta_count; i++) {
		const struct rule_place *place = &m->rule->places[i];
		s->deltas[i].predicate = predicate(m, RULE_DELTA, i, filter);
		s->deltas[i].depend = place->depend;
		s->deltas[i].column = keep(&m->caller, place->equal.column);
		if (place->equal.column.n)
			s->deltas[i].value = value_of_param(m, place->equal.param);
	}
}

/* Which one of those that are known: what only this caller has selects most, then what they have asked for. */
static void choose_equal(struct making *m)
{
	struct shape *s = &m->c->s;
	struct rule_equal rule = m->rule->equal;
	bool own = str_is(rule.param, ":user") || str_is(rule.param, ":sub") ||
		str_is(rule.param, ":name");
	s->equal.column = SIZE_MAX;
	if (rule.column.n && (own || m->equal.column == SIZE_MAX)) {
		s->equal.column = layout_find(s->layout, rule.column);
		s->equal.value = value_of_param(m, rule.param);
		settle(&m->caller, &s->equal.value.bytes);
	} else if (m->equal.column != SIZE_MAX) {
		s->equal.column = m->equal.column;
		s->equal.value = m->equal.value;
	}
}

static void settle_all(struct making *m)
{
	struct shape *s = &m->c->s;
	size_t own = m->rule->param_count;
	for (size_t i = 0; i < s->delta_count; i++) {
		settle(&m->caller, &s->deltas[i].column);
		settle(&m->caller, &s->deltas[i].value.bytes);
	}
	choose_equal(m);
	for (size_t i = 0; i < own; i++)
		settle(&m->caller, &s->params[i].value.bytes);
	m->c->caller = buf_take(&m->caller);
	assert(m->c->caller);
}

/* The filter and the caller's values; what follows from them is bounded by these. */
static enum err read_values(struct making *m, struct buf *filter)
{
	struct shape *s = &m->c->s;
	struct value values[WHERE_VALUES_MAX];
	size_t count = 0, own = m->rule->param_count;
	m->c->values = mem_alloc(m->c->where.n + 1);
	where_sql(m->c->where, s->layout, filter, m->c->values, values, &count, &m->equal);
	s->param_count = own + count;
	s->params = mem_alloc((s->param_count + 1) * sizeof(*s->params));
	add_caller_values(&m->caller, m->rule, m->who, s->params);
	for (size_t i = 0; i < count; i++) {
		struct shape_param *param = &s->params[own + i];
		snprintf(param->name, sizeof(param->name), ":w%zu", i + 1);
		param->value = values[i];
	}
	if (filter->err)
		return too_long(m->problem);
	return m->caller.err ? wish_refuse(m->problem, ERR_TOO_LARGE, NULL, "",
				       "the token's claims are too long for this dataset")
			     : ERR_OK;
}

static enum err compile(struct making *m)
{
	struct shape *s = &m->c->s;
	struct buf filter = BUF_INIT(TEXT_MAX);
	m->caller = BUF_INIT(TEXT_MAX);
	enum err err = read_values(m, &filter);
	if (!err) {
		s->predicate = predicate(m, RULE_NOW, 0, buf_str(&filter));
		add_deltas(m, buf_str(&filter));
		settle_all(m);
	}
	buf_free(&m->caller);
	buf_free(&filter);
	return err;
}

/* The same words about the same things give the same id, in each process. */
static void name_shape(struct making *m)
{
	struct shape *s = &m->c->s;
	struct buf b = BUF_INIT(8 * TEXT_MAX), id = BUF_INIT(SHAPE_ID_BYTES);
	struct buf rule = BUF_INIT(TEXT_MAX);
	unsigned char digest[SHA256_DIGEST_LENGTH];
	rule_sql(m->rule, RULE_NOW, 0, &rule);
	record_put_int(&b, SHAPE_FORMAT_VERSION);
	record_put_str(&b, s->definition->name);
	record_put_str(&b, s->layout->table);
	record_put_int(&b, (uint64_t)s->layout->version);
	record_put_str(&b, buf_str(&rule));
	record_put_str(&b, m->c->where);
	for (size_t i = 0; i < m->rule->param_count; i++) {
		record_put_str(&b, str_of(s->params[i].name));
		value_write(&b, s->params[i].value);
	}
	record_put_int(&b, s->column_count);
	for (size_t i = 0; i < s->column_count; i++)
		record_put_str(&b, s->layout->columns[s->columns[i]].name);
	record_put_int(&b, s->order_count);
	for (size_t i = 0; i < s->order_count; i++) {
		record_put_str(&b, s->layout->columns[s->order[i].column].name);
		record_put_int(&b, s->order[i].descending);
	}
	record_put_int(&b, (uint64_t)s->limit);
	record_put_int(&b, s->notify);
	assert(!b.err);
	SHA256((const unsigned char *)b.p, b.n, digest);
	b64url_add(&id, digest, SHAPE_HASH_BYTES);
	memcpy(s->id, id.p, SHAPE_ID_BYTES + 1);
	buf_free(&id);
	buf_free(&rule);
	buf_free(&b);
}

/* The rule was checked when the dataset was added; the table may have become another since. */
static enum err parse_rule(const struct definition *d, enum rule_of which, const struct layout *l,
	struct rule **ret_rule)
{
	char why[RULE_WHY_MAX];
	if (rule_new(d->rules[which], l, d->depends, d->depend_count, ret_rule, why) == ERR_OK)
		return ERR_OK;
	log_error("a rule of a dataset does not fit its table", LOG_STR("dataset", d->name),
		LOG_TEXT("reason", why));
	return ERR_OVERLOADED;
}

static enum err make(struct making *m, const struct shape_wish *wish)
{
	struct shape *s = &m->c->s;
	struct buf where = BUF_INIT(TEXT_MAX);
	enum err err = where_canon(wish->where, s->layout, m->visible, &where, m->problem);
	m->c->where.n = where.n;
	m->c->where.p = buf_take(&where);
	if (!err && !m->c->where.p)
		err = wish_refuse(
			m->problem, ERR_TOO_LARGE, "filter_too_long", "where", "where is too long");
	if (!err)
		err = choose_columns(m, wish->columns);
	if (!err)
		err = read_order(m, wish->order);
	if (!err && parse_rule(s->definition, RULE_READ, s->layout, &m->rule) != ERR_OK)
		err = wish_refuse(m->problem, ERR_OVERLOADED, "dataset_unavailable", "",
			"the rule for reading does not fit the table");
	if (!err)
		err = compile(m);
	if (!err)
		name_shape(m);
	rule_free(&m->rule);
	return err;
}

enum err shape_new(const struct shape_wish *wish, const struct definition *d,
	const struct layout *l, const struct principal *who, struct shape **ret_shape,
	struct wish_problem *ret_problem)
{
	*ret_problem = (struct wish_problem){0};
	if (!d->rules[RULE_READ].n)
		return wish_refuse(ret_problem, ERR_FORBIDDEN, "not_readable", "",
			"nobody may read this dataset");
	if (wish->limit < 0 || wish->limit > SHAPE_LIMIT_MAX)
		return wish_refuse(ret_problem, ERR_PARAMS, NULL, "limit",
			"limit is a number from 1 to %d", SHAPE_LIMIT_MAX);
	struct counted *c = mem_new(struct counted);
	struct making m = {.c = c, .who = who, .problem = ret_problem};
	struct shape *s = &c->s;
	atomic_init(&c->refs, 1);
	s->definition = definition_ref(d);
	s->layout = layout_ref(l);
	s->limit = wish->limit;
	s->notify = wish->notify;
	caller_columns(d, l, who, m.visible);
	enum err err = make(&m, wish);
	if (err)
		shape_unref(&s);
	else
		*ret_shape = s;
	return err;
}

struct shape *shape_ref(const struct shape *s)
{
	struct counted *c = (struct counted *)(uintptr_t)s;
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return &c->s;
}

void shape_unref(struct shape **s)
{
	struct counted *c = (struct counted *)(void *)*s;
	*s = NULL;
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	definition_unref((struct definition **)(uintptr_t)&c->s.definition);
	layout_unref((struct layout **)(uintptr_t)&c->s.layout);
	for (size_t i = 0; i < c->s.delta_count; i++)
		free((char *)(uintptr_t)c->s.deltas[i].predicate.p);
	if (c->s.predicate_wide.p != c->s.predicate.p)
		free((char *)(uintptr_t)c->s.predicate_wide.p);
	free((char *)(uintptr_t)c->s.predicate.p);
	free((char *)(uintptr_t)c->where.p);
	free(c->s.deltas);
	free(c->s.params);
	free(c->s.order);
	free(c->s.columns);
	free(c->values);
	free(c->caller);
	free(c);
}

enum err shape_bind(sqlite3_stmt *stmt, const struct shape_param *params, size_t count)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < count && !err; i++) {
		int index = sqlite3_bind_parameter_index(stmt, params[i].name);
		if (index)
			err = value_bind(stmt, index, params[i].value);
	}
	return err;
}

/* Rules for writing. */

/* values: the caller's, and behind them the predicate of n bytes. */
static struct ruling *join_ruling(
	const struct rule *r, const struct shape_param *params, struct str values, size_t n)
{
	size_t table = r->param_count * sizeof(*params);
	struct ruling *ruling = mem_alloc(sizeof(*ruling) + table + values.n);
	char *at = (char *)ruling->params + table;
	memcpy(at, values.p, values.n);
	ruling->predicate = (struct str){at + values.n - n, n};
	ruling->param_count = r->param_count;
	for (size_t i = 0; i < r->param_count; i++) {
		ruling->params[i] = params[i];
		ruling->params[i].value.bytes.p = at + (uintptr_t)params[i].value.bytes.p;
	}
	return ruling;
}

enum err ruling_new(const struct definition *d, enum rule_of which, const struct layout *l,
	const struct principal *who, struct ruling **ret_ruling)
{
	struct rule *r;
	struct shape_param params[RULE_PARAMS_MAX];
	struct buf text = BUF_INIT(TEXT_MAX), values = BUF_INIT(TEXT_MAX);
	if (!d->rules[which].n)
		return ERR_FORBIDDEN;
	enum err err = parse_rule(d, which, l, &r);
	if (err)
		return err;
	rule_sql(r, RULE_NOW, 0, &text);
	add_caller_values(&values, r, who, params);
	buf_adds(&values, buf_str(&text));
	err = values.err;
	if (!err)
		*ret_ruling = join_ruling(r, params, buf_str(&values), text.n);
	buf_free(&values);
	buf_free(&text);
	rule_free(&r);
	return err;
}
