/* Any bytes as an operator's rule. What is taken compiles under the authorizer or is no SQL, never forbidden; it says the
 * same over tables that are the same; rows added to what it looks into only make more visible, all of which the places
 * with the added rows alone find; and what it is said to hold of each row holds. */
#include "dataset/caller.h"
#include "dataset/capture.h"
#include "dataset/rule.h"

#include <sqlite3.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

/* Two databases of one row a number: in the second the wide tables have more than the tables. */
static sqlite3 *same, *more;
static struct layout *l;
static struct str depends[] = {{"m", 1}, {"team", 4}};
enum { ROWS = 12, FAILED = 1 << ROWS };

static sqlite3 *open_rows(const char *wide)
{
	sqlite3 *db;
	MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256);
	MUST(sqlite3_exec(db,
		     "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, o TEXT COLLATE NOCASE, b);"
		     "CREATE TABLE m(u TEXT, g INTEGER, r);"
		     "CREATE TABLE team(g INTEGER PRIMARY KEY, o TEXT);"
		     "CREATE TABLE secret(u);"
		     "INSERT INTO secret VALUES('ann');"
		     "INSERT INTO t "
		     "VALUES(0,1,'ann',1),(1,2,'bob',NULL),(2,3,'ANN','5'),(3,NULL,NULL,5),"
		     "(4,1,'x',x'61'),(5,2,'',0.5),(6,5,'5','{\"a\":1}'),(7,0,'ann','a%'),(8,-1,'"
		     "cid',0),"
		     "(9,3,'acme',3),(10,4,'ann',4),(11,4,'bob',NULL);"
		     "INSERT INTO m VALUES('ann',1,'x'),('bob',2,NULL);"
		     "INSERT INTO team VALUES(1,'ann'),(2,'cid');"
		     "CREATE TEMP TABLE \"_sb_wm\"(u TEXT, g INTEGER, r);"
		     "INSERT INTO \"_sb_wm\" SELECT * FROM main.m;"
		     "CREATE TEMP TABLE \"_sb_wteam\"(g INTEGER, o TEXT);"
		     "INSERT INTO \"_sb_wteam\" SELECT * FROM main.team;"
		     "CREATE TEMP TABLE \"_sb_dm\"(u TEXT, g INTEGER, r);"
		     "CREATE TEMP TABLE \"_sb_dteam\"(g INTEGER, o TEXT)",
		     NULL, NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_exec(db, wide, NULL, NULL, NULL) == SQLITE_OK);
	return db;
}

static void begin(void)
{
	static size_t key[] = {0};
	static struct column columns[] = {{.name = {"id", 2}, .key = 1}, {.name = {"n", 1}},
		{.name = {"o", 1}}, {.name = {"b", 1}}};
	l = layout_new(&(struct layout){
		.table = STR("t"), .count = 4, .key_count = 1, .columns = columns, .key = key});
	same = open_rows("");
	more = open_rows("INSERT INTO \"_sb_dm\" "
			 "VALUES('ann',3,NULL),('ann',4,'y'),(NULL,NULL,NULL),('x',5,5);"
			 "INSERT INTO \"_sb_dteam\" VALUES(3,'bob'),(4,'ann'),(0,NULL);"
			 "INSERT INTO \"_sb_wm\" SELECT * FROM \"_sb_dm\";"
			 "INSERT INTO \"_sb_wteam\" SELECT * FROM \"_sb_dteam\"");
}

static struct principal ann(void)
{
	static struct principal_claim claims[] = {
		{{"org", 3}, {"\"acme\"", 6}}, {{"level", 5}, {"3", 1}}};
	return (struct principal){.user = STR("ann"),
		.subject = STR("ann"),
		.scopes = SCOPES_DEFAULT,
		.claim_count = 2,
		.claims = claims};
}

static void bind_all(sqlite3_stmt *s)
{
	struct principal who = ann();
	for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++) {
		char *own;
		struct str name = str_of(sqlite3_bind_parameter_name(s, i));
		MUST(caller_knows(name));
		MUST(value_bind(s, i, caller_value(&who, name, &own)) == ERR_OK);
		free(own);
	}
}

static int enough(void *context)
{
	(void)context;
	return 1;
}

/* The rows for which it holds, a bit each; FAILED: SQLite gave up (a pattern, a number, the time). */
static unsigned visible(sqlite3 *db, struct str predicate)
{
	struct buf b = BUF_INIT(1 << 20);
	sqlite3_stmt *s;
	unsigned rows = 0;
	buf_adds(&b, STR("SELECT id FROM main.t AS t WHERE "));
	buf_adds(&b, predicate);
	MUST(!b.err && sqlite3_prepare_v2(db, b.p, -1, &s, NULL) == SQLITE_OK);
	MUST(sqlite3_stmt_readonly(s));
	bind_all(s);
	sqlite3_progress_handler(db, 1000000, enough, NULL);
	while (sqlite3_step(s) == SQLITE_ROW)
		rows |= 1u << sqlite3_column_int(s, 0);
	sqlite3_progress_handler(db, 0, NULL, NULL);
	if (sqlite3_finalize(s) != SQLITE_OK)
		rows = FAILED;
	buf_free(&b);
	return rows;
}

static unsigned under(sqlite3 *db, const struct rule *r, enum rule_view view, size_t place)
{
	struct buf b = BUF_INIT(1 << 20);
	rule_sql(r, view, place, &b);
	unsigned rows = visible(db, buf_str(&b));
	buf_free(&b);
	return rows;
}

static void equal_holds(const struct rule *r, unsigned rows)
{
	struct buf b = BUF_INIT(1 << 16);
	if (!r->equal.column.n)
		return;
	sql_name(&b, r->equal.column);
	buf_addf(&b, " = " STR_FMT, STR_ARG(r->equal.param));
	MUST(!(rows & ~visible(same, buf_str(&b))));
	buf_free(&b);
}

/* Only rows of the depends table that have this value count: without all others it finds as many. */
static void place_holds(const struct rule *r, size_t place, unsigned rows)
{
	const struct rule_place *p = &r->places[place];
	struct buf b = BUF_INIT(1 << 16);
	sqlite3_stmt *s;
	if (!p->equal.column.n)
		return;
	MUST(sqlite3_exec(more, "SAVEPOINT p", NULL, NULL, NULL) == SQLITE_OK);
	buf_addf(&b, "DELETE FROM temp.\"_sb_d" STR_FMT "\" WHERE (", STR_ARG(p->depend));
	sql_name(&b, p->equal.column);
	buf_addf(&b, " = " STR_FMT ") IS NOT 1", STR_ARG(p->equal.param));
	MUST(sqlite3_prepare_v2(more, b.p, -1, &s, NULL) == SQLITE_OK);
	bind_all(s);
	MUST(sqlite3_step(s) == SQLITE_DONE);
	sqlite3_finalize(s);
	unsigned fewer = under(more, r, RULE_DELTA, place);
	MUST(sqlite3_exec(more, "ROLLBACK TO p; RELEASE p", NULL, NULL, NULL) == SQLITE_OK);
	MUST(fewer == FAILED || fewer == rows);
	buf_free(&b);
}

/* The authorizer's words: what it forbids has been refused before. */
static bool forbidden(const char *why)
{
	return str_starts(str_of(why), STR("SQLite does not take it: not authorized")) ||
		str_starts(str_of(why), STR("SQLite does not take it: access to "));
}

static void hold_against(const struct rule *r)
{
	unsigned now = under(same, r, RULE_NOW, 0), wide = under(more, r, RULE_WIDE, 0), found = 0;
	bool failed = now == FAILED || wide == FAILED;
	unsigned again = under(same, r, RULE_WIDE, 0);
	MUST(again == now || again == FAILED || now == FAILED);
	for (size_t i = 0; i < r->place_count; i++) {
		unsigned rows = under(more, r, RULE_DELTA, i);
		failed |= rows == FAILED;
		found |= rows;
		if (rows != FAILED)
			place_holds(r, i, rows);
	}
	if (failed)
		return;
	MUST(!(now & ~wide));
	MUST(!(wide & ~now & ~found));
	equal_holds(r, now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	struct rule *r;
	char why[RULE_WHY_MAX] = "";
	if (!same)
		begin();
	if (rule_new(text, l, depends, 2, &r, why) != ERR_OK) {
		MUST(*why && str_utf8_valid(str_of(why)));
		return 0;
	}
	if (rule_compile(r, same, l, depends, 2, why) == ERR_OK)
		hold_against(r);
	else
		MUST(!forbidden(why));
	rule_free(&r);
	if (rule_new(text, NULL, NULL, 0, &r, why) == ERR_OK) {
		if (rule_compile(r, same, NULL, NULL, 0, why) != ERR_OK)
			MUST(!forbidden(why));
		rule_free(&r);
	}
	return 0;
}
