#include "dataset/equals.h"

#include "core/mem.h"
#include "dataset/capture.h"

#include <inttypes.h>

static struct str taken(struct buf *b)
{
	size_t n = b->n;
	return (struct str){buf_take(b), n};
}

/* The index on the images' own column serves the shapes that are found: each then looks at its rows alone. */
static struct str make_sql(const struct images *i, size_t column, int64_t n)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b,
		"DROP TABLE IF EXISTS temp.\"_sb_e%" PRId64 "\"; CREATE TEMP TABLE \"_sb_e%" PRId64
		"\"(who INTEGER PRIMARY KEY, value ",
		n, n);
	images_column(&b, i, column);
	buf_addf(&b,
		"); CREATE INDEX temp.\"_sb_v%" PRId64 "\" ON \"_sb_e%" PRId64
		"\"(value); DROP INDEX IF EXISTS temp.\"_sb_x%" PRId64
		"\"; CREATE INDEX temp.\"_sb_x%" PRId64 "\" ON ",
		n, n, n, n);
	buf_add(&b, i->name.p + strlen("temp."), i->name.n - strlen("temp."));
	buf_addc(&b, '(');
	sql_name(&b, i->layout->columns[column].name);
	buf_addc(&b, ')');
	return taken(&b);
}

static struct str match_sql(const struct images *i, size_t column, int64_t n)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b,
		"SELECT e.who FROM " STR_FMT " AS i CROSS JOIN temp.\"_sb_e%" PRId64
		"\" AS e WHERE e.value = i.",
		STR_ARG(i->name), n);
	sql_name(&b, i->layout->columns[column].name);
	return taken(&b);
}

struct equals *equals_new(const struct images *i, size_t column, int64_t number)
{
	struct equals *e = mem_new(struct equals);
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	e->column = column;
	e->number = number;
	e->make = make_sql(i, column, number);
	e->match = match_sql(i, column, number);
	buf_addf(&b, "INSERT INTO temp.\"_sb_e%" PRId64 "\" VALUES (@w, @v)", number);
	e->put = taken(&b);
	buf_addf(&b, "DELETE FROM temp.\"_sb_e%" PRId64 "\" WHERE who = @w", number);
	e->drop = taken(&b);
	return e;
}

void equals_free(struct equals **ret)
{
	struct equals *e = *ret;
	*ret = NULL;
	if (!e)
		return;
	const struct str *texts[] = {&e->make, &e->put, &e->drop, &e->match};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		free((void *)(uintptr_t)texts[i]->p);
	free(e);
}

enum err equals_make(struct reading *r, const struct equals *e)
{
	return reading_make(r, e->make);
}

void equals_unmake(struct reading *r, const struct equals *e)
{
	struct buf b = BUF_INIT(IMAGES_SQL_MAX);
	buf_addf(&b,
		"DROP TABLE IF EXISTS temp.\"_sb_e%" PRId64
		"\"; DROP INDEX IF EXISTS temp.\"_sb_x%" PRId64 "\"",
		e->number, e->number);
	(void)reading_make(r, buf_str(&b)); /* what stays is in nobody's way but ours */
	buf_free(&b);
}

enum err equals_put(struct reading *r, const struct equals *e, int64_t who, struct value v)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, e->put, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, who);
	err = value_bind(stmt, 2, v);
	if (!err)
		err = reading_write(r, stmt);
	reading_release(stmt);
	return err;
}

enum err equals_drop(struct reading *r, const struct equals *e, int64_t who)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, e->drop, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, who);
	err = reading_write(r, stmt);
	reading_release(stmt);
	return err;
}

enum err equals_match(struct reading *r, const struct equals *e,
	void (*found)(void *context, int64_t who), void *context)
{
	sqlite3_stmt *stmt = NULL;
	enum err err = reading_statement(r, e->match, &stmt);
	if (err)
		return err;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		found(context, sqlite3_column_int64(stmt, 0));
	if (rc != SQLITE_DONE)
		err = reading_failed(r);
	reading_release(stmt);
	return err;
}
