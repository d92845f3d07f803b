/* Shapes: what a reader wishes becomes one predicate with all values bound, columns, an order, and an id that is the
 * same for the same wish and another for any other. */
#include "dataset_fixture.h"

#include "dataset/caller.h"
#include "dataset/shape.h"

static struct layout *l;
static sqlite3 *db;

static int begin(void **state)
{
	(void)state;
	l = kinds_layout();
	db = kinds_open();
	sql(db, "CREATE TABLE members(user TEXT, team INTEGER, role TEXT)");
	sql(db, "CREATE TABLE teams(id INTEGER PRIMARY KEY, owner TEXT)");
	sql(db,
		"INSERT INTO kinds(id, n, t, nc, secret) VALUES(1, 1, 'ann', 'Ann', 'x'), (2, 2, "
		"'bob', NULL, 'y'),"
		" (3, 1, NULL, 'ANN', 'z'), (4, 2, 'ann', 'carl', NULL), (5, NULL, 'ANN', 'b', "
		"'w')");
	sql(db, "INSERT INTO members VALUES('ann', 1, 'boss'), ('bob', 2, 'staff')");
	return 0;
}

static int end(void **state)
{
	(void)state;
	layout_unref(&l);
	sqlite3_close(db);
	return 0;
}

static enum err make(const char *rule, const struct principal *who, struct shape_wish wish,
	struct shape **ret, struct wish_problem *problem)
{
	struct definition said = kinds_definition(rule);
	struct definition *d = definition_new(&said);
	enum err err = shape_new(&wish, d, l, who, ret, problem);
	definition_unref(&d);
	return err;
}

static struct shape *shape_of(const char *rule, struct shape_wish wish)
{
	struct principal ann = fixture_ann();
	struct wish_problem problem;
	struct shape *s;
	if (make(rule, &ann, wish, &s, &problem) != ERR_OK)
		fail_msg("%s", problem.message);
	return s;
}

static void prepared(const struct shape *s, struct str predicate, const char *want)
{
	struct buf b = BUF_INIT(1 << 20);
	sqlite3_stmt *stmt;
	buf_adds(&b, STR("SELECT id FROM main.kinds AS kinds WHERE "));
	buf_adds(&b, predicate);
	shape_order_sql(&b, s);
	if (sqlite3_prepare_v2(db, b.p, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", b.p, sqlite3_errmsg(db));
	assert_int_equal(shape_bind(stmt, s->params, s->param_count), ERR_OK);
	buf_cut(&b, 0);
	while (sqlite3_step(stmt) == SQLITE_ROW)
		buf_addf(&b, "%d ", sqlite3_column_int(stmt, 0));
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	assert_string_equal(b.p ? b.p : "", want);
	buf_free(&b);
}

static void sees(const char *rule, struct shape_wish wish, const char *rows)
{
	struct shape *s = shape_of(rule, wish);
	prepared(s, s->predicate, rows);
	shape_unref(&s);
}

#define WISH(...) ((struct shape_wish){__VA_ARGS__})

static void rows(void **state)
{
	(void)state;
	sees("1", WISH(0), "1 2 3 4 5 ");
	sees("t = :user", WISH(0), "1 4 ");
	sees("nc = :user", WISH(0), "1 3 ");
	sees("t = :user OR n = 2", WISH(0), "1 2 4 ");
	sees("t = :user OR n = 2", WISH(.where = STR("[\"=\",\"n\",1]")), "1 ");
	sees("kinds.secret = 'x' AND :scope_datasets_read AND NOT :scope_admin", WISH(0), "1 ");
	sees("EXISTS(SELECT 1 FROM members WHERE user = :user AND team = kinds.n)", WISH(0),
		"1 3 ");
	sees("n IN (SELECT team FROM members)", WISH(.where = STR("[\"!=\",\"t\",\"ann\"]")), "2 ");
	sees("1", WISH(.order = STR("[\"n\",\"-id\"]")), "5 3 1 4 2 ");
	sees("1", WISH(.order = STR("[\"-nc\"]")), "4 5 1 3 2 "); /* bytes: c b A A NULL */
	sees("1", WISH(.order = STR("[{\"column\":\"t\",\"desc\":true},{\"column\":\"n\"}]")),
		"2 1 4 5 3 ");
}

static void what_it_has(void **state)
{
	(void)state;
	struct shape *s = shape_of("t = :user", WISH(.columns = STR("[\"T\",\"n\"]"), .limit = 3));
	assert_int_equal(s->column_count, 3); /* the key is always there */
	assert_int_equal(s->columns[0], KIND_T);
	assert_int_equal(s->columns[1], KIND_N);
	assert_int_equal(s->columns[2], KIND_ID);
	assert_int_equal(s->limit, 3);
	assert_int_equal(strlen(s->id), SHAPE_ID_BYTES);
	assert_int_equal(s->delta_count, 0);
	assert_true(str_eq(s->predicate, s->predicate_wide));
	struct shape *again = shape_ref(s);
	shape_unref(&again);
	shape_unref(&s);
	s = shape_of("1", WISH(0));
	assert_int_equal(s->column_count, KINDS - 1);
	for (size_t i = 0; i < s->column_count; i++)
		assert_int_not_equal(s->columns[i], KIND_SECRET);
	shape_unref(&s);
	s = shape_of("1", WISH(.columns = STR("[]")));
	assert_int_equal(s->column_count, 1);
	shape_unref(&s);
	struct principal admin = fixture_ann();
	struct wish_problem problem;
	admin.scopes |= SCOPE_ADMIN;
	assert_int_equal(make("1", &admin, WISH(0), &s, &problem), ERR_OK);
	assert_int_equal(s->column_count, KINDS);
	shape_unref(&s);
}

static void equals(void **state)
{
	(void)state;
	static const struct {
		const char *rule, *where;
		size_t column;
		const char *value;
	} cases[] = {
		{"t = :user", "", KIND_T, "ann"},
		{":user == kinds.\"t\" AND n = 1", "", KIND_T, "ann"},
		{"(n > 1 AND (t = :user))", "[\"=\",\"nc\",\"x\"]", KIND_T, "ann"},
		{"t = :claim_org", "[\"=\",\"nc\",\"x\"]", KIND_NC, "x"},
		{"t = :claim_org", "[\"<\",\"nc\",\"x\"]", KIND_T, "acme"},
		{"t = :user OR n = 1", "[\"=\",\"nc\",\"x\"]", KIND_NC, "x"},
		{"t = :user OR n = 1", "", SIZE_MAX, ""},
		{"NOT t = :user", "", SIZE_MAX, ""},
		{"t = :user COLLATE NOCASE", "", SIZE_MAX, ""},
		{"t = :user = 1", "", SIZE_MAX, ""},
		{"t IS :user", "", SIZE_MAX, ""},
		{"n BETWEEN 1 AND t = :user", "", SIZE_MAX, ""},
		{"CASE WHEN n THEN 1 AND t = :user END", "", SIZE_MAX, ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct shape *s = shape_of(cases[i].rule, WISH(.where = str_of(cases[i].where)));
		if (s->equal.column != cases[i].column)
			fail_msg("%s %s: column %zu", cases[i].rule, cases[i].where,
				s->equal.column);
		if (s->equal.column != SIZE_MAX)
			assert_true(str_is(s->equal.value.bytes, cases[i].value));
		shape_unref(&s);
	}
}

static void deltas(void **state)
{
	(void)state;
	struct shape *s = shape_of(
		"t = :user OR EXISTS(SELECT 1 FROM members AS m, teams WHERE m.team = teams.id"
		" AND m.user = :user AND teams.id = kinds.n) OR n IN (SELECT team FROM"
		" Members WHERE user = :claim_org)",
		WISH(.where = STR("[\"=\",\"n\",2]")));
	assert_int_equal(s->delta_count, 3);
	assert_true(str_is(s->deltas[0].depend, "members"));
	assert_true(str_is(s->deltas[0].column, "user"));
	assert_true(str_is(s->deltas[0].value.bytes, "ann"));
	assert_true(str_is(s->deltas[1].depend, "teams"));
	assert_int_equal(s->deltas[1].column.n, 0);
	assert_true(str_is(s->deltas[2].depend, "members"));
	assert_true(str_is(s->deltas[2].column, "user"));
	assert_true(str_is(s->deltas[2].value.bytes, "acme"));
	prepared(s, s->predicate, "4 ");
	sql(db,
		"CREATE TEMP TABLE \"_sb_wmembers\" AS SELECT * FROM members UNION ALL SELECT "
		"'acme', 2, ''");
	sql(db, "CREATE TEMP TABLE \"_sb_wteams\" AS SELECT * FROM teams");
	sql(db,
		"CREATE TEMP TABLE \"_sb_dmembers\" AS SELECT 'acme' AS user, 2 AS team, '' AS "
		"role");
	sql(db, "CREATE TEMP TABLE \"_sb_dteams\" AS SELECT * FROM teams");
	prepared(s, s->predicate_wide, "2 4 ");
	prepared(s, s->deltas[0].predicate, "2 4 ");
	prepared(s, s->deltas[2].predicate, "2 4 ");
	sql(db, "DELETE FROM temp._sb_dmembers; DELETE FROM temp._sb_wmembers WHERE user = 'acme'");
	prepared(s, s->predicate_wide, "4 ");
	sql(db,
		"DROP TABLE temp._sb_wmembers; DROP TABLE temp._sb_wteams; DROP TABLE "
		"temp._sb_dmembers;"
		"DROP TABLE temp._sb_dteams");
	shape_unref(&s);
}

static void id_of(const char *rule, struct shape_wish wish, char *ret)
{
	struct shape *s = shape_of(rule, wish);
	memcpy(ret, s->id, SHAPE_ID_BYTES + 1);
	shape_unref(&s);
}

static void ids(void **state)
{
	(void)state;
	const struct shape_wish same[] = {
		WISH(.where = STR("[\"and\",[\"=\",\"n\",1],[\"=\",\"t\",\"a\"]]")),
		WISH(.where = STR(
			     " [\"and\", [\"=\",\"T\",\"\\u0061\"],[\"=\",\"n\",{\"$i\":\"1\"}]]")),
		WISH(.where = STR("[\"and\",[\"in\",\"n\",[1]],[\"=\",\"t\",\"a\"],[\"and\"]]"),
			.order = STR("[]")),
	};
	char first[SHAPE_ID_BYTES + 1], other[SHAPE_ID_BYTES + 1];
	id_of("t = :user", same[0], first);
	/* after a restart, too: what is hashed is the same in every process */
	assert_string_equal(first, "DLFTBt0zRKzOOuHKdssWHg");
	for (size_t i = 1; i < sizeof(same) / sizeof(*same); i++) {
		id_of("t  =\n:user", same[i], other);
		assert_string_equal(first, other);
	}
	const struct shape_wish wishes[] = {WISH(0), WISH(.where = STR("[\"=\",\"n\",1]")),
		WISH(.where = STR("[\"=\",\"n\",1.0]")), WISH(.where = STR("[\"=\",\"n\",\"1\"]")),
		WISH(.where = STR("[\"=\",\"v\",1]")), WISH(.columns = STR("[\"n\",\"t\"]")),
		WISH(.columns = STR("[\"t\",\"n\"]")), WISH(.order = STR("[\"n\"]")),
		WISH(.order = STR("[\"-n\"]")), WISH(.limit = 5), WISH(.limit = 6),
		WISH(.notify = true)};
	char have[3 * 12 + 1][SHAPE_ID_BYTES + 1];
	size_t count = 0;
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++) {
		id_of("t = :user", wishes[i], have[count++]);
		id_of("t = :claim_org", wishes[i], have[count++]);
		id_of("n = 1", wishes[i], have[count++]);
	}
	struct principal bob = fixture_ann();
	struct wish_problem problem;
	struct shape *s;
	bob.user = STR("bob");
	assert_int_equal(make("t = :user", &bob, wishes[0], &s, &problem), ERR_OK);
	memcpy(have[count++], s->id, SHAPE_ID_BYTES + 1);
	shape_unref(&s);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(have[i], have[j]);
	/* a value that the rule does not use is nobody's matter */
	assert_int_equal(make("n = 1", &bob, wishes[0], &s, &problem), ERR_OK);
	assert_string_equal(s->id, have[2]);
	shape_unref(&s);
}

static void refused(struct shape_wish wish, enum err err, const char *reason, const char *field)
{
	struct principal ann = fixture_ann();
	struct wish_problem problem;
	struct shape *s = NULL;
	assert_int_equal(make("1", &ann, wish, &s, &problem), err);
	assert_null(s);
	assert_true(str_is(problem.why.field, field));
	assert_string_equal(problem.why.reason ? problem.why.reason : "", reason);
	assert_true(*problem.message);
}

static void refusals(void **state)
{
	(void)state;
	refused(WISH(.where = STR("[\"=\",\"secret\",1]")), ERR_PARAMS, "no_such_column",
		"where[1]");
	refused(WISH(.columns = STR("{}")), ERR_PARAMS, "", "columns");
	refused(WISH(.columns = STR("[\"n\",\"secret\"]")), ERR_PARAMS, "no_such_column",
		"columns[1]");
	refused(WISH(.columns = STR("[\"n\",\"N\"]")), ERR_PARAMS, "", "columns[1]");
	refused(WISH(.columns = STR("[1]")), ERR_PARAMS, "", "columns[0]");
	refused(WISH(.order = STR("[\"-secret\"]")), ERR_PARAMS, "no_such_column", "order[0]");
	refused(WISH(.order = STR("[\"n\",\"-n\"]")), ERR_PARAMS, "", "order[1]");
	refused(WISH(.order = STR("[\"--n\"]")), ERR_PARAMS, "no_such_column", "order[0]");
	refused(WISH(.order = STR("[{\"column\":\"-n\"}]")), ERR_PARAMS, "no_such_column",
		"order[0]");
	refused(WISH(.order = STR("[{\"column\":\"n\",\"asc\":true}]")), ERR_PARAMS, "",
		"order[0]");
	refused(WISH(.order = STR("[{\"column\":\"n\",\"desc\":1}]")), ERR_PARAMS, "", "order[0]");
	refused(WISH(.order = STR("[{\"desc\":true}]")), ERR_PARAMS, "", "order[0]");
	refused(WISH(.order = STR("[[\"n\"]]")), ERR_PARAMS, "", "order[0]");
	refused(WISH(.order = STR("\"n\"")), ERR_PARAMS, "", "order");
	refused(WISH(.order = STR("[\"id\",\"n\",\"r\",\"t\",\"nc\",\"b\",\"x\",\"v\",\"a "
				  "\\\"q\\\"\"]")),
		ERR_TOO_LARGE, "", "order[8]");
	refused(WISH(.limit = 1001), ERR_PARAMS, "", "limit");
	refused(WISH(.limit = -1), ERR_PARAMS, "", "limit");
	struct principal ann = fixture_ann();
	struct wish_problem problem;
	struct shape *s;
	assert_int_equal(make("", &ann, WISH(0), &s, &problem), ERR_FORBIDDEN);
	assert_string_equal(problem.why.reason, "not_readable");
	assert_int_equal(make("rowid = 1", &ann, WISH(0), &s, &problem), ERR_OVERLOADED);
	assert_string_equal(problem.why.reason, "dataset_unavailable");
}

static struct value caller(const char *param, char *room)
{
	struct principal ann = fixture_ann();
	char *own;
	assert_true(caller_knows(str_of(param)));
	struct value v = caller_value(&ann, str_of(param), &own);
	if (own) {
		memcpy(room, v.bytes.p, v.bytes.n);
		v.bytes.p = room;
		free(own);
	}
	return v;
}

static void callers(void **state)
{
	(void)state;
	char room[64];
	assert_true(str_is(caller(":user", room).bytes, "ann"));
	assert_true(str_is(caller(":name", room).bytes, "ann"));
	assert_true(str_is(caller(":iss", room).bytes, "http://localhost"));
	assert_int_equal(caller(":client", room).kind, VALUE_NULL);
	assert_int_equal(caller(":scope_datasets_read", room).number, 1);
	assert_int_equal(caller(":scope_admin", room).number, 0);
	assert_int_equal(caller(":scope_notes_read", room).number, 1);
	assert_int_equal(caller(":scope_x_y", room).number, 1);
	assert_int_equal(caller(":scope_notes", room).number, 0);
	assert_true(str_is(caller(":claim_org", room).bytes, "acme"));
	assert_int_equal(caller(":claim_level", room).number, 7);
	assert_int_equal(caller(":claim_boss", room).number, 1);
	assert_true(caller(":claim_share", room).real == 0.5);
	assert_true(str_is(caller(":claim_list", room).bytes, "[1, 2]"));
	assert_int_equal(caller(":claim_none", room).kind, VALUE_NULL);
	static const char *const unknown[] = {":", ":users", ":scope_", ":claim_", ":claim_a-b",
		"user", ":claim_12345678901234567890123456789"};
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		assert_false(caller_knows(str_of(unknown[i])));
	struct principal foreign = fixture_ann();
	char *own;
	foreign.user = STR("work|ann");
	assert_int_equal(caller_value(&foreign, STR(":name"), &own).kind, VALUE_NULL);
}

static void add_claim(void *context, struct str name)
{
	buf_addf(context, STR_FMT " ", STR_ARG(name));
}

static void claims_that_rules_need(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1024);
	caller_claims(
		STR("a = :claim_org AND :scope_admin OR :claim_x <> ':claim_no' AND :scope_admins"),
		add_claim, &b);
	assert_string_equal(b.p, "org x scope scp ");
	buf_free(&b);
}

static void rulings(void **state)
{
	(void)state;
	struct definition d = kinds_definition("");
	struct principal ann = fixture_ann();
	struct ruling *r;
	d.rules[RULE_UPDATE] =
		STR("t = :user AND n IN (SELECT team FROM members WHERE user = :claim_org"
		    " OR role = 'boss')");
	assert_int_equal(ruling_new(&d, RULE_READ, l, &ann, &r), ERR_FORBIDDEN);
	assert_int_equal(ruling_new(&d, RULE_UPDATE, l, &ann, &r), ERR_OK);
	assert_int_equal(r->param_count, 2);
	assert_string_equal(r->params[1].name, ":claim_org");
	assert_true(str_is(r->params[1].value.bytes, "acme"));
	struct buf b = BUF_INIT(4096);
	sqlite3_stmt *s;
	buf_addf(&b, "SELECT id FROM kinds WHERE " STR_FMT, STR_ARG(r->predicate));
	assert_int_equal(sqlite3_prepare_v2(db, b.p, -1, &s, NULL), SQLITE_OK);
	assert_int_equal(shape_bind(s, r->params, r->param_count), ERR_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(s, 0), 1);
	assert_int_equal(sqlite3_step(s), SQLITE_DONE);
	sqlite3_finalize(s);
	buf_free(&b);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(what_it_has),
		cmocka_unit_test(equals),
		cmocka_unit_test(deltas),
		cmocka_unit_test(ids),
		cmocka_unit_test(refusals),
		cmocka_unit_test(callers),
		cmocka_unit_test(claims_that_rules_need),
		cmocka_unit_test(rulings),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
