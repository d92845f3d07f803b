#include "auth/b64url.h"
#include "dataset/query_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { CURSOR_VERSION = 1, RECORD_MAX = QUERY_CURSOR_MAX / 4 * 3 };

enum err cursor_write(struct buf *b, const struct shape *s, const struct position *at)
{
	struct buf record = BUF_INIT(RECORD_MAX);
	record_put_int(&record, CURSOR_VERSION);
	record_put_str(&record, str_of(s->id));
	for (size_t i = 0; i < at->count; i++)
		value_put(&record, at->values[i]);
	enum err err = record.err;
	if (!err)
		b64url_add(b, record.p, record.n);
	buf_free(&record);
	return err;
}

enum err cursor_read(struct str text, const struct shape *s, char *room, struct position *ret)
{
	struct order_term terms[SHAPE_TERMS_MAX];
	struct position at = {.count = shape_terms(s, terms)};
	size_t n = 0;
	/* every 4 digits are 3 bytes, so there is room; a text that is too short is refused here */
	if (text.n < 4 || b64url_decode(text, (unsigned char *)room, &n) != ERR_OK)
		return ERR_PARAMS;
	struct record_reader r = record_of((struct str){room, n});
	if (record_int(&r, CURSOR_VERSION) != CURSOR_VERSION ||
		!str_is(record_str(&r, SHAPE_ID_BYTES), s->id))
		return ERR_PARAMS;
	for (size_t i = 0; i < at.count; i++)
		at.values[i] = value_get(&r, RECORD_MAX);
	if (r.bad || record_more(&r))
		return ERR_PARAMS;
	*ret = at;
	return ERR_OK;
}

/* What is equal to the position in one term. */
static void add_same(struct buf *b, const struct shape *s, size_t column, size_t i)
{
	shape_column_sql(b, s, column);
	buf_addf(b, " IS :k%zu", i + 1);
}

/* What is behind it: NULL comes first, and last in a descending order. */
static void add_behind(
	struct buf *b, const struct shape *s, struct order_term term, size_t i, struct value v)
{
	if (v.kind == VALUE_NULL && term.descending) {
		buf_adds(b, STR("0"));
		return;
	}
	buf_addc(b, '(');
	shape_column_sql(b, s, term.column);
	if (v.kind == VALUE_NULL) {
		buf_adds(b, STR(" IS NOT NULL"));
	} else if (!term.descending) {
		buf_addf(b, " > :k%zu", i + 1);
	} else {
		buf_addf(b, " < :k%zu OR ", i + 1);
		shape_column_sql(b, s, term.column);
		buf_adds(b, STR(" IS NULL"));
	}
	buf_addc(b, ')');
}

/* Says once more what follows from the rest: from here SQLite can begin in an index. */
static void add_begin(struct buf *b, const struct shape *s, struct order_term term, struct value v)
{
	const struct column *c = &s->layout->columns[term.column];
	if (v.kind == VALUE_NULL || (term.descending && !c->key && !c->required))
		return;
	shape_column_sql(b, s, term.column);
	buf_adds(b, term.descending ? STR(" <= :k1 AND ") : STR(" >= :k1 AND "));
}

void position_sql(struct buf *b, const struct shape *s, const struct position *at)
{
	struct order_term terms[SHAPE_TERMS_MAX];
	size_t count = shape_terms(s, terms);
	add_begin(b, s, terms[0], at->values[0]);
	buf_addc(b, '(');
	for (size_t i = 0; i < count; i++) {
		buf_adds(b, i ? STR(" OR (") : STR("("));
		for (size_t j = 0; j < i; j++) {
			add_same(b, s, terms[j].column, j);
			buf_adds(b, STR(" AND "));
		}
		add_behind(b, s, terms[i], i, at->values[i]);
		buf_addc(b, ')');
	}
	buf_addc(b, ')');
}

enum err position_bind(sqlite3_stmt *stmt, const struct position *at)
{
	enum err err = ERR_OK;
	for (size_t i = 0; i < at->count && !err; i++) {
		char name[8];
		snprintf(name, sizeof(name), ":k%u", (unsigned)(i + 1));
		int index = sqlite3_bind_parameter_index(stmt, name);
		if (index)
			err = value_bind(stmt, index, at->values[i]);
	}
	return err;
}
