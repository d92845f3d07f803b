/* What clients write into a table: on a real file that is captured, with rules, triggers and constraints of its owner. */
#include "dataset/capture.h"
#include "dataset/write.h"

#include "core/json_scan.h"
#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static const char tables[] =
	"PRAGMA journal_mode=WAL;"
	"CREATE TABLE lists(id INTEGER PRIMARY KEY, name TEXT);"
	"INSERT INTO lists VALUES(1,'one'),(2,'two');"
	"CREATE TABLE todos(id INTEGER PRIMARY KEY, owner TEXT NOT NULL COLLATE NOCASE, title TEXT "
	"NOT NULL,"
	" email TEXT UNIQUE, n INTEGER DEFAULT 7 CHECK(n < 1000), score REAL, data BLOB, secret "
	"TEXT NOT NULL DEFAULT 's',"
	" list INTEGER REFERENCES lists(id), twice AS (n*2), UNIQUE(title, n));"
	"CREATE TABLE seen(what TEXT);"
	"CREATE TRIGGER shout BEFORE INSERT ON todos WHEN new.title = 'never' BEGIN SELECT "
	"RAISE(ABORT, 'not that title'); END;"
	"CREATE TRIGGER all_gone BEFORE INSERT ON todos WHEN new.title = 'all' BEGIN SELECT "
	"RAISE(ROLLBACK, 'nothing at all'); END;"
	"CREATE TRIGGER quiet BEFORE INSERT ON todos WHEN new.title = 'quiet' BEGIN SELECT "
	"RAISE(IGNORE); END;"
	"CREATE TRIGGER give AFTER INSERT ON todos WHEN new.title = 'given' BEGIN"
	" UPDATE todos SET owner = 'bob' WHERE id = new.id; INSERT INTO seen VALUES(new.title); "
	"END;"
	"CREATE TRIGGER slow BEFORE INSERT ON todos WHEN new.title = 'slow' BEGIN"
	" INSERT INTO seen SELECT max(x) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
	"x+1 FROM c WHERE x < 50000000)"
	" SELECT x FROM c); END;"
	"CREATE TABLE pairs(a TEXT COLLATE NOCASE, b INTEGER, v TEXT, PRIMARY KEY(a, b)) WITHOUT "
	"ROWID;"
	"CREATE TABLE firm(id INTEGER PRIMARY KEY, n INTEGER, t TEXT, r REAL) STRICT;"
	"CREATE TABLE later(id INTEGER PRIMARY KEY, list INTEGER REFERENCES lists(id) DEFERRABLE "
	"INITIALLY DEFERRED);";

static char file[] = "/tmp/sb-write-XXXXXX";
static sqlite3 *db;
static struct layout *layout;
static struct write_rights rights;
static struct written written;
static int64_t now_ms = 1000;
static const char *user = "ann";
static bool atomic = true;
static unsigned limit_ms;

/* ---- asking ---- */

static void sql(const char *text)
{
	char *why = NULL;
	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", text, why);
}

static int64_t number(const char *text)
{
	sqlite3_stmt *stmt = NULL;
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

/* A rule with :user in it, as the caller's. */
static void rule(enum rule_of which, const char *predicate)
{
	free((void *)(uintptr_t)rights.rulings[which]);
	rights.rulings[which] = NULL;
	if (!predicate)
		return;
	struct ruling *r = mem_alloc(sizeof(*r) + sizeof(struct shape_param));
	r->predicate = str_of(predicate);
	r->param_count = 1;
	snprintf(r->params[0].name, sizeof(r->params[0].name), ":user");
	r->params[0].value = (struct value){.kind = VALUE_TEXT, .bytes = str_of(user)};
	rights.rulings[which] = r;
}

static void table(const char *name)
{
	char why[CAPTURE_WHY_MAX];
	bool changed = false;
	struct str names[] = {str_of(name)};
	layout_unref(&layout);
	if (capture_ensure(db, names, 1, false, &changed, why) ||
		capture_layout(db, names[0], NULL, 0, &layout, why))
		fail_msg("%s", why);
	for (size_t i = 0; i < layout->count; i++)
		rights.visible[i] = !str_is(layout->columns[i].name, "secret");
	for (enum rule_of i = 0; i < RULES; i++)
		rule(i, "1");
}

static void write_as(const char *mutation, const char *ops)
{
	char *copy = mem_copy(str_of(ops));
	struct write_wish wish = {.dataset = STR("todos"),
		.user = str_of(user),
		.mutation = str_of(mutation),
		.ops = {copy, strlen(copy)},
		.atomic = atomic,
		.now_ms = now_ms,
		.limit_ms = limit_ms};
	written_free(&written);
	assert_int_equal(json_check(wish.ops, NULL), ERR_OK);
	write_run(db, layout, &rights, &wish, &written);
	assert_true(sqlite3_get_autocommit(db));
	if (!written.err)
		assert_int_equal(json_check(buf_str(&written.result), NULL), ERR_OK);
	free(copy);
}

static void write_ops(const char *ops)
{
	static unsigned count;
	char mutation[24];
	snprintf(mutation, sizeof(mutation), "m%u", count++);
	write_as(mutation, ops);
}

static void has(struct str text, const char *part)
{
	if (!memmem(text.p, text.n, part, strlen(part)))
		fail_msg("%s is not in " STR_FMT, part, STR_ARG(text));
}

static void does(const char *ops, const char *answer)
{
	write_ops(ops);
	if (written.err)
		fail_msg("%s: refused: %s " STR_FMT, ops, written.problem.message,
			STR_ARG(buf_str(&written.also)));
	has(buf_str(&written.result), answer);
}

/* also: what the error's data has beside the reason. */
static void refuses(const char *ops, enum err err, const char *reason, const char *also)
{
	int64_t seq = number("SELECT seq FROM _sb_ctx"),
		kept = number("SELECT count(*) FROM _sb_mutations");
	write_ops(ops);
	if (written.err != err)
		fail_msg("%s: %d: %s " STR_FMT, ops, written.err, written.problem.message,
			STR_ARG(buf_str(&written.result)));
	assert_string_equal(written.problem.why.reason ? written.problem.why.reason : "", reason);
	has(written.problem.why.also, also);
	assert_int_equal(number("SELECT seq FROM _sb_ctx"), seq);
	assert_int_equal(number("SELECT count(*) FROM _sb_mutations"), kept);
	assert_int_equal(number("SELECT txn IS NULL AND actor IS NULL FROM _sb_ctx"), 1);
}

static void refuses_field(const char *ops, const char *field)
{
	refuses(ops, ERR_PARAMS,
		strstr(field, "nope") || strstr(field, "secret") ? "no_such_column" : "", "");
	if (!str_eq(written.problem.why.field, str_of(field)))
		fail_msg("%s: " STR_FMT, ops, STR_ARG(written.problem.why.field));
}

/* ---- setting up ---- */

static int set_up(void **state)
{
	(void)state;
	snprintf(file, sizeof(file), "/tmp/sb-write-XXXXXX");
	close(mkstemp(file));
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	user = "ann";
	atomic = true;
	now_ms = 1000;
	limit_ms = 60000;
	sql(tables);
	table("todos");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char path[64];
	written_free(&written);
	for (enum rule_of i = 0; i < RULES; i++)
		rule(i, NULL);
	layout_unref(&layout);
	assert_int_equal(sqlite3_close(db), SQLITE_OK); /* no statement was left */
	static const char *const ends[] = {"", "-wal", "-shm"};
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", file, ends[i]);
		unlink(path);
	}
	return 0;
}

/* ---- tests ---- */

static void inserts(void **state)
{
	(void)state;
	does("[{\"op\":\"insert\",\"set\":{\"owner\":\"ann\",\"title\":\"a\",\"score\":1}}]",
		"\"rows\":[{\"key\":[1],\"row\":[1,\"ann\",\"a\",null,7,1.0,null,null,14],\"seq\":"
		"\"1\"}]}");
	has(buf_str(&written.result),
		"\"seq\":\"1\",\"txn\":\"1\",\"columns\":[\"id\",\"owner\",\"title\",\"email\","
		"\"n\","
		"\"score\",\"data\",\"list\",\"twice\"]");
	assert_int_equal(
		number("SELECT count(*) FROM _sb_c1 WHERE txn=1 AND actor='ann' AND op='I'"), 1);
	does("[{\"op\":\"insert\",\"key\":[40],\"set\":{\"OWNER\":\"ann\",\"title\":\"b\",\"data\":"
	     "{\"$b\":\"AAE=\"},"
	     "\"n\":{\"$i\":\"-9223372036854775807\"}}},{\"op\":\"insert\",\"set\":{\"id\":null,"
	     "\"owner\":\"x\",\"title\":\"c\"}}]",
		"{\"key\":[41],\"row\":[41,\"x\",\"c\",null,7,null,null,null,14],\"seq\":\"3\"}");
	has(buf_str(&written.result), "\"txn\":\"2\"");
	assert_int_equal(number("SELECT count(*) FROM _sb_c1 WHERE txn=2"), 2);
	assert_int_equal(number("SELECT typeof(data)='blob' AND n=-9223372036854775807 FROM todos "
				"WHERE id=40"),
		1);
	table("pairs");
	does("[{\"op\":\"insert\",\"key\":[\"A\",1],\"set\":{\"v\":\"x\"}}]",
		"{\"key\":[\"A\",1],\"row\":[\"A\",1,\"x\"]");
	does("[{\"op\":\"insert\",\"set\":{\"a\":\"b\",\"b\":2}}]",
		"{\"key\":[\"b\",2],\"row\":[\"b\",2,null]");
}

static void updates_and_deletes(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title) VALUES(1,'ann','a'),(2,'ann','b')");
	does("[{\"op\":\"update\",\"key\":[1],\"set\":{\"title\":\"z\",\"n\":null}}]",
		"\"row\":[1,\"ann\",\"z\",null,null,");
	does("[{\"op\":\"update\",\"key\":[1],\"set\":{\"id\":9}}]",
		"{\"key\":[9],\"row\":[9,\"ann\",\"z\"");
	does("[{\"op\":\"delete\",\"key\":[2]}]", "{\"key\":[2],\"row\":null,\"seq\":\"5\"}");
	refuses("[{\"op\":\"delete\",\"key\":[2]}]", ERR_NOT_FOUND, "no_such_row", "\"op\":0");
	refuses("[{\"op\":\"update\",\"key\":[2],\"set\":{\"n\":1}}]", ERR_NOT_FOUND, "no_such_row",
		"\"op\":0");
	table("pairs");
	sql("INSERT INTO pairs VALUES('Ann',1,'v')");
	does("[{\"op\":\"update\",\"key\":[\"ANN\",1],\"set\":{\"v\":\"w\"}}]",
		"{\"key\":[\"Ann\",1],\"row\":[\"Ann\",1,\"w\"]");
}

static void upserts(void **state)
{
	(void)state;
	static const char op[] = "[{\"op\":\"insert\",\"upsert\":true,\"key\":[5],\"set\":{"
				 "\"owner\":\"ann\",\"title\":\"a\"}}]";
	does(op, "{\"key\":[5],\"row\":[5,\"ann\",\"a\",null,7");
	sql("UPDATE todos SET n=8, title='b'");
	does(op, "{\"key\":[5],\"row\":[5,\"ann\",\"a\",null,8");
	does("[{\"op\":\"insert\",\"upsert\":true,\"set\":{\"id\":5,\"title\":\"c\"}}]",
		"\"row\":[5,\"ann\",\"c\",null,8");
	does("[{\"op\":\"insert\",\"upsert\":true,\"key\":[5]}]",
		"\"row\":[5,\"ann\",\"c\",null,8");
	refuses("[{\"op\":\"insert\",\"upsert\":true,\"key\":[6],\"set\":{\"owner\":\"a\","
		"\"title\":\"t\"},\"if\":{\"seq\":\"0\"}}]",
		ERR_CONFLICT, "conflict", "\"conflicts\":[{\"key\":[6],\"seq\":\"");
	table("pairs");
	sql("INSERT INTO pairs VALUES('Ann',1,'v')");
	does("[{\"op\":\"insert\",\"upsert\":true,\"set\":{\"a\":\"ann\",\"b\":1,\"v\":\"w\"}}]",
		"\"row\":[\"Ann\",1,\"w\"]");
}

static void obeys_rules(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title) VALUES(1,'ann','a'),(2,'bob','b')");
	rule(RULE_READ, "owner = :user");
	rule(RULE_INSERT, "owner = :user");
	rule(RULE_UPDATE, "owner = :user AND n < 100");
	rule(RULE_DELETE, "n > 10");
	/* a row that is not seen is not there */
	refuses("[{\"op\":\"update\",\"key\":[2],\"set\":{\"n\":1}}]", ERR_NOT_FOUND, "no_such_row",
		"");
	refuses("[{\"op\":\"delete\",\"key\":[2]}]", ERR_NOT_FOUND, "no_such_row", "");
	refuses("[{\"op\":\"update\",\"key\":[2],\"set\":{\"n\":1},\"if\":{\"old\":{\"n\":7}}}]",
		ERR_CONFLICT, "conflict",
		"\"conflicts\":[{\"key\":[2],\"seq\":\"2\",\"current\":null}]");
	refuses("[{\"op\":\"update\",\"key\":[99],\"set\":{\"n\":1},\"if\":{\"seq\":\"0\"}}]",
		ERR_CONFLICT, "conflict",
		"\"conflicts\":[{\"key\":[99],\"seq\":\"2\",\"current\":null}]");
	/* the row as it is, and as it would be */
	refuses("[{\"op\":\"update\",\"key\":[1],\"set\":{\"owner\":\"bob\"}}]", ERR_FORBIDDEN,
		"rule_forbids", "\"op\":0");
	refuses("[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":100}}]", ERR_FORBIDDEN,
		"rule_forbids", "");
	refuses("[{\"op\":\"delete\",\"key\":[1]}]", ERR_FORBIDDEN, "rule_forbids", "");
	does("[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":99}},{\"op\":\"delete\",\"key\":[1]}]",
		"\"row\":null");
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"bob\",\"title\":\"t\"}}]", ERR_FORBIDDEN,
		"rule_forbids", "");
	/* a trigger gives it away: what counts is the row in the end */
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"ann\",\"title\":\"given\"}}]",
		ERR_FORBIDDEN, "rule_forbids", "");
	assert_int_equal(number("SELECT count(*) FROM seen"), 0);
	rule(RULE_INSERT, "owner = 'bob'");
	does("[{\"op\":\"insert\",\"set\":{\"owner\":\"ann\",\"title\":\"given\"}}]",
		"\"row\":null,");
	assert_int_equal(number("SELECT count(*) FROM seen"), 1);
	/* an upsert of a row that is not seen is an insert */
	refuses("[{\"op\":\"insert\",\"upsert\":true,\"key\":[2],\"set\":{\"owner\":\"bob\","
		"\"title\":\"t\"}}]",
		ERR_CONFLICT, "constraint", "\"constraint\":\"unique\",\"columns\":[\"id\"]");
	/* nobody */
	rule(RULE_INSERT, NULL);
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"ann\",\"title\":\"t\"}}]", ERR_FORBIDDEN,
		"rule_forbids", "");
	rule(RULE_READ, NULL);
	refuses("[{\"op\":\"update\",\"key\":[2],\"set\":{\"n\":1}}]", ERR_NOT_FOUND, "no_such_row",
		"");
}

static void conditions_by_seq(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title) VALUES(1,'ann','a'),(2,'ann','b')"); /* 1, 2 */
	sql("UPDATE todos SET n=1 WHERE id=1");                                     /* 3 */
	static const char op[] =
		"[{\"op\":\"update\",\"key\":[%d],\"set\":{\"n\":%d},\"if\":{\"seq\":\"%d\"}}]";
	char text[256];
	snprintf(text, sizeof(text), op, 1, 2, 2);
	refuses(text, ERR_CONFLICT, "conflict",
		"\"op\":0,\"columns\":[\"id\",\"owner\",\"title\",\"email\",\"n\",\"score\","
		"\"data\",\"list\",\"twice\"],"
		"\"conflicts\":[{\"key\":[1],\"seq\":\"3\",\"current\":[1,\"ann\",\"a\",null,1,"
		"null,null,null,2]}]");
	snprintf(text, sizeof(text), op, 1, 2, 3);
	does(text, "\"seq\":\"4\""); /* 4 */
	snprintf(text, sizeof(text), op, 2, 2, 2);
	does(text, "\"seq\":\"5\"");
	/* what this write itself does is no conflict */
	does("[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":5},\"if\":{\"seq\":\"5\"}},"
	     "{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":6},\"if\":{\"seq\":\"5\"}}]",
		"\"seq\":\"7\"");
	/* a row that had another key, and one that was there before under this one */
	sql("UPDATE todos SET id=3 WHERE id=1");
	snprintf(text, sizeof(text), op, 3, 2, 7);
	refuses(text, ERR_CONFLICT, "conflict", "\"key\":[3]");
	snprintf(text, sizeof(text), op, 3, 2, 99);
	refuses(text, ERR_GONE, "pruned", "\"op\":0");
	bool more = false;
	assert_int_equal(capture_prune(db, 5, 100, &more), ERR_OK);
	snprintf(text, sizeof(text), op, 2, 2, 4);
	refuses(text, ERR_GONE, "pruned", "\"op\":0");
	snprintf(text, sizeof(text), op, 2, 3, 5);
	does(text, "\"key\":[2]");
	/* so far back that looking would cost too much */
	sql("UPDATE _sb_ctx SET seq = seq + 100001");
	snprintf(text, sizeof(text), op, 2, 4, 6);
	refuses(text, ERR_GONE, "pruned", "\"op\":0");
	assert_int_equal(written.problem.why.limit, WRITE_LOOK_MAX);
}

static void conditions_by_old_values(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title,score) VALUES(1,'ann','a',2.0)");
	static const struct {
		const char *old;
		bool holds;
	} cases[] = {
		{"{\"owner\":\"ann\",\"title\":\"a\",\"email\":null,\"n\":7,\"score\":2.0,\"id\":1,"
		 "\"twice\":14}",
			true},
		{"{\"score\":2}", true}, /* as JavaScript says it */
		{"{\"n\":7.0}", true},
		{"{}", true},
		{"{\"owner\":\"ANN\"}", false}, /* whatever the column's collation says */
		{"{\"n\":\"7\"}", false},
		{"{\"n\":null}", false},
		{"{\"email\":\"\"}", false},
		{"{\"score\":2.0000000000000004}", false},
		{"{\"title\":{\"$b\":\"YQ==\"}}", false},
	};
	char text[256];
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text),
			"[{\"op\":\"update\",\"key\":[1],\"set\":{\"data\":null},\"if\":{\"old\":%"
			"s}}]",
			cases[i].old);
		if (cases[i].holds)
			does(text, "\"key\":[1]");
		else
			refuses(text, ERR_CONFLICT, "conflict", "\"current\":[1,\"ann\"");
	}
	does("[{\"op\":\"delete\",\"key\":[1],\"if\":{\"old\":{\"title\":\"a\"}}}]",
		"\"row\":null");
}

static void constraints(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title,email) VALUES(1,'ann','a','e')");
#define INSERT(set) "[{\"op\":\"insert\",\"set\":{" set "}}]"
	refuses(INSERT("\"owner\":\"o\",\"title\":\"t\",\"email\":\"e\""), ERR_CONFLICT,
		"constraint", "\"op\":0,\"constraint\":\"unique\",\"columns\":[\"email\"]");
	assert_true(str_is(written.problem.why.field, "email"));
	refuses(INSERT("\"owner\":\"o\",\"title\":\"a\""), ERR_CONFLICT, "constraint",
		"\"constraint\":\"unique\",\"columns\":[\"title\",\"n\"]");
	assert_true(str_is(written.problem.why.field, "title,n"));
	refuses(INSERT("\"owner\":\"o\""), ERR_CONFLICT, "constraint",
		"\"constraint\":\"not_null\",\"columns\":[\"title\"]");
	refuses(INSERT("\"owner\":\"o\",\"title\":\"t\",\"n\":1000"), ERR_CONFLICT, "constraint",
		"\"constraint\":\"check\",\"columns\":[\"n\"]");
	assert_null(strstr(
		written.problem.message, "1000")); /* a column is hidden: its text is not told */
	refuses(INSERT("\"owner\":\"o\",\"title\":\"t\",\"list\":3"), ERR_CONFLICT, "constraint",
		"\"constraint\":\"foreign_key\",\"columns\":[\"list\"]");
	refuses(INSERT("\"owner\":\"o\",\"title\":\"never\""), ERR_CONFLICT, "constraint",
		"\"constraint\":\"trigger\"");
	assert_string_equal(written.problem.message, "not that title");
	refuses(INSERT("\"owner\":\"o\",\"title\":\"quiet\""), ERR_CONFLICT, "constraint",
		"\"constraint\":\"trigger\"");
	refuses("[{\"op\":\"insert\",\"key\":[1.5],\"set\":{\"owner\":\"o\",\"title\":\"t\"}}]",
		ERR_CONFLICT, "constraint", "\"constraint\":\"type\"");
	sql("CREATE UNIQUE INDEX one_secret ON todos(secret, owner)");
	table("todos");
	refuses(INSERT("\"owner\":\"ann\",\"title\":\"t\""), ERR_CONFLICT, "constraint",
		"\"constraint\":\"unique\",\"columns\":[\"owner\"]");
	table("firm");
	refuses(INSERT("\"n\":1.5"), ERR_CONFLICT, "constraint",
		"\"constraint\":\"type\",\"columns\":[\"n\"]");
	does(INSERT("\"n\":1.0,\"r\":2,\"t\":\"t\""), "\"row\":[1,1,\"t\",2.0]");
	table("later");
	refuses(INSERT("\"list\":9"), ERR_CONFLICT, "constraint", "\"constraint\":\"foreign_key\"");
	does(INSERT("\"list\":1"), "\"row\":[1,1]");
}

/* One refusal tells all rows that are not as the caller believes. */
static void tells_all_conflicts(void **state)
{
	(void)state;
	sql("INSERT INTO todos(id,owner,title) VALUES(1,'ann','a'),(2,'ann','b'),(3,'ann','c')");
	refuses("[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"old\":{\"n\":7}}},"
		"{\"op\":\"update\",\"key\":[2],\"set\":{\"n\":1},\"if\":{\"old\":{\"n\":8}}},"
		"{\"op\":\"update\",\"key\":[3],\"set\":{\"n\":1},\"if\":{\"old\":{\"n\":7}}},"
		"{\"op\":\"delete\",\"key\":[3],\"if\":{\"seq\":\"2\"}},{\"op\":\"delete\",\"key\":"
		"[4],\"if\":{\"seq\":\"2\"}}]",
		ERR_CONFLICT, "conflict", "\"op\":1,\"columns\":[");
	has(written.problem.why.also,
		"\"conflicts\":[{\"key\":[2],\"seq\":\"3\",\"current\":[2,\"ann\",\"b\",null,7,"
		"null,null,null,14]},"
		"{\"key\":[3],\"seq\":\"3\",\"current\":[3,\"ann\",\"c\",null,7,null,null,null,14]}"
		","
		"{\"key\":[4],\"seq\":\"3\",\"current\":null}]");
	assert_int_equal(number("SELECT count(*) FROM todos WHERE n=7"), 3);
}

/* The table would replace rows that the caller's rules do not give to them. */
static void replaces_nothing(void **state)
{
	(void)state;
	sql("CREATE TABLE only(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, c TEXT UNIQUE ON "
	    "CONFLICT REPLACE, v TEXT);"
	    "INSERT INTO only VALUES(1,'a','x'),(2,'b','y')");
	table("only");
	refuses("[{\"op\":\"insert\",\"set\":{\"id\":1,\"v\":\"z\"}}]", ERR_CONFLICT, "constraint",
		"\"columns\":[\"id\"]");
	refuses("[{\"op\":\"insert\",\"set\":{\"c\":\"a\"}}]", ERR_CONFLICT, "constraint",
		"\"columns\":[\"c\"]");
	refuses("[{\"op\":\"update\",\"key\":[2],\"set\":{\"c\":\"a\"}}]", ERR_CONFLICT,
		"constraint", "\"columns\":[\"c\"]");
	assert_int_equal(number("SELECT count(*) FROM only"), 2);
}

static void bad_ops(void **state)
{
	(void)state;
	static const struct {
		const char *ops, *field;
	} cases[] = {
		{"[]", ""},
		{"[1]", "ops[0]"},
		{"[{}]", "ops[0].op"},
		{"[{\"op\":\"drop\"}]", "ops[0].op"},
		{"[{\"op\":\"insert\",\"where\":1}]", "ops[0].where"},
		{"[{\"op\":\"insert\",\"set\":{\"nope\":1}}]", "ops[0].set.nope"},
		{"[{\"op\":\"insert\",\"set\":{\"secret\":\"x\"}}]", "ops[0].set.secret"},
		{"[{\"op\":\"insert\",\"set\":{\"twice\":2}}]", "ops[0].set.twice"},
		{"[{\"op\":\"insert\",\"set\":{\"n\":1,\"N\":2}}]", "ops[0].set.n"},
		{"[{\"op\":\"insert\",\"set\":{\"n\":\"one\"}}]", "ops[0].set.n"},
		{"[{\"op\":\"insert\",\"set\":{\"score\":{\"$b\":\"\"}}}]", "ops[0].set.score"},
		{"[{\"op\":\"insert\",\"set\":{\"title\":5}}]", "ops[0].set.title"},
		{"[{\"op\":\"insert\",\"set\":{\"title\":{\"x\":5}}}]", "ops[0].set.title"},
		{"[{\"op\":\"insert\",\"set\":{\"title\":\"\\ud800\"}}]", "ops[0].set.title"},
		{"[{\"op\":\"insert\",\"key\":[1],\"set\":{\"id\":1}}]", "ops[0].set"},
		{"[{\"op\":\"insert\",\"if\":{\"seq\":\"1\"}}]", "ops[0].if"},
		{"[{\"op\":\"update\",\"set\":{\"n\":1}}]", "ops[0].key"},
		{"[{\"op\":\"update\",\"key\":[1]}]", "ops[0].set"},
		{"[{\"op\":\"update\",\"key\":[],\"set\":{\"n\":1}}]", "ops[0].key"},
		{"[{\"op\":\"update\",\"key\":[1,2],\"set\":{\"n\":1}}]", "ops[0].key"},
		{"[{\"op\":\"update\",\"key\":[\"1\"],\"set\":{\"n\":1}}]", "ops[0].key"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{}}]", "ops[0].if"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"seq\":\"1\",\"old\":{"
		 "}}}]",
			"ops[0].if"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"seq\":\"-1\"}}]",
			"ops[0].if.seq"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"seq\":\"01\"}}]",
			"ops[0].if.seq"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"seq\":\"1x\"}}]",
			"ops[0].if.seq"},
		{"[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1},\"if\":{\"old\":{\"secret\":1}}"
		 "}]",
			"ops[0].if.old.secret"},
		{"[{\"op\":\"delete\",\"key\":[1],\"set\":{\"n\":1}}]", "ops[0].set"},
		{"[{\"op\":\"delete\",\"key\":[1],\"upsert\":true}]", "ops[0].upsert"},
		{"[{\"op\":\"delete\",\"key\":[1]},{\"op\":\"delete\",\"key\":[1,{\"a\":[[]]}]}]",
			"ops[1].key"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		refuses_field(cases[i].ops, cases[i].field);
	struct buf many = BUF_INIT(WRITE_BYTES_MAX);
	for (size_t i = 0; i <= WRITE_OPS_MAX; i++)
		buf_adds(&many,
			i ? STR(",{\"op\":\"delete\",\"key\":[1]}")
			  : STR("[{\"op\":\"delete\",\"key\":[1]}"));
	buf_addc(&many, ']');
	refuses(many.p, ERR_TOO_LARGE, "", "");
	buf_free(&many);
}

static void all_or_nothing(void **state)
{
	(void)state;
	static const char ops[] =
		"[{\"op\":\"insert\",\"key\":[1],\"set\":{\"owner\":\"o\",\"title\":\"a\"}},"
		"{\"op\":\"insert\",\"key\":[1],\"set\":{\"owner\":\"o\",\"title\":\"b\"}},"
		"{\"op\":\"update\",\"key\":[9],\"set\":{\"n\":1}},"
		"{\"op\":\"insert\",\"set\":{\"owner\":\"o\",\"title\":\"c\"}}]";
	refuses(ops, ERR_CONFLICT, "constraint", "\"op\":1,");
	assert_int_equal(number("SELECT count(*) FROM todos"), 0);
	atomic = false;
	does(ops,
		"\"seq\":\"1\"},{\"key\":[1],\"error\":{\"code\":-32009,\"message\":\"Another row "
		"has this value already.\","
		"\"data\":{\"reason\":\"constraint\",\"field\":\"id\",\"op\":1,\"constraint\":"
		"\"unique\",\"columns\":[\"id\"]}}},"
		"{\"key\":[9],\"error\":{\"code\":-32004,");
	has(buf_str(&written.result), "{\"key\":[2],\"row\":[2,\"o\",\"c\"");
	assert_int_equal(number("SELECT group_concat(id,'') FROM todos"), 12);
	assert_int_equal(number("SELECT count(DISTINCT txn) FROM _sb_c1"), 1);
	/* nothing of it was done: nothing is remembered */
	int64_t kept = number("SELECT count(*) FROM _sb_mutations");
	does("[{\"op\":\"delete\",\"key\":[77]}]", "\"rows\":[{\"key\":[77],\"error\":");
	assert_int_equal(number("SELECT count(*) FROM _sb_mutations"), kept);
	/* a trigger that ends all of it */
	refuses("[{\"op\":\"delete\",\"key\":[1]},{\"op\":\"insert\",\"set\":{\"owner\":\"o\","
		"\"title\":\"all\"}},"
		"{\"op\":\"delete\",\"key\":[2]}]",
		ERR_CONFLICT, "constraint", "\"op\":1,\"constraint\":\"trigger\"");
	assert_int_equal(number("SELECT count(*) FROM todos"), 2);
	table("later");
	does("[{\"op\":\"insert\",\"set\":{\"list\":9}},{\"op\":\"insert\",\"set\":{\"list\":1}}]",
		"\"foreign_key\"");
	assert_int_equal(number("SELECT count(*) FROM later"), 1);
}

static void remembers(void **state)
{
	(void)state;
	static const char ops[] =
		"[{\"op\":\"insert\",\"set\":{\"owner\":\"a b\",\"title\":\"t\"}}]";
	write_as("once", ops);
	assert_int_equal(written.err, ERR_OK);
	char *first = buf_take(&written.result);
	/* the same, by spacing only another */
	write_as(
		"once", "[ {\"op\": \"insert\",\n\t\"set\":{\"owner\":\"a b\",\"title\":\"t\"}} ]");
	assert_int_equal(written.err, ERR_OK);
	assert_string_equal(written.result.p, first);
	assert_int_equal(number("SELECT count(*) FROM todos"), 1);
	free(first);
	/* another write, or another way */
	write_as("once", "[{\"op\":\"insert\",\"set\":{\"owner\":\"ab\",\"title\":\"t\"}}]");
	assert_int_equal(written.err, ERR_CONFLICT);
	assert_string_equal(written.problem.why.reason, "mutation_used");
	atomic = false;
	write_as("once", ops);
	assert_int_equal(written.err, ERR_CONFLICT);
	atomic = true;
	/* another user's own word */
	user = "bob";
	write_as("once", "[{\"op\":\"insert\",\"set\":{\"owner\":\"b\",\"title\":\"u\"}}]");
	assert_int_equal(written.err, ERR_OK);
	user = "ann";
	/* a refused one leaves the word free */
	write_as("twice", ops);
	assert_int_equal(written.err, ERR_CONFLICT);
	write_as("twice", "[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"v\"}}]");
	assert_int_equal(written.err, ERR_OK);
	/* a day later it is forgotten */
	now_ms += WRITE_KEPT_MS;
	write_as("once", "[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"w\"}}]");
	assert_int_equal(written.err, ERR_OK);
	assert_int_equal(number("SELECT count(*) FROM _sb_mutations"), 1);
}

static void troubles(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"t\"}}]", ERR_OVERLOADED,
		"dataset_unavailable", "");
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	limit_ms = 50;
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"slow\"}}]", ERR_TIMEOUT,
		"query_too_slow", "");
	atomic = false;
	refuses("[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"b\"}},"
		"{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"slow\"}}]",
		ERR_TIMEOUT, "query_too_slow", "");
	assert_int_equal(number("SELECT count(*) FROM todos"), 0);
	limit_ms = 60000;
	/* a full disk, as far as SQLite is concerned */
	sql("PRAGMA max_page_count=40");
	struct buf ops = BUF_INIT(WRITE_BYTES_MAX);
	buf_adds(&ops, STR("[{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\""));
	for (size_t i = 0; i < 100000; i++)
		buf_addc(&ops, 'x');
	buf_adds(&ops, STR("\"}}]"));
	refuses(ops.p, ERR_OVERLOADED, "dataset_unavailable", "");
	sql("PRAGMA max_page_count=100000");
	does(ops.p, "\"rows\":[{\"key\":[1],\"row\":[1,\"a\",\"xxx");
	/* larger than an answer may be: only where it has led to */
	does("[{\"op\":\"update\",\"key\":[1],\"set\":{\"n\":1}},{\"op\":\"update\",\"key\":[1],"
	     "\"set\":{\"n\":2}}]",
		"},{\"seq\":\"3\"}]}");
	buf_free(&ops);
	/* the table was rebuilt a moment ago: nothing would capture this */
	sql("CREATE TABLE t AS SELECT * FROM todos; DROP TABLE todos; ALTER TABLE t RENAME TO "
	    "todos");
	refuses("[{\"op\":\"delete\",\"key\":[1]}]", ERR_OVERLOADED, "dataset_unavailable", "");
	sqlite3_close(other);
}

/* Every op of the largest batch costs much the same: statements are prepared once. */
static void many(void **state)
{
	(void)state;
	struct buf ops = BUF_INIT(WRITE_BYTES_MAX);
	for (size_t i = 0; i < WRITE_OPS_MAX; i++)
		buf_addf(&ops, "%c{\"op\":\"insert\",\"set\":{\"owner\":\"a\",\"title\":\"t%zu\"}}",
			i ? ',' : '[', i);
	buf_addc(&ops, ']');
	does(ops.p, "\"seq\":\"1000\"}]}");
	assert_true(written.result.n < 200 * 1024);
	buf_free(&ops);
	assert_int_equal(number("SELECT count(*) FROM todos"), WRITE_OPS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(inserts),
		TEST(updates_and_deletes),
		TEST(upserts),
		TEST(obeys_rules),
		TEST(conditions_by_seq),
		TEST(conditions_by_old_values),
		TEST(constraints),
		TEST(tells_all_conflicts),
		TEST(replaces_nothing),
		TEST(bad_ops),
		TEST(all_or_nothing),
		TEST(remembers),
		TEST(troubles),
		TEST(many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
