/* Filters: each selects what the same condition selects that is written as SQL by other means; filters that mean the
 * same have one form; and what is wrong is named by its place. */
#include "dataset_fixture.h"

#include "core/json_out.h"
#include "core/json_scan.h"
#include "dataset/capture.h"
#include "dataset/where.h"

static struct layout *l;
static sqlite3 *db;
static bool visible[KINDS];

static int begin(void **state)
{
	(void)state;
	l = kinds_layout();
	db = kinds_open();
	for (size_t i = 0; i < KINDS; i++)
		visible[i] = i != KIND_SECRET;
	return 0;
}

static int end(void **state)
{
	(void)state;
	layout_unref(&l);
	sqlite3_close(db);
	return 0;
}

static char *canon_of(const char *json)
{
	struct wish_problem problem;
	struct buf b = BUF_INIT(1 << 20);
	assert_true(!*json || json_check(str_of(json), NULL) == ERR_OK);
	if (where_canon(str_of(json), l, visible, &b, &problem) != ERR_OK)
		fail_msg("%s: %s", json, problem.message);
	return buf_take(&b);
}

static void form_is(const char *json, const char *form)
{
	char *have = canon_of(json);
	assert_string_equal(have, form);
	free(have);
}

static void one_form(void **state)
{
	(void)state;
	form_is("", "");
	form_is(" [ \"=\" , \"N\" , 1 ] ", "[\"=\",\"n\",1]");
	form_is("[\"=\",\"n\",1.50e0]", "[\"=\",\"n\",1.5]");
	form_is("[\"\\u003d\",\"\\u006e\",{\"$i\":\"1\"}]", "[\"=\",\"n\",1]");
	form_is("[\"=\",\"a \\\"Q\\\"\",\"\\u0041\"]", "[\"=\",\"a \\\"q\\\"\",\"A\"]");
	form_is("[\"and\"]", "[\"and\"]");
	form_is("[\"or\"]", "[\"or\"]");
	form_is("[\"and\",[\"is-null\",\"t\"]]", "[\"is-null\",\"t\"]");
	form_is("[\"and\",[\"=\",\"t\",\"b\"],[\"=\",\"n\",1],[\"=\",\"t\",\"b\"]]",
		"[\"and\",[\"=\",\"n\",1],[\"=\",\"t\",\"b\"]]");
	form_is("[\"and\",[\"and\",[\"=\",\"t\",\"b\"],[\"and\"]],[\"=\",\"n\",1]]",
		"[\"and\",[\"=\",\"n\",1],[\"=\",\"t\",\"b\"]]");
	form_is("[\"or\",[\"and\",[\"=\",\"t\",\"b\"],[\"or\"]],[\"=\",\"n\",1]]",
		"[\"or\",[\"=\",\"n\",1],[\"and\",[\"=\",\"t\",\"b\"],[\"or\"]]]");
	form_is("[\"in\",\"n\",[2,1,2.0,2]]", "[\"in\",\"n\",[1,2,2.0]]");
	form_is("[\"in\",\"n\",[2,2]]", "[\"=\",\"n\",2]");
	form_is("[\"in\",\"n\",[]]", "[\"in\",\"n\",[]]");
	form_is("[\"not\",[\"like\",\"nc\",\"A%\"]]", "[\"not\",[\"like\",\"nc\",\"A%\"]]");
}

static void wrong(const char *json, enum err err, const char *reason, const char *field)
{
	struct wish_problem problem = {0};
	struct buf b = BUF_INIT(1 << 20);
	assert_int_equal(json_check(str_of(json), NULL), ERR_OK);
	if (where_canon(str_of(json), l, visible, &b, &problem) != err)
		fail_msg("not refused so: %.200s", json);
	assert_string_equal(problem.field, field);
	assert_true(str_eq(problem.why.field, str_of(field)));
	assert_true(strlen(problem.message) > strlen(field));
	if (reason)
		assert_string_equal(problem.why.reason, reason);
	else
		assert_null(problem.why.reason);
	buf_free(&b);
}

static void what_is_wrong(void **state)
{
	(void)state;
	static const char *const no_filters[] = {"null", "1", "\"n\"", "{}", "[]"};
	for (size_t i = 0; i < sizeof(no_filters) / sizeof(*no_filters); i++)
		wrong(no_filters[i], ERR_PARAMS, NULL, "where");
	wrong("[1]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"like \",\"n\",1]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"=\"]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"=\",\"n\"]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"=\",\"n\",1,2]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"not\"]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"is-null\",\"n\",1]", ERR_PARAMS, NULL, "where[0]");
	wrong("[\"=\",\"secret\",1]", ERR_PARAMS, "no_such_column", "where[1]");
	wrong("[\"=\",\"nope\",1]", ERR_PARAMS, "no_such_column", "where[1]");
	wrong("[\"=\",\"rowid\",1]", ERR_PARAMS, "no_such_column", "where[1]");
	wrong("[\"=\",\"n\\\" OR 1\",1]", ERR_PARAMS, "no_such_column", "where[1]");
	wrong("[\"=\",5,1]", ERR_PARAMS, NULL, "where[1]");
	wrong("[\"=\",\"n\",null]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"=\",\"n\",true]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"=\",\"n\",[1]]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"=\",\"n\",{\"$big\":1}]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"like\",\"t\",5]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"in\",\"n\",5]", ERR_PARAMS, NULL, "where[2]");
	wrong("[\"in\",\"n\",[1,null]]", ERR_PARAMS, NULL, "where[2][1]");
	wrong("[\"and\",[\"=\",\"n\",1],[\"or\",[\"not\",[\"=\",\"secret\",1]]]]", ERR_PARAMS,
		"no_such_column", "where[2][1][1][1]");
	wrong("[\"and\",[\"and\",[\"=\",\"secret\",1]]]", ERR_PARAMS, "no_such_column",
		"where[1][1][1]");
	wrong("[\"and\",\"x\"]", ERR_PARAMS, NULL, "where[1]");
}

/* count times `part`, between two ends */
static char *repeated(const char *first, const char *part, const char *last, size_t count)
{
	struct buf b = BUF_INIT(1 << 20);
	buf_adds(&b, str_of(first));
	for (size_t i = 0; i < count; i++)
		buf_adds(&b, str_of(part));
	buf_adds(&b, str_of(last));
	return buf_take(&b);
}

static void what_is_too_much(void **state)
{
	(void)state;
	char *json = repeated("[\"in\",\"n\",[1", ",1", "]]", WHERE_VALUES_MAX - 1);
	free(canon_of(json));
	free(json);
	json = repeated("[\"in\",\"n\",[1", ",1", "]]", WHERE_VALUES_MAX);
	wrong(json, ERR_TOO_LARGE, "filter_too_long", "where[2][200]");
	free(json);
	json = repeated("[\"or\"", ",[\"is-null\",\"n\"]", "]", WHERE_TERMS_MAX - 1);
	free(canon_of(json));
	free(json);
	json = repeated("[\"or\"", ",[\"is-null\",\"n\"]", "]", WHERE_TERMS_MAX);
	wrong(json, ERR_TOO_LARGE, "filter_too_long", "where[256]");
	free(json);
	json = repeated("[\"and\"", ",[\"and\"]", "]", WHERE_TERMS_MAX);
	wrong(json, ERR_TOO_LARGE, "filter_too_long", "where[256]");
	free(json);
	json = repeated("[\"=\",\"t\",\"", "x", "\"]", WHERE_BYTES_MAX);
	wrong(json, ERR_TOO_LARGE, "filter_too_long", "where");
	free(json);
	json = repeated("[\"like\",\"t\",\"", "x", "\"]", WHERE_LIKE_MAX + 1);
	wrong(json, ERR_TOO_LARGE, "filter_too_long", "where[2]");
	free(json);
	struct buf b = BUF_INIT(4096);
	for (const char *op = "not"; op; op = *op == 'n' ? "and" : NULL) {
		buf_cut(&b, 0);
		for (size_t i = 0; i < WHERE_DEPTH_MAX; i++)
			buf_addf(&b, "[\"%s\",", op);
		buf_adds(&b, STR("[\"is-null\",\"n\"]"));
		for (size_t i = 0; i < WHERE_DEPTH_MAX; i++)
			buf_addc(&b, ']');
		wrong(b.p, ERR_TOO_LARGE, "filter_too_long",
			"where[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]");
	}
	buf_free(&b);
}

/* Random filters, twice: as JSON and as SQL of the test's own. */

static const char *const sql_names[] = {
	"id", "n", "r", "t", "nc", "b", "x", "v", "\"a \"\"q\"\"\""};
static const char *const json_names[] = {"id", "N", "r", "T", "nc", "b", "x", "v", "A \\\"q\\\""};

/* The same value in both ways. */
static const struct {
	const char *json, *sql;
} values[] = {
	{"0", "0"},
	{"1", "1"},
	{"2", "2"},
	{"-5", "-5"},
	{"5.0", "5.0"},
	{"5", "5"},
	{"0.1", "0.1"},
	{"1e3", "1000.0"},
	{"{\"$i\":\"9007199254740993\"}", "9007199254740993"},
	{"9007199254740992.0", "9007199254740992.0"},
	{"{\"$r\":\"Inf\"}", "9e999"},
	{"\"\"", "''"},
	{"\"a\"", "'a'"},
	{"\"A\"", "'A'"},
	{"\"5\"", "'5'"},
	{"\"5.0\"", "'5.0'"},
	{"\" 5\"", "' 5'"},
	{"\"it's\"", "'it''s'"},
	{"\"\\u00e4\"", "'\xc3\xa4'"},
	{"{\"$b\":\"\"}", "x''"},
	{"{\"$b\":\"YQ==\"}", "x'61'"},
	{"{\"$t\":\"/w==\"}", "CAST(x'ff' AS TEXT)"},
};
enum { VALUES = sizeof(values) / sizeof(*values) };

static const char *const patterns[] = {"a%", "%5%", "_", "%", "", "A", "%'%"};
static const char *const sql_patterns[] = {"a%", "%5%", "_", "%", "", "A", "%''%"};

static void fill(void)
{
	struct buf b = BUF_INIT(1 << 20);
	sql(db, "DELETE FROM kinds");
	for (int row = 0; row < 40; row++) {
		buf_cut(&b, 0);
		buf_addf(&b, "INSERT INTO kinds VALUES(%d", row);
		for (size_t i = 1; i < KINDS; i++) {
			size_t v = random_number(VALUES + 4);
			buf_addf(&b, ",%s", v < VALUES ? values[v].sql : "NULL");
		}
		buf_addc(&b, ')');
		sql(db, b.p);
	}
	buf_free(&b);
}

static void space(struct buf *json)
{
	if (random_number(4) == 0)
		buf_adds(json, STR(" \n"));
}

static void random_term(struct buf *json, struct buf *text)
{
	static const char *const ops[] = {"=", "!=", "<", "<=", ">", ">="};
	size_t column = random_number(9), v = random_number(VALUES), op = random_number(10);
	if (op < 6) {
		buf_addf(json, "[\"%s\", \"%s\", %s]", ops[op], json_names[column], values[v].json);
		buf_addf(text, "%s %s %s", sql_names[column], ops[op], values[v].sql);
	} else if (op == 6) {
		buf_addf(json, "[\"is-null\",\"%s\"]", json_names[column]);
		buf_addf(text, "%s IS NULL", sql_names[column]);
	} else if (op == 7) {
		size_t p = random_number(sizeof(patterns) / sizeof(*patterns));
		buf_addf(json, "[\"like\",\"%s\",\"%s\"]", json_names[column], patterns[p]);
		buf_addf(text, "%s LIKE '%s'", sql_names[column], sql_patterns[p]);
	} else {
		size_t count = random_number(4);
		buf_addf(json, "[\"in\",\"%s\",[", json_names[column]);
		buf_addf(text, "%s IN (", sql_names[column]);
		for (size_t i = 0; i < count; i++) {
			v = random_number(VALUES);
			buf_addf(json, i ? ",%s" : "%s", values[v].json);
			buf_addf(text, i ? ",%s" : "%s", values[v].sql);
		}
		buf_adds(json, STR("]]"));
		buf_addc(text, ')');
	}
}

static void random_filter(struct buf *json, struct buf *text, int depth)
{
	size_t kind = depth ? random_number(5) : 0;
	buf_addc(text, '(');
	space(json);
	if (kind < 2) {
		random_term(json, text);
	} else if (kind == 2) {
		buf_adds(json, STR("[\"not\","));
		buf_adds(text, STR("NOT "));
		random_filter(json, text, depth - 1);
		buf_addc(json, ']');
	} else {
		size_t count = random_number(4);
		buf_adds(json, kind == 3 ? STR("[\"and\"") : STR("[\"or\""));
		for (size_t i = 0; i < count; i++) {
			buf_addc(json, ',');
			buf_adds(text, !i ? STR("") : kind == 3 ? STR(" AND ") : STR(" OR "));
			random_filter(json, text, depth - 1);
		}
		if (!count)
			buf_addc(text, kind == 3 ? '1' : '0');
		buf_addc(json, ']');
	}
	space(json);
	buf_addc(text, ')');
}

/* The keys of the rows that a condition selects, as text. */
static char *select_rows(const char *condition, const struct value *bound, size_t count)
{
	struct buf b = BUF_INIT(1 << 20);
	sqlite3_stmt *s;
	buf_addf(&b, "SELECT id FROM main.kinds AS kinds WHERE %s ORDER BY id", condition);
	if (sqlite3_prepare_v2(db, b.p, -1, &s, NULL) != SQLITE_OK)
		fail_msg("%s: %s", b.p, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_bind_parameter_count(s), count);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		snprintf(name, sizeof(name), ":w%zu", i + 1);
		assert_int_equal(
			value_bind(s, sqlite3_bind_parameter_index(s, name), bound[i]), ERR_OK);
	}
	buf_cut(&b, 0);
	buf_addc(&b, ' ');
	while (sqlite3_step(s) == SQLITE_ROW)
		buf_addf(&b, "%d ", sqlite3_column_int(s, 0));
	assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
	return buf_take(&b);
}

/* Each row for which the filter holds has the value that it is said to have. */
static void equal_holds(const struct where_equal *equal, const char *rows)
{
	if (equal->column == SIZE_MAX)
		return;
	struct buf b = BUF_INIT(1 << 20);
	sql_name(&b, l->columns[equal->column].name);
	buf_adds(&b, STR(" = :w1"));
	char *those = select_rows(b.p, &equal->value, 1);
	for (const char *p = rows; p[1]; p = strchr(p + 1, ' ')) {
		char id[16];
		snprintf(id, sizeof(id), "%.*s", (int)(strchr(p + 1, ' ') - p + 1), p);
		assert_non_null(strstr(those, id));
	}
	free(those);
	buf_free(&b);
}

static char *selected(const char *canon)
{
	struct buf b = BUF_INIT(1 << 20);
	struct value bound[WHERE_VALUES_MAX];
	struct where_equal equal;
	size_t count = 0;
	char *arena = malloc(strlen(canon) + 1);
	where_sql(str_of(canon), l, &b, arena, bound, &count, &equal);
	assert_int_equal(b.err, ERR_OK);
	char *rows = select_rows(b.p, bound, count);
	equal_holds(&equal, rows);
	free(arena);
	buf_free(&b);
	return rows;
}

static void selects_the_same(void **state)
{
	(void)state;
	size_t some = 0;
	for (int i = 0; i < 3000; i++) {
		struct buf json = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20);
		if (i % 300 == 0)
			fill();
		random_filter(&json, &text, 4);
		char *canon = canon_of(json.p), *have = selected(canon);
		char *want = select_rows(text.p, NULL, 0);
		if (strcmp(have, want) != 0)
			fail_msg("%s\n%s\nselect %s and %s", json.p, text.p, have, want);
		some += want[1] != 0;
		form_is(canon, canon);
		free(want);
		free(have);
		free(canon);
		buf_free(&json);
		buf_free(&text);
	}
	assert_true(some > 500);
}

/* Operands of "and" and "or" in another order, anywhere in it. */
static void shuffle(struct str json, struct buf *out)
{
	struct str items[64], item;
	size_t count = 0;
	struct json_walk w = json_walk(json);
	json_next(&w, NULL, &items[0]);
	bool join = str_is(items[0], "\"and\"") || str_is(items[0], "\"or\"");
	bool inside = join || str_is(items[0], "\"not\"");
	if (!inside) {
		buf_adds(out, json);
		return;
	}
	while (json_next(&w, NULL, &item))
		items[++count] = item;
	for (size_t i = count; join && i > 1; i--) {
		size_t other = 1 + random_number(i);
		item = items[i];
		items[i] = items[other];
		items[other] = item;
	}
	buf_addf(out, "[" STR_FMT, STR_ARG(items[0]));
	for (size_t i = 1; i <= count; i++) {
		buf_adds(out, STR(" , "));
		shuffle(items[i], out);
	}
	buf_addc(out, ']');
}

static void order_is_no_matter(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct buf json = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20),
			   other = BUF_INIT(1 << 20);
		random_filter(&json, &text, 4);
		shuffle(buf_str(&json), &other);
		char *canon = canon_of(json.p);
		form_is(other.p, canon);
		free(canon);
		buf_free(&other);
		buf_free(&text);
		buf_free(&json);
	}
}

static void equal_is_found(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		size_t column;
	} rows[] = {{"[\"=\",\"t\",\"a\"]", KIND_T},
		{"[\"and\",[\"!=\",\"n\",1],[\"=\",\"t\",\"a\"]]", KIND_T},
		{"[\"and\",[\"and\",[\"in\",\"t\",[\"a\"]]],[\"<\",\"n\",1]]", KIND_T},
		{"[\"or\",[\"=\",\"t\",\"a\"],[\"=\",\"n\",1]]", SIZE_MAX},
		{"[\"not\",[\"=\",\"t\",\"a\"]]", SIZE_MAX},
		{"[\"and\",[\"or\",[\"=\",\"t\",\"a\"],[\"=\",\"n\",1]],[\"=\",\"x\",\"a\"]]",
			KIND_X},
		{"[\"and\",[\"not\",[\"=\",\"t\",\"a\"]],[\">\",\"n\",1]]", SIZE_MAX},
		{"", SIZE_MAX}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = BUF_INIT(4096);
		struct value bound[8];
		struct where_equal equal;
		size_t count;
		char *canon = canon_of(rows[i].json), arena[256];
		where_sql(str_of(canon), l, &b, arena, bound, &count, &equal);
		assert_int_equal(equal.column, rows[i].column);
		if (equal.column != SIZE_MAX)
			assert_true(str_is(equal.value.bytes, "a"));
		free(canon);
		buf_free(&b);
	}
}

/* Nothing that a client says is in the SQL. */
static void nothing_is_spliced(void **state)
{
	(void)state;
	const char *json =
		"[\"and\",[\"=\",\"t\",\"PLANTED' OR 1 --\"],[\"like\",\"NC\",\"PLANTED\"],"
		"[\"in\",\"x\",[\"PLANTED\",{\"$t\":\"/1BMQU5URUQ=\"},4711]]]";
	char *canon = canon_of(json), arena[512];
	struct buf b = BUF_INIT(4096);
	struct value bound[8];
	struct where_equal equal;
	size_t count;
	where_sql(str_of(canon), l, &b, arena, bound, &count, &equal);
	assert_int_equal(count, 5);
	assert_null(strstr(b.p, "PLANTED"));
	assert_null(strstr(b.p, "4711"));
	assert_null(strchr(b.p, '\''));
	free(canon);
	buf_free(&b);
}

int main(void)
{
	random_begin();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_form),
		cmocka_unit_test(what_is_wrong),
		cmocka_unit_test(what_is_too_much),
		cmocka_unit_test(selects_the_same),
		cmocka_unit_test(order_is_no_matter),
		cmocka_unit_test(equal_is_found),
		cmocka_unit_test(nothing_is_spliced),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
