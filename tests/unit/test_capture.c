/* Whatever is done to captured tables, the log alone makes the same rows of what they were; at random, with a naive
 * model: SEED=N repeats, OPERATIONS=N makes it longer. */
#include "capture_fixture.h"

#include <time.h>

enum { TABLES_MAX = 12, WRITERS = 3 };

static unsigned seed;

static unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static const struct subject {
	const char *name;
	const char *writable; /* its columns, without the quotes that SQL wants */
	bool inexact;         /* other triggers come between */
	const char *sql;
} subjects[] = {
	{"plain", "id a b c", false,
		"CREATE TABLE plain(id INTEGER PRIMARY KEY, a, b TEXT UNIQUE, c REAL)"},
	{"nocase", "k v w", false,
		"CREATE TABLE nocase(k TEXT PRIMARY KEY COLLATE NOCASE, v INT, w); "
		"CREATE UNIQUE INDEX nocase_v ON nocase(v COLLATE RTRIM, w)"},
	{"Without", "a b c d", false,
		"CREATE TABLE \"Without\"(a INT, b TEXT, c, d, PRIMARY KEY(b, a)) WITHOUT ROWID; "
		"CREATE UNIQUE INDEX without_c ON \"Without\"(c) WHERE d > 1 /* ) */ OR a = 2"},
	{"strict", "id x y z", false,
		"CREATE TABLE strict(id INTEGER PRIMARY KEY, x INT, y TEXT, z ANY, UNIQUE(x, y)) "
		"STRICT"},
	{"made", "id a b", false,
		"CREATE TABLE made(id INTEGER PRIMARY KEY, a TEXT, b, g AS (lower(a)) STORED, v AS "
		"(b || '!')); "
		"CREATE UNIQUE INDEX made_g ON made(g); "
		"CREATE UNIQUE INDEX made_e ON made((a || ', ' || b) /* both */ COLLATE NOCASE "
		"DESC, "
		"v -- and this\n) WHERE b IS NOT NULL"},
	{"odd \"name's", "select o1 r rowid", false,
		"CREATE TABLE \"odd \"\"name's\"(\"select\" INTEGER, o1, r, rowid TEXT UNIQUE, "
		"PRIMARY KEY(\"select\", o1))"},
	{"parent", "id name", false,
		"CREATE TABLE parent(id INTEGER PRIMARY KEY, name TEXT UNIQUE)"},
	{"child", "id parent other", false,
		"CREATE TABLE child(id INTEGER PRIMARY KEY, parent INT REFERENCES parent(id) "
		"ON DELETE CASCADE ON UPDATE CASCADE, other INT REFERENCES child(id) ON DELETE SET "
		"NULL)"},
	{"replacing", "id a b", false,
		"CREATE TABLE replacing(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, "
		"a TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'a' UNIQUE ON CONFLICT REPLACE, b "
		"DEFAULT 7)"},
	{"busy", "id a b c", true,
		"CREATE TABLE busy(id INTEGER PRIMARY KEY, a, b UNIQUE, c DEFAULT 0);"
		"CREATE TRIGGER busy_i AFTER INSERT ON busy BEGIN "
		"UPDATE busy SET c = c + 1 WHERE id = NEW.id; END;"
		"CREATE TRIGGER busy_b BEFORE INSERT ON busy WHEN NEW.a = 1 BEGIN "
		"UPDATE busy SET a = 0 WHERE a = 1; END;"
		"CREATE TRIGGER busy_d AFTER DELETE ON busy WHEN OLD.c < 2 BEGIN "
		"INSERT INTO busy(id, a, c) VALUES(OLD.id, 'again', 9); END;"
		"CREATE TRIGGER busy_k AFTER UPDATE ON busy WHEN NEW.a = 3 BEGIN "
		"DELETE FROM busy WHERE id = NEW.id; END"},
};
enum { SUBJECTS = sizeof(subjects) / sizeof(*subjects) };

/* ---- statements at random ---- */

static void add_value(struct buf *b)
{
	static const char *const values[] = {"NULL", "0", "1", "2", "3", "2.0", "'a'", "'A'", "'b'",
		"'b '", "'1'", "x'00ff'", "CAST(x'ff61' AS TEXT)", "9e999", "0.1 + 0.2",
		"9007199254740993", "-9e999", "''", "'a' || char(0) || 'b'"};
	buf_adds(b, str_of(values[chance(chance(3) ? 7 : sizeof(values) / sizeof(*values))]));
}

/* One of the columns, quoted. */
static void add_some_column(struct buf *b, const struct subject *s, unsigned at)
{
	const char *from = s->writable;
	while (at--)
		from = strchr(from, ' ') + 1;
	sql_name(b, (struct str){from, strcspn(from, " ")});
}

static unsigned columns_of(const struct subject *s)
{
	unsigned n = 1;
	for (const char *c = s->writable; *c; c++)
		n += *c == ' ';
	return n;
}

static void add_or(struct buf *b)
{
	static const char *const or
		[] = {"", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ABORT"};
	buf_adds(b, str_of(or [chance(sizeof(or) / sizeof(* or))]));
}

static void add_where(struct buf *b, const struct subject *s)
{
	buf_adds(b, STR(" WHERE "));
	add_some_column(b, s, chance(columns_of(s)));
	buf_adds(b, chance(3) ? STR(" IS ") : STR(" < "));
	add_value(b);
}

static void add_sets(struct buf *b, const struct subject *s)
{
	unsigned count = 1 + chance(2);
	for (unsigned i = 0, first = chance(columns_of(s)); i < count; i++) {
		buf_adds(b, i ? STR(", ") : STR(" SET "));
		add_some_column(b, s, (first + i) % columns_of(s));
		buf_adds(b, STR(" = "));
		add_value(b);
	}
}

static void add_insert(struct buf *b, const struct subject *s)
{
	unsigned rows = 1 + chance(3);
	buf_adds(b, STR("INSERT"));
	add_or(b);
	buf_adds(b, STR(" INTO "));
	sql_name(b, str_of(s->name));
	for (unsigned i = 0; i < columns_of(s); i++) {
		buf_adds(b, i ? STR(", ") : STR("("));
		add_some_column(b, s, i);
	}
	for (unsigned row = 0; row < rows; row++) {
		buf_adds(b, row ? STR("), (") : STR(") VALUES("));
		for (unsigned i = 0; i < columns_of(s); i++) {
			buf_adds(b, i ? STR(", ") : STR(""));
			add_value(b);
		}
	}
	buf_adds(b, STR(")"));
	if (chance(4) == 0) {
		buf_adds(b, STR(" ON CONFLICT DO UPDATE"));
		add_sets(b, s);
	}
}

static void add_statement(struct buf *b, const struct subject *s)
{
	switch (chance(8)) {
	case 0:
		buf_adds(b, STR("DELETE FROM "));
		sql_name(b, str_of(s->name));
		if (chance(10))
			add_where(b, s);
		break;
	case 1:
	case 2:
	case 3:
		buf_adds(b, STR("UPDATE"));
		add_or(b);
		buf_adds(b, STR(" "));
		sql_name(b, str_of(s->name));
		add_sets(b, s);
		add_where(b, s);
		break;
	default:
		add_insert(b, s);
	}
}

/* ---- writers ---- */

static void setting(sqlite3 *db, const char *sql)
{
	if (chance(2))
		must(db, sql);
}

static sqlite3 *new_writer(void)
{
	sqlite3 *db = open_file();
	setting(db, "PRAGMA recursive_triggers = ON");
	setting(db, "PRAGMA trusted_schema = OFF");
	setting(db, "PRAGMA foreign_keys = ON");
	setting(db, "PRAGMA synchronous = OFF");
	setting(db, "PRAGMA reverse_unordered_selects = ON");
	if (chance(3) == 0)
		must(db,
			"CREATE TEMP TRIGGER mine AFTER INSERT ON main.busy BEGIN "
			"UPDATE busy SET a = 'temp' WHERE id = NEW.id; END");
	return db;
}

/* One transaction of some statements; what a constraint refuses is refused. */
static void write_some(sqlite3 *db)
{
	struct buf b = BUF_INIT(1 << 16);
	must(db, "BEGIN IMMEDIATE");
	for (unsigned count = 1 + chance(5); count; count--) {
		bool save = chance(4) == 0;
		if (save)
			must(db, "SAVEPOINT s");
		add_statement(&b, &subjects[chance(SUBJECTS)]);
		sqlite3_exec(db, b.p, NULL, NULL, NULL);
		int code = sqlite3_errcode(db);
		if (code != SQLITE_OK && code != SQLITE_CONSTRAINT && code != SQLITE_MISMATCH)
			fail_msg("%s: %s", sqlite3_errmsg(db), b.p);
		buf_cut(&b, 0);
		if (save)
			must(db, chance(2) ? "ROLLBACK TO s; RELEASE s" : "RELEASE s");
	}
	must(db, chance(8) ? "COMMIT" : "ROLLBACK");
	buf_free(&b);
}

/* ---- the test ---- */

static struct str names[SUBJECTS];

static void make_tables(sqlite3 *db)
{
	must(db, "PRAGMA journal_mode = WAL");
	for (size_t i = 0; i < SUBJECTS; i++) {
		must(db, subjects[i].sql);
		names[i] = str_of(subjects[i].name);
	}
}

static void no_hole_in_seq(sqlite3 *db)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_adds(&b, STR("SELECT 0"));
	for (size_t i = 1; i <= SUBJECTS; i++)
		buf_addf(&b, " + (SELECT count(*) FROM _sb_c%zu)", i);
	char *total = one(db, b.p);
	buf_free(&b);
	expect(db, "SELECT seq - floor FROM _sb_ctx", total);
	free(total);
}

static void the_log_alone_makes_the_table(void **state)
{
	(void)state;
	const char *given = getenv("SEED"), *operations = getenv("OPERATIONS");
	unsigned began = seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	long rounds = operations ? strtol(operations, NULL, 10) : 600;
	print_message("SEED=%u\n", began);
	sqlite3 *db = open_file();
	make_tables(db);
	bool changed = true;
	if (capture_ensure(db, names, SUBJECTS, false, &changed, why) != ERR_OK)
		fail_msg("%s", why);
	assert_false(changed);
	struct told told[SUBJECTS] = {0};
	for (size_t i = 0; i < SUBJECTS; i++) {
		told[i].exact = !subjects[i].inexact;
		assert_int_equal(
			capture_layout(db, names[i], NULL, 0, &told[i].layout, why), ERR_OK);
	}
	sqlite3 *writers[WRITERS];
	for (size_t i = 0; i < WRITERS; i++)
		writers[i] = new_writer();
	for (long round = 0; round < rounds; round++) {
		write_some(writers[chance(WRITERS)]);
		for (size_t i = 0; i < SUBJECTS; i++) {
			told_read(db, &told[i]);
			told_is_table(db, &told[i]);
		}
	}
	no_hole_in_seq(db);
	for (size_t i = 0; i < SUBJECTS; i++) {
		int64_t changes = 0, rows = 0;
		if (capture_verify(db, names[i], &changes, &rows, why) != ERR_OK)
			fail_msg("%s", why);
		assert_int_equal(rows, told[i].count);
	}
	assert_true(capture_stands(db, names, SUBJECTS));
	for (size_t i = 0; i < SUBJECTS; i++)
		told_free(&told[i]);
	for (size_t i = 0; i < WRITERS; i++)
		close_file(&writers[i]);
	close_file(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_log_alone_makes_the_table, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
