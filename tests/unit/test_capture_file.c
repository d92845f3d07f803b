/* What a capture leaves in a file and what it takes out again; what it notices, refuses, and finds wrong. Writers are
 * other programs, too. */
#include "capture_fixture.h"

#include <sys/wait.h>

static void ensure(sqlite3 *db, const char *table, bool *ret_changed)
{
	struct str name = str_of(table);
	if (capture_ensure(db, &name, 1, false, ret_changed, why) != ERR_OK)
		fail_msg("%s", why);
}

static int64_t version(sqlite3 *db, const char *table)
{
	struct layout *l = NULL;
	if (capture_layout(db, str_of(table), NULL, 0, &l, why) != ERR_OK)
		fail_msg("%s", why);
	int64_t v = l->version;
	layout_unref(&l);
	return v;
}

static bool stands(sqlite3 *db, const char *table)
{
	struct str name = str_of(table);
	return capture_stands(db, &name, 1);
}

static enum err verify(sqlite3 *db, const char *table)
{
	int64_t changes = 0, rows = 0;
	return capture_verify(db, str_of(table), &changes, &rows, why);
}

/* ---- traces ---- */

static char *all_of_it(sqlite3 *db)
{
	return one(db,
		"SELECT group_concat(type || name || tbl_name || coalesce(sql, ''), char(10)), "
		"(SELECT group_concat(name || seq) FROM sqlite_sequence), "
		"(SELECT user_version FROM pragma_user_version), "
		"(SELECT journal_mode FROM pragma_journal_mode), "
		"(SELECT application_id FROM pragma_application_id), "
		"(SELECT group_concat(coalesce(tbl, '') || coalesce(idx, '')) FROM sqlite_stat1) "
		"FROM sqlite_master");
}

static void dropping_leaves_no_trace(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	must(db,
		"PRAGMA journal_mode = DELETE; PRAGMA user_version = 77; PRAGMA application_id = 5;"
		"CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE);"
		"CREATE TABLE c(id INTEGER PRIMARY KEY); INSERT INTO a(b) VALUES(1), (2);"
		"CREATE TRIGGER theirs AFTER INSERT ON a BEGIN SELECT 1; END; ANALYZE");
	char *before = all_of_it(db);
	struct str names[] = {STR("A"), STR("c")};
	bool changed = true;
	assert_int_equal(capture_ensure(db, names, 2, false, &changed, why), ERR_OK);
	assert_true(capture_stands(db, names, 2));
	must(db,
		"INSERT OR REPLACE INTO a(b) VALUES(2); INSERT INTO c VALUES(1); DELETE FROM c;"
		"DELETE FROM a WHERE id = 3; UPDATE sqlite_sequence SET seq = 2; ANALYZE;"
		"INSERT INTO a(id, b) VALUES(2, 2); ANALYZE");
	assert_int_equal(capture_drop(db, &names[1], 1, why), ERR_OK);
	assert_true(stands(db, "a"));
	assert_false(stands(db, "c"));
	assert_int_equal(capture_drop(db, names, 1, why), ERR_OK);
	char *behind = all_of_it(db);
	assert_string_equal(before, behind);
	assert_int_equal(capture_drop(db, names, 2, why), ERR_OK);
	free(before);
	free(behind);
	close_file(&db);
}

/* ---- what it notices ---- */

/* Each makes the capture of t incomplete. */
static const char *const harms[] = {
	"ALTER TABLE t ADD COLUMN c",
	"ALTER TABLE t RENAME COLUMN b TO d",
	"CREATE UNIQUE INDEX t_b ON t(b)",
	"DROP TRIGGER _sb_c1_ai",
	"DROP TRIGGER _sb_p1_ad",
	"DROP TABLE _sb_c1",
	"DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
	("CREATE TABLE n(id INTEGER PRIMARY KEY, a TEXT, b); INSERT INTO n SELECT * FROM t; "
	 "DROP TABLE t; ALTER TABLE n RENAME TO t"),
	"ALTER TABLE t RENAME TO o; CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
};

static void what_harms_it_is_mended(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(harms) / sizeof(*harms); i++) {
		sqlite3 *db = open_file();
		bool changed = true;
		must(db,
			"DROP TABLE IF EXISTS o; DROP TABLE IF EXISTS t;"
			"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 2, "
			"3)");
		ensure(db, "t", &changed);
		must(db, "INSERT INTO t(id) VALUES(7)");
		int64_t old = version(db, "t");
		ensure(db, "t", &changed);
		assert_false(changed);
		assert_int_equal(version(db, "t"), old);
		must(db,
			"VACUUM; CREATE TABLE other(x); DROP TABLE other;"
			"CREATE INDEX no_matter ON t(a)");
		assert_true(stands(db, "t"));
		must(db, harms[i]);
		if (stands(db, "t"))
			fail_msg("not noticed: %s", harms[i]);
		ensure(db, "t", &changed);
		assert_true(changed);
		assert_true(version(db, "t") > old);
		assert_true(stands(db, "t"));
		must(db, "INSERT OR REPLACE INTO t(id) VALUES(1)");
		if (verify(db, "t") != ERR_OK)
			fail_msg("%s behind %s", why, harms[i]);
		struct str name = STR("t");
		assert_int_equal(capture_drop(db, &name, 1, why), ERR_OK);
		expect(db,
			"SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_sb%' ESCAPE '\\'",
			"0");
		close_file(&db);
	}
}

static void no_version_comes_back(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	bool changed = true;
	struct str name = STR("t");
	must(db, "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE u(id INTEGER PRIMARY KEY)");
	ensure(db, "u", &changed);
	ensure(db, "t", &changed);
	char *epoch = one(db, "SELECT epoch FROM _sb_ctx");
	int64_t first = version(db, "t");
	assert_int_equal(capture_drop(db, &name, 1, why), ERR_OK);
	must(db, "INSERT INTO t VALUES(1)");
	ensure(db, "t", &changed);
	assert_true(version(db, "t") > first);
	expect(db, "SELECT epoch FROM _sb_ctx", epoch);
	assert_int_equal(capture_ensure(db, &name, 1, true, &changed, why), ERR_OK);
	char *other = one(db, "SELECT epoch FROM _sb_ctx");
	assert_string_not_equal(epoch, other);
	free(epoch);
	free(other);
	close_file(&db);
}

/* ---- what it refuses ---- */

static const struct {
	const char *sql, *table, *sentence;
	enum err err;
} refused[] = {
	{"CREATE TABLE t(a)", "t", "has no PRIMARY KEY", ERR_PARAMS},
	{"CREATE VIRTUAL TABLE t USING fts5(a)", "t", "is a virtual table", ERR_PARAMS},
	{"CREATE VIRTUAL TABLE t USING fts5(a)", "t_data", "is a virtual table or belongs to one",
		ERR_PARAMS},
	{"CREATE TABLE t(a PRIMARY KEY)", "sqlite_schema", "is no table of an application",
		ERR_PARAMS},
	{"CREATE TABLE t(a PRIMARY KEY)", "u", "there is no table u", ERR_NOT_FOUND},
	{"CREATE TABLE t(a PRIMARY KEY, b COLLATE own)", "t", "t.b has the collation own",
		ERR_PARAMS},
	{"CREATE VIEW t AS SELECT 1 AS a", "t", "is a view", ERR_PARAMS},
};

static int in_own_order(void *context, int n, const void *a, int m, const void *b)
{
	(void)context;
	return n == m ? memcmp(a, b, (size_t)n) : n - m;
}

static void what_cannot_be_captured_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		sqlite3 *db = NULL;
		struct layout *l = NULL;
		assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
		sqlite3_create_collation(db, "own", SQLITE_UTF8, NULL, in_own_order);
		must(db, refused[i].sql);
		enum err err = capture_layout(db, str_of(refused[i].table), NULL, 0, &l, why);
		if (err != refused[i].err)
			fail_msg("%s: %d, %s", refused[i].sql, err, why);
		if (!strstr(why, refused[i].sentence))
			fail_msg("'%s' does not say '%s'", why, refused[i].sentence);
		struct str name = str_of(refused[i].table);
		bool changed = true;
		assert_int_not_equal(capture_ensure(db, &name, 1, false, &changed, why), ERR_OK);
		expect(db,
			"SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_sb%' ESCAPE '\\'",
			"0");
		close_file(&db);
	}
}

/* ---- layouts ---- */

static void a_layout_says_what_sqlite_says(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	must(db,
		"CREATE TABLE \"T x\"(b TEXT NOT NULL COLLATE NOCASE, a INT, c AS (a + 1), "
		"d NOT NULL DEFAULT 4, PRIMARY KEY(a, b)); CREATE VIEW v AS SELECT a, b FROM \"T "
		"x\"");
	struct layout *l = NULL;
	assert_int_equal(capture_layout(db, STR("t X"), NULL, 0, &l, why), ERR_OK);
	assert_true(str_is(l->table, "T x") && l->count == 4 && l->key_count == 2);
	assert_true(l->key[0] == 1 && l->key[1] == 0 && l->null_keys && !l->key_is_rowid);
	assert_true(str_is(l->columns[0].collation, "NOCASE") && l->columns[0].required);
	assert_true(l->columns[2].generated && !l->columns[2].required && !l->columns[3].required);
	layout_unref(&l);
	struct str key[] = {STR("B"), STR("a")};
	assert_int_equal(capture_layout(db, STR("v"), key, 2, &l, why), ERR_OK);
	assert_true(l->view && l->id == 0 && l->key[0] == 1 && l->key[1] == 0 && l->version);
	layout_unref(&l);
	assert_int_equal(capture_layout(db, STR("T x"), key, 2, &l, why), ERR_PARAMS);
	close_file(&db);
}

/* A trigger that would look through the whole table makes each write as slow as the table is long. */
static void no_trigger_looks_through_the_table(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	bool changed = true;
	must(db,
		"CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, a TEXT, b INT, c);"
		"CREATE UNIQUE INDEX t_a ON t(a COLLATE RTRIM, b) WHERE c > 1;"
		"CREATE UNIQUE INDEX t_e ON t(lower(a) COLLATE NOCASE DESC, (b + 1));"
		"CREATE TABLE w(a, b, c UNIQUE, PRIMARY KEY(b, a)) WITHOUT ROWID");
	ensure(db, "t", &changed);
	ensure(db, "w", &changed);
	static const char *const statements[] = {
		"EXPLAIN QUERY PLAN INSERT INTO t VALUES(1, 2, 3, 4)",
		"EXPLAIN QUERY PLAN UPDATE t SET k = 2, a = 4, b = 5 WHERE k = 1",
		"EXPLAIN QUERY PLAN DELETE FROM w WHERE a = 1 AND b = 2",
		"EXPLAIN QUERY PLAN INSERT INTO w VALUES(1, 2, 3)",
	};
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRIGGER_EQP, 1, NULL);
	for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
		sqlite3_stmt *s = NULL;
		int lines = 0;
		assert_int_equal(sqlite3_prepare_v2(db, statements[i], -1, &s, NULL), SQLITE_OK);
		for (; sqlite3_step(s) == SQLITE_ROW; lines++) {
			const char *line = (const char *)sqlite3_column_text(s, 3);
			if (strcmp(line, "SCAN r") == 0)
				fail_msg("%s: %s", statements[i], line);
		}
		assert_true(lines > 5);
		sqlite3_finalize(s);
	}
	close_file(&db);
}

/* ---- pruning ---- */

static void a_log_is_pruned_in_slices(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	bool changed = true, more = false;
	int64_t rows = 0, bytes = 0;
	must(db,
		"CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY "
		"KEY)");
	ensure(db, "t", &changed);
	ensure(db, "u", &changed);
	must(db,
		"WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM n WHERE x < 1000) "
		"INSERT INTO t SELECT x, zeroblob(100) FROM n;"
		"INSERT INTO u SELECT id FROM t WHERE id <= 100");
	assert_int_equal(capture_size(db, &rows, &bytes), ERR_OK);
	assert_int_equal(rows, 1100);
	assert_in_range(bytes, 60000, 200000);
	for (more = true; more;)
		assert_int_equal(capture_prune(db, 1050, 300, &more), ERR_OK);
	expect(db,
		"SELECT floor, seq, (SELECT count(*) FROM _sb_c1), (SELECT count(*) FROM _sb_c2) "
		"FROM _sb_ctx",
		"1050|1100|0|50");
	assert_int_equal(verify(db, "t"), ERR_OK);
	assert_int_equal(verify(db, "u"), ERR_OK);
	assert_int_equal(capture_prune(db, 9999, 5000, &more), ERR_OK);
	expect(db, "SELECT floor, seq FROM _sb_ctx", "1100|1100");
	must(db, "DELETE FROM u WHERE id = 1");
	expect(db, "SELECT seq, o1 FROM _sb_c2", "1101|1");
	close_file(&db);
}

/* ---- what verify finds ---- */

static const char *const faults[] = {
	"DELETE FROM _sb_c1 WHERE seq = 2",
	"DELETE FROM _sb_c1 WHERE seq = 3",
	"UPDATE _sb_c1 SET n2 = 'other' WHERE seq = 4",
	"UPDATE _sb_c1 SET n2 = 1.0 WHERE seq = 1",
	"UPDATE _sb_c1 SET o2 = 'other' WHERE seq = 3",
	"UPDATE _sb_c1 SET op = 'x' WHERE seq = 3",
	"INSERT INTO _sb_c1(seq, op, n1) VALUES(9, 'I', 77)",
};

static void a_log_that_lies_is_found(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	bool changed = true;
	must(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
	ensure(db, "t", &changed);
	must(db,
		"INSERT INTO t VALUES(1, 1), (2, 2); UPDATE t SET a = 3 WHERE id = 1;"
		"UPDATE t SET id = 5 WHERE id = 2");
	assert_int_equal(verify(db, "t"), ERR_OK);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		must(db, "BEGIN");
		must(db, faults[i]);
		if (verify(db, "t") != ERR_CONFLICT)
			fail_msg("not found: %s", faults[i]);
		must(db, "ROLLBACK");
	}
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	must(db, "DELETE FROM t WHERE id = 1");
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
	assert_int_equal(verify(db, "t"), ERR_CONFLICT);
	close_file(&db);
}

/* ---- other programs ---- */

static void run(const char *command)
{
	char line[2048];
	snprintf(line, sizeof(line), "DB='%s'; export DB; %s", place, command);
	int status = system(line); /* NOLINT: the command is constant */
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s", command);
}

static void other_programs_write_as_they_always_did(void **state)
{
	(void)state;
	sqlite3 *db = open_file();
	bool changed = true;
	must(db,
		"PRAGMA journal_mode = WAL; PRAGMA page_size = 4096;"
		"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b)");
	ensure(db, "t", &changed);
	struct told told = {.exact = true};
	assert_int_equal(capture_layout(db, STR("t"), NULL, 0, &told.layout, why), ERR_OK);
	run("sqlite3 \"$DB\" 'PRAGMA trusted_schema=OFF; PRAGMA recursive_triggers=ON;"
	    "INSERT INTO t VALUES(1,\"a\",9e999),(2,\"b\",x'\\''00ff'\\'');"
	    "REPLACE INTO t VALUES(3,\"a\",0.1+0.2); SELECT changes(), last_insert_rowid();'"
	    " | grep -qx '1|3'");
	run("sqlite3 :memory: \"ATTACH '$DB' AS o; CREATE TABLE t(x); CREATE TEMP TABLE _sb_ctx(y);"
	    "INSERT INTO o.t(a, b) VALUES('c', 9007199254740993) ON CONFLICT DO NOTHING;"
	    "INSERT OR IGNORE INTO o.t(a) VALUES('c')\"");
	run("python3 -c 'import os, sqlite3\n"
	    "c = sqlite3.connect(os.environ[\"DB\"], isolation_level=None)\n"
	    "c.execute(\"BEGIN\")\n"
	    "n = c.execute(\"UPDATE OR REPLACE t SET a = ?, b = ? WHERE id = 3\", "
	    "(\"b\", b\"\\xff\")).rowcount\n"
	    "assert n == 1, n\n"
	    "assert c.execute(\"INSERT INTO t(a) VALUES(?) RETURNING id\", (\"z\",)).fetchall() == "
	    "[(5,)]\n"
	    "c.execute(\"COMMIT\")\n"
	    "c.execute(\"BEGIN\"); c.execute(\"DELETE FROM t\"); c.execute(\"ROLLBACK\")\n"
	    "c.executemany(\"INSERT INTO t(a) VALUES(?)\", [(str(i),) for i in range(50)])\n"
	    "c.execute(\"UPDATE t SET id = id + 1000 WHERE id > 10\")'");
	told_read(db, &told);
	told_is_table(db, &told);
	assert_int_equal(verify(db, "t"), ERR_OK);
	told_free(&told);
	close_file(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(dropping_leaves_no_trace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_harms_it_is_mended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_version_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_cannot_be_captured_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_layout_says_what_sqlite_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			no_trigger_looks_through_the_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_log_is_pruned_in_slices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_log_that_lies_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			other_programs_write_as_they_always_did, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
