/* Rules: what an operator may say, what is refused and where, and what is the same over other states of the tables. */
#include "dataset_fixture.h"

#include "dataset/caller.h"
#include "dataset/rule.h"

static struct layout *l;
static sqlite3 *db;
static struct str depends[] = {{"members", 7}, {"my \"teams\"", 10}};

static int begin(void **state)
{
	(void)state;
	l = kinds_layout();
	db = kinds_open();
	sql(db, "CREATE TABLE members(user TEXT COLLATE NOCASE, team INTEGER, role TEXT)");
	sql(db,
		"CREATE TABLE \"my \"\"teams\"\"\"(id INTEGER PRIMARY KEY, owner TEXT, \"no\" "
		"INTEGER)");
	sql(db, "CREATE TABLE strangers(a)");
	sql(db,
		"CREATE VIEW seen AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
		"c WHERE i < 3)"
		" SELECT i AS id, date('now') AS day, (SELECT count(*) FROM strangers) AS n FROM "
		"c");
	return 0;
}

static int end(void **state)
{
	(void)state;
	layout_unref(&l);
	sqlite3_close(db);
	return 0;
}

static struct rule *rule_of_text(const char *text)
{
	struct rule *r;
	char why[RULE_WHY_MAX];
	if (rule_new(str_of(text), l, depends, 2, &r, why) != ERR_OK)
		fail_msg("%s: %s", text, why);
	if (rule_compile(r, db, l, depends, 2, why) != ERR_OK)
		fail_msg("%s: %s", text, why);
	return r;
}

static void what_may_be_said(void **state)
{
	(void)state;
	static const char *const good[] = {"1", "n", "(((n)))", "t = :user", "kinds.t = 'it''s'",
		"\"a \"\"q\"\"\" IS NOT NULL", "n NOTNULL AND r ISNULL OR NOT b",
		"n BETWEEN 1 AND 2 AND t = :user", "n NOT BETWEEN 1 AND 2 OR x NOT IN (1, 2)",
		"n IN ()", "t LIKE 'a%' ESCAPE '\\' AND t NOT GLOB '*x*'", "x'00ff' = b",
		"0x1F < n AND 1.5e-3 < r AND .5 < r AND 5. < r",
		"CASE n WHEN 1 THEN 2 ELSE CASE WHEN t THEN 1 AND 2 OR 3 END END = 2",
		"CAST(n AS TEXT) = '5' AND CAST(t AS VARCHAR(9)) = t", "t COLLATE NOCASE = :name",
		"json_extract(t, '$.a') = 1 AND t -> 'a' ->> 'b' = 2", "replace(t, 'a', 'b') = t",
		"max(n, 2) = 2 AND min(n, r, 3) = 3",
		"coalesce(n, 1) + -n * 2 / 3 % 4 - ~n << 1 >> 2 & 3 | 4",
		"iif(n, 1, 0) AND sign(n) AND like('a', t) AND glob('a', t)",
		"n IS TRUE AND r IS NOT FALSE", ":scope_admin OR :claim_level >= 5",
		"(n, t) = (1, 'a')", "n\n=\t1", "EXISTS(SELECT 1 FROM members)",
		"EXISTS (SELECT * FROM members AS m WHERE m.user = :user)",
		"EXISTS(SELECT DISTINCT role FROM members WHERE 1)",
		"n IN (SELECT team FROM members WHERE user = :user)",
		"(n, t) IN (SELECT team, user FROM members)",
		"t || 'x' IN (SELECT user FROM members) AND n = 1",
		"CASE WHEN n = 1 THEN t END IN (SELECT user FROM members)",
		"EXISTS(SELECT 1 FROM \"my \"\"teams\"\"\" AS x WHERE x.owner = kinds.t)",
		"EXISTS(SELECT 1 FROM members m JOIN \"my \"\"teams\"\"\" x ON m.team = x.id WHERE "
		"m.user = :user)",
		"EXISTS(SELECT 1 FROM members m, members k CROSS JOIN \"my \"\"teams\"\"\" WHERE "
		"m.team = k.team)",
		"n = 1 OR (t = :user AND (EXISTS(SELECT 1 FROM members) OR n = 2))",
		"EXISTS(SELECT 1 FROM members WHERE NOT (role = 'a' OR team IN (1, 2)) AND role "
		"BETWEEN 1 AND 2)"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct rule *r = rule_of_text(good[i]);
		rule_free(&r);
	}
}

/* text, and at which of its characters something is wrong */
static const struct {
	const char *text;
	size_t at;
	const char *says;
} refused[] = {
	{"", 1, "empty"},
	{" \n", 3, "empty"},
	{"n = 1; DELETE FROM kinds", 6, "nothing that a rule may have"},
	{"n = 1 -- x", 8, "no comments"},
	{"n /* x */ = 1", 4, "no comments"},
	{"n = ?", 5, "nothing"},
	{"n = ?1", 5, "nothing"},
	{"n = @a", 5, "nothing"},
	{"n = $a", 5, "nothing"},
	{"n = [t]", 5, "nothing"},
	{"n = `t`", 5, "nothing"},
	{"n = :", 5, "nothing"},
	{"n = :nobody", 5, ":nobody is no value of the caller"},
	{"n = 'x", 5, "nothing"},
	{"n = \"x", 5, "nothing"},
	{"n = \"\"", 5, "empty"},
	{"n = x'0'", 5, "nothing"},
	{"n = 1x", 5, "nothing"},
	{"n = 1e", 5, "nothing"},
	{"n = 0x", 5, "nothing"},
	{"n = 1.2.3", 5, "nothing"},
	{"n # 1", 3, "nothing"},
	{"(n = 1", 1, "never closed"},
	{"n = 1)", 6, "closes nothing"},
	{"CASE WHEN (1 THEN 2 END", 21, "closes nothing"},
	{"n AND", 6, "missing"},
	{"OR n", 1, "missing"},
	{"n AND ()", 8, "missing"},
	{"n IN members", 3, "IN is followed by"},
	{"n IN members()", 3, "IN is followed by"},
	{"random() > 0", 1, "may not call random()"},
	{"date('now') > t", 1, "may not call date()"},
	{"datetime() > t", 1, "may not call"},
	{"load_extension('x')", 1, "may not call"},
	{"\"abs\"(n)", 1, "may not call"},
	{"printf('%d', n)", 1, "may not call"},
	{"zeroblob(9)", 1, "may not call"},
	{"randomblob(9)", 1, "may not call"},
	{"count(*)", 1, "may not call"},
	{"sum(n) > 1", 1, "may not call"},
	{"last_insert_rowid()", 1, "may not call"},
	{"sqlite_version()", 1, "may not call"},
	{"max(n) = 1", 1, "goes over rows"},
	{"n IN (SELECT min((team, 1)) FROM members)", 14, "goes over rows"},
	{"kinds.max(n)", 7, "goes over rows"},
	{"t > CURRENT_TIMESTAMP", 5, "no place"},
	{"t MATCH 'a'", 3, "no place"},
	{"t REGEXP 'a'", 3, "no place"},
	{"RAISE(ABORT, 'x')", 1, "no place"},
	{"n = 1 LIMIT 1", 7, "no place"},
	{"n = 1 GROUP BY n", 7, "no place"},
	{"n = 1 UNION SELECT 1", 7, "no place"},
	{"n IN (VALUES (1))", 7, "no place"},
	{"n IN (WITH a AS (SELECT 1) SELECT 1)", 7, "no place"},
	{"t COLLATE mine = t", 11, "collations"},
	{"rowid = 1", 1, "rowid"},
	{"kinds.\"_ROWID_\" = 1", 7, "rowid"},
	{"EXISTS(SELECT 1 FROM members WHERE members.oid = 1)", 44, "rowid"},
	{"main.kinds.n = 1", 1, "without their database"},
	{"SELECT 1", 1, "a subquery stands"},
	{"(SELECT team FROM members) = n", 1, "a subquery stands"},
	{"n = (SELECT team FROM members)", 1, "a subquery stands"},
	{"NOT EXISTS(SELECT 1 FROM members)", 1, "a subquery stands"},
	{"NOT (n OR EXISTS(SELECT 1 FROM members))", 1, "a subquery stands"},
	{"n AND NOT n IN (SELECT team FROM members)", 7, "a subquery stands"},
	{"n NOT IN (SELECT team FROM members)", 1, "a subquery stands"},
	{"n = NOT n IN (SELECT team FROM members)", 1, "a subquery stands"},
	{"n = n IN (SELECT team FROM members)", 1, "a subquery stands"},
	{"t LIKE t ESCAPE t IN (SELECT role FROM members)", 1, "a subquery stands"},
	{"EXISTS(SELECT 1 FROM members) = 0", 1, "a subquery stands"},
	{"EXISTS(SELECT 1 FROM members) IS NULL", 1, "a subquery stands"},
	{"(EXISTS(SELECT 1 FROM members)) + 1", 1, "a subquery stands"},
	{"-EXISTS(SELECT 1 FROM members)", 1, "a subquery stands"},
	{"n IN (SELECT team FROM members) IS NULL", 1, "a subquery stands"},
	{"abs(EXISTS(SELECT 1 FROM members))", 1, "a subquery stands"},
	{"n BETWEEN 0 AND EXISTS(SELECT 1 FROM members)", 1, "a subquery stands"},
	{"n BETWEEN n BETWEEN 1 AND 2 AND EXISTS(SELECT 1 FROM members)", 1, "a subquery stands"},
	{"CASE WHEN EXISTS(SELECT 1 FROM members) THEN 0 END", 1, "a subquery stands"},
	{"CASE WHEN 1 THEN 0 AND EXISTS(SELECT 1 FROM members) END", 1, "a subquery stands"},
	{"EXISTS(members)", 1, "a subquery stands"},
	{"n IS DISTINCT FROM 1", 1, "a subquery stands"},
	{"n IN (1, (SELECT team FROM members))", 1, "a subquery stands"},
	{"n IN ((SELECT team FROM members))", 1, "a subquery stands"},
	{"EXISTS(SELECT 1)", 8, "no FROM"},
	{"EXISTS(SELECT 1 FROM strangers)", 22, "strangers is not in depends"},
	{"EXISTS(SELECT 1 FROM kinds)", 22, "kinds is not in depends"},
	{"EXISTS(SELECT 1 FROM sqlite_schema)", 22, "not in depends"},
	{"EXISTS(SELECT 1 FROM main.members)", 22, "here a table"},
	{"EXISTS(SELECT 1 FROM (members))", 22, "here a table"},
	{"EXISTS(SELECT 1 FROM (SELECT 1 FROM members))", 23, "has none in it"},
	{"EXISTS(SELECT 1 FROM json_each(t))", 22, "may not call"},
	{"EXISTS(SELECT 1 FROM members, strangers)", 31, "not in depends"},
	{"EXISTS(SELECT 1 FROM members JOIN strangers)", 35, "not in depends"},
	{"EXISTS(SELECT 1 FROM members LEFT JOIN members)", 30, "no place"},
	{"EXISTS(SELECT 1 FROM members NATURAL JOIN members)", 30, "no place"},
	{"EXISTS(SELECT 1 FROM members JOIN members USING (user))", 43, "no place"},
	{"EXISTS(SELECT 1 FROM members a b)", 32, "joined by JOIN"},
	{"EXISTS(SELECT 1 FROM members INNER)", 30, "joined by JOIN"},
	{"EXISTS(SELECT 1 FROM members AS)", 32, "no name"},
	{"EXISTS(SELECT 1 FROM members WHERE EXISTS(SELECT 1 FROM members))", 36, "has none in it"},
	{"EXISTS(SELECT n IN (SELECT 1 FROM members) FROM members)", 21, "has none in it"},
	{"EXISTS(SELECT 1 FROM members WHERE 1 WHERE 2)", 38, "no place here"},
	{"EXISTS(SELECT 1 WHERE 1 FROM members)", 17, "no place here"},
	{"EXISTS(SELECT 1 FROM members ORDER BY 1)", 30, "no place"},
};

static void what_may_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		struct rule *r = NULL;
		char why[RULE_WHY_MAX] = "", at[40];
		if (rule_new(str_of(refused[i].text), l, depends, 2, &r, why) != ERR_PARAMS)
			fail_msg("accepted: %s", refused[i].text);
		assert_null(r);
		snprintf(at, sizeof(at), "(at character %zu)", refused[i].at);
		if (!strstr(why, refused[i].says) || !strstr(why, at))
			fail_msg("%s: %s", refused[i].text, why);
	}
}

/* What only SQLite itself can tell. */
static void what_does_not_compile(void **state)
{
	(void)state;
	static const char *const bad[] = {"nope = 1", "\"nope\" = 1", "members.user = 1", "n = = 1",
		"strangers.a = 1", "n IN (SELECT team, role FROM members)",
		"EXISTS(SELECT 1 FROM members WHERE nope)", "abs(1, 2)", "t COLLATE NOCASE BINARY",
		"n t", "EXISTS(SELECT 1 FROM members m WHERE members.team = 1)", "(n, t)"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct rule *r;
		char why[RULE_WHY_MAX];
		if (rule_new(str_of(bad[i]), l, depends, 2, &r, why) != ERR_OK)
			fail_msg("%s: %s", bad[i], why);
		if (rule_compile(r, db, l, depends, 2, why) != ERR_PARAMS)
			fail_msg("compiles: %s", bad[i]);
		assert_non_null(strstr(why, "SQLite does not take it"));
		rule_free(&r);
	}
	/* the connection is as it was */
	sql(db, "SELECT random(), date('now') FROM strangers");
}

static void limits(void **state)
{
	(void)state;
	char text[RULE_MAX + 2], why[RULE_WHY_MAX];
	struct rule *r;
	memset(text, '1', sizeof(text));
	assert_int_equal(rule_new((struct str){text, RULE_MAX}, l, depends, 2, &r, why), ERR_OK);
	rule_free(&r);
	assert_int_equal(
		rule_new((struct str){text, RULE_MAX + 1}, l, depends, 2, &r, why), ERR_PARAMS);
	for (size_t i = 1; i < RULE_MAX; i += 2)
		text[i] = '+';
	assert_int_equal(
		rule_new((struct str){text, RULE_TOKENS_MAX - 1}, l, depends, 2, &r, why), ERR_OK);
	rule_free(&r);
	assert_int_equal(rule_new((struct str){text, RULE_TOKENS_MAX + 1}, l, depends, 2, &r, why),
		ERR_PARAMS);
	memset(text, '(', 200);
	memset(text + 201, ')', 200);
	text[200] = '1';
	assert_int_equal(rule_new((struct str){text, 401}, l, depends, 2, &r, why), ERR_PARAMS);
	assert_non_null(strstr(why, "too deep"));
	assert_int_equal(rule_new((struct str){text + 200 - RULE_DEPTH_MAX, 2 * RULE_DEPTH_MAX + 1},
				 l, depends, 2, &r, why),
		ERR_OK);
	assert_int_equal(rule_compile(r, db, l, depends, 2, why), ERR_OK);
	rule_free(&r);
	assert_int_equal(rule_new((struct str){"n = '\0'", 7}, l, depends, 2, &r, why), ERR_PARAMS);
	assert_int_equal(rule_new(STR("n = '\xff'"), l, depends, 2, &r, why), ERR_PARAMS);
	struct buf b = BUF_INIT(RULE_MAX);
	buf_adds(&b, STR(":claim_0"));
	for (int i = 1; i < RULE_PARAMS_MAX; i++)
		buf_addf(&b, "+:claim_%d+:claim_0", i);
	assert_int_equal(rule_new(buf_str(&b), l, depends, 2, &r, why), ERR_OK);
	assert_int_equal(r->param_count, RULE_PARAMS_MAX);
	rule_free(&r);
	buf_adds(&b, STR("+:user"));
	assert_int_equal(rule_new(buf_str(&b), l, depends, 2, &r, why), ERR_PARAMS);
	buf_cut(&b, 0);
	buf_adds(&b, STR("EXISTS(SELECT 1 FROM members"));
	for (int i = 1; i < RULE_PLACES_MAX; i++)
		buf_adds(&b, STR(",members"));
	buf_addc(&b, ')');
	assert_int_equal(rule_new(buf_str(&b), l, depends, 2, &r, why), ERR_OK);
	assert_int_equal(r->place_count, RULE_PLACES_MAX);
	rule_free(&r);
	buf_adds(&b, STR(" OR EXISTS(SELECT 1 FROM members)"));
	assert_int_equal(rule_new(buf_str(&b), l, depends, 2, &r, why), ERR_PARAMS);
	buf_free(&b);
}

static void about_callers_alone(void **state)
{
	(void)state;
	static const char *const good[] = {":scope_admin", ":user = 'ann' OR :claim_level > 5",
		"TRUE", "CAST(:claim_level AS INTEGER) IN (1, 2)", "lower(:claim_org) LIKE 'a%'"};
	static const char *const bad[] = {"t = 1", "\"t\" = 1", "EXISTS(SELECT 1 FROM members)",
		"kinds.n", "random()", ":user = user"};
	struct rule *r;
	char why[RULE_WHY_MAX];
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(rule_new(str_of(good[i]), NULL, NULL, 0, &r, why), ERR_OK);
		assert_int_equal(rule_compile(r, db, NULL, NULL, 0, why), ERR_OK);
		rule_free(&r);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(rule_new(str_of(bad[i]), NULL, depends, 2, &r, why), ERR_PARAMS);
}

static void text_is(const struct rule *r, enum rule_view view, size_t place, const char *want)
{
	struct buf b = BUF_INIT(1 << 16);
	rule_sql(r, view, place, &b);
	assert_string_equal(b.p, want);
	buf_free(&b);
}

static void texts(void **state)
{
	(void)state;
	struct rule *r = rule_of_text("t=:user or n IN(SELECT team FROM Members m,\"my "
				      "\"\"teams\"\"\" WHERE m.user=:user)");
	text_is(r, RULE_NOW, 0,
		"(t = :user or n IN ( SELECT team FROM main.\"members\" m , main.\"my "
		"\"\"teams\"\"\""
		" AS \"my \"\"teams\"\"\" WHERE m . user = :user ))");
	text_is(r, RULE_WIDE, 0,
		"(t = :user or n IN ( SELECT team FROM temp.\"_sb_wmembers\" m , temp.\"_sb_wmy "
		"\"\"teams\"\"\""
		" AS \"my \"\"teams\"\"\" WHERE m . user = :user ))");
	text_is(r, RULE_DELTA, 1,
		"(t = :user or n IN ( SELECT team FROM temp.\"_sb_wmembers\" m , temp.\"_sb_dmy "
		"\"\"teams\"\"\""
		" AS \"my \"\"teams\"\"\" WHERE m . user = :user ))");
	assert_int_equal(r->param_count, 1);
	assert_int_equal(r->place_count, 2);
	rule_free(&r);
}

/* Which `column = :param` holds of each row of a table that counts. */
static void equals_of_places(void **state)
{
	(void)state;
	static const struct {
		const char *text, *column;
	} rows[] = {
		{"EXISTS(SELECT 1 FROM members WHERE user = :user)", "user"},
		{"EXISTS(SELECT 1 FROM members WHERE team = kinds.n AND :user = members.\"user\")",
			"user"},
		{"EXISTS(SELECT 1 FROM members AS m WHERE m.user = :user AND role = 'x')", "user"},
		{"EXISTS(SELECT 1 FROM members m JOIN members k ON m.user = :user)", "user"},
		{"EXISTS(SELECT 1 FROM members m JOIN members k ON k.user = :user)", ""},
		{"EXISTS(SELECT 1 FROM members WHERE user = :user OR 1)", ""},
		{"EXISTS(SELECT 1 FROM members WHERE (user = :user OR 1))", ""},
		{"EXISTS(SELECT 1 FROM members WHERE t = :user)", ""}, /* of kinds */
		{"EXISTS(SELECT 1 FROM members WHERE kinds.t = :user)", ""},
		{"EXISTS(SELECT 1 FROM members WHERE NOT user = :user)", ""},
		{"EXISTS(SELECT 1 FROM members WHERE team BETWEEN 1 AND user = :user)", ""},
		{"EXISTS(SELECT user = :user FROM members)", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rule *r = rule_of_text(rows[i].text);
		if (r->place_count && !str_is(r->places[0].equal.column, rows[i].column))
			fail_msg("%s: " STR_FMT, rows[i].text, STR_ARG(r->places[0].equal.column));
		rule_free(&r);
	}
}

/* What a view does is its own; what a rule says of it is held to the same. */
static void of_a_view(void **state)
{
	(void)state;
	static size_t key[] = {0};
	static struct column columns[] = {{{"id", 2}, {"", 0}, {"BINARY", 6}, 1, false, false},
		{{"day", 3}, {"", 0}, {"BINARY", 6}, 0, false, false},
		{{"n", 1}, {"", 0}, {"BINARY", 6}, 0, false, false}};
	struct layout *view = layout_new(&(struct layout){.table = STR("seen"),
		.view = true,
		.count = 3,
		.key_count = 1,
		.columns = columns,
		.key = key});
	struct rule *r;
	char why[RULE_WHY_MAX];
	assert_int_equal(rule_new(STR("day > 'a' AND n = 0 AND id IN (SELECT team FROM members)"),
				 view, depends, 2, &r, why),
		ERR_OK);
	if (rule_compile(r, db, view, depends, 2, why) != ERR_OK)
		fail_msg("%s", why);
	rule_free(&r);
	layout_unref(&view);
}

static void whole_definitions(void **state)
{
	(void)state;
	struct definition d = kinds_definition("t = :user");
	struct str field;
	char why[RULE_WHY_MAX];
	d.depends = depends;
	assert_int_equal(rules_check(&d, db, l, &field, why), ERR_OK);
	d.rules[RULE_DELETE] = STR("t = nobody");
	assert_int_equal(rules_check(&d, db, l, &field, why), ERR_PARAMS);
	assert_true(str_is(field, "delete"));
	d.rules[RULE_DELETE] = STR("");
	d.rules[RULE_INSERT] = STR("random()");
	assert_int_equal(rules_check(&d, db, l, &field, why), ERR_PARAMS);
	assert_true(str_is(field, "insert"));
	d.rules[RULE_INSERT] = STR("");
	struct hidden_column hidden[] = {{STR("t"), STR("")}, {STR("nope"), STR("")},
		{STR("id"), STR("")}, {STR("n"), STR("t")}};
	d.hidden_count = 1;
	d.hidden = hidden;
	assert_int_equal(rules_check(&d, db, l, &field, why), ERR_OK);
	static const char *const says[] = {
		"no column nope", "column id is of the key", "no columns"};
	for (size_t i = 1; i < 4; i++) {
		d.hidden = &hidden[i];
		assert_int_equal(rules_check(&d, db, l, &field, why), ERR_PARAMS);
		assert_true(str_is(field, "hide"));
		assert_non_null(strstr(why, says[i - 1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_be_said),
		cmocka_unit_test(what_may_not),
		cmocka_unit_test(what_does_not_compile),
		cmocka_unit_test(limits),
		cmocka_unit_test(about_callers_alone),
		cmocka_unit_test(texts),
		cmocka_unit_test(equals_of_places),
		cmocka_unit_test(of_a_view),
		cmocka_unit_test(whole_definitions),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
