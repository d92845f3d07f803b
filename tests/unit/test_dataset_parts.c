/* Definitions and layouts: copies of everything, that stand alone. */
#include "core/mem.h"
#include "core/params.h"
#include "dataset/definition_text.h"
#include "dataset/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* Texts that are gone behind the copying: the copy may lie in none of them. */
static void definition_stands_alone(void **state)
{
	(void)state;
	char *text = strdup("todos/tmp/x.dbitemsowner = :user");
	struct str depends[] = {STR("members"), STR("teams")};
	struct hidden_column hidden[] = {{STR("salary"), STR(":scope_admin")}, {STR("pin"), {0}}};
	struct str key[] = {STR("id")};
	struct definition from = {.name = {text, 5},
		.database = {text + 5, 9},
		.table = {text + 14, 5},
		.rules = {[RULE_READ] = {text + 19, 13}},
		.depend_count = 2,
		.depends = depends,
		.hidden_count = 2,
		.hidden = hidden,
		.key_count = 1,
		.key = key,
		.configured = true};
	struct definition *d = definition_new(&from);
	free(text);
	memset(depends, 0, sizeof(depends));
	memset(hidden, 0, sizeof(hidden));
	memset(key, 0, sizeof(key));
	struct definition *second = definition_ref(d);
	definition_unref(&d);
	assert_null(d);
	assert_true(str_is(second->name, "todos"));
	assert_true(str_is(second->database, "/tmp/x.db"));
	assert_true(str_is(second->table, "items"));
	assert_true(str_is(second->rules[RULE_READ], "owner = :user"));
	assert_int_equal(second->rules[RULE_DELETE].n, 0);
	assert_true(str_is(second->depends[1], "teams"));
	assert_true(str_is(second->hidden[0].unless, ":scope_admin"));
	assert_true(str_is(second->hidden[1].column, "pin"));
	assert_int_equal(second->hidden[1].unless.n, 0);
	assert_true(str_is(second->key[0], "id"));
	assert_true(second->configured);
	definition_unref(&second);
	definition_unref(&second);
}

static void layout_finds_names_as_sqlite_does(void **state)
{
	(void)state;
	size_t key[] = {1, 0};
	struct column columns[] = {
		{.name = STR("Title"), .type = STR("TEXT"), .collation = STR("NOCASE"), .key = 2},
		{.name = STR("id"), .type = STR("INTEGER"), .collation = STR("BINARY"), .key = 1},
		{.name = STR("größe"), .type = STR(""), .collation = STR("BINARY")},
	};
	struct layout from = {.table = STR("items"),
		.id = 7,
		.version = 3,
		.count = 3,
		.key_count = 2,
		.columns = columns,
		.key = key};
	struct layout *l = layout_new(&from);
	memset(columns, 0, sizeof(columns));
	memset(key, 0, sizeof(key));
	struct layout *second = layout_ref(l);
	layout_unref(&l);
	assert_int_equal(layout_find(second, STR("title")), 0);
	assert_int_equal(layout_find(second, STR("ID")), 1);
	assert_int_equal(layout_find(second, STR("Größe")), 2);
	assert_int_equal(layout_find(second, STR("GRÖßE")), SIZE_MAX);
	assert_int_equal(layout_find(second, STR("titl")), SIZE_MAX);
	assert_int_equal(layout_find(second, STR("")), SIZE_MAX);
	assert_int_equal(second->key[0], 1);
	assert_true(str_is(second->columns[0].collation, "NOCASE"));
	assert_int_equal(second->id, 7);
	layout_unref(&second);
}

/* The definition of these params, or NULL with problem filled. */
static struct definition_problem problem;

static struct definition *defined(const char *json)
{
	static const struct field fields[] = {DEFINITION_FIELDS, {0}};
	struct definition_words words = {0};
	struct params_problem wrong;
	struct definition *d = NULL;
	char *text = mem_copy(str_of(json));
	problem = (struct definition_problem){0};
	assert_int_equal(json_check(str_of(text), NULL), ERR_OK);
	assert_int_equal(params_decode(str_of(text), fields, &words, &wrong), ERR_OK);
	if (definition_read(&words, &d, &problem))
		assert_true(!d && problem.field && problem.why[0]);
	free(text);
	return d;
}

/* What is written is read as the same, and what is left out is not there. */
static void definition_as_text(void **state)
{
	(void)state;
	static const char *const whole[] = {
		"{\"dataset\":\"todos\",\"database\":\"/x.db\",\"table\":\"t\"}",
		"{\"dataset\":\"To.do_s-2\",\"database\":\"/x.db\",\"table\":\"a \\\"b\\\"\","
		"\"read\":\"owner = "
		":user\",\"delete\":\"1\",\"depends\":[\"members\",\"te\\\\ams\"],"
		"\"hide\":[\"pay\",\"the pin unless :scope_admin AND 1\"],\"key\":[\"id\",\"n\"]}"};
	for (size_t i = 0; i < 2; i++) {
		struct buf b = BUF_INIT(4096);
		struct json_out o = JSON_OUT(&b);
		struct definition *d = defined(whole[i]), *again;
		json_open(&o, NULL, '{');
		definition_write(&o, d);
		json_close(&o, '}');
		assert_string_equal(b.p, whole[i]);
		again = defined(b.p);
		assert_true(definition_same(d, again));
		buf_free(&b);
		definition_unref(&again);
		definition_unref(&d);
	}
	struct definition *d = defined(whole[1]), *other = defined(whole[0]);
	assert_false(definition_same(d, other));
	assert_true(str_is(d->table, "a \"b\""));
	assert_true(str_is(d->depends[1], "te\\ams"));
	assert_true(str_is(d->hidden[0].column, "pay") && !d->hidden[0].unless.n);
	assert_true(str_is(d->hidden[1].column, "the pin"));
	assert_true(str_is(d->hidden[1].unless, ":scope_admin AND 1"));
	definition_unref(&d);
	definition_unref(&other);
}

static void definitions_that_are_none(void **state)
{
	(void)state;
	static const struct {
		const char *more, *field;
	} bad[] = {{"\"dataset\":\"a b\"", "dataset"}, {"\"dataset\":\"\\u00e4\"", "dataset"},
		{"\"dataset\":\"a\",\"database\":\"x.db\"", "database"},
		{"\"dataset\":\"a\",\"table\":\"_SB_ctx\"", "table"},
		{"\"dataset\":\"a\",\"depends\":[\"a\",\"b\",\"a\"]", "depends"},
		{"\"dataset\":\"a\",\"depends\":[1]", "depends"},
		{"\"dataset\":\"a\",\"depends\":[\"\"]", "depends"},
		{"\"dataset\":\"a\",\"key\":[\"x\",[]]", "key"},
		{"\"dataset\":\"a\",\"key\":[\"\\ud800\"]", "key"},
		{"\"dataset\":\"a\",\"hide\":[\"x\",\"x unless 1\"]", "hide"},
		{"\"dataset\":\"a\",\"hide\":[\" unless 1\"]", "hide"},
		{"\"dataset\":\"a\",\"depends\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\","
		 "\"9\"]",
			"depends"}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, "{%s", bad[i].more);
		if (!strstr(bad[i].more, "database"))
			buf_adds(&b, STR(",\"database\":\"/x\""));
		if (!strstr(bad[i].more, "table"))
			buf_adds(&b, STR(",\"table\":\"t\""));
		buf_addc(&b, '}');
		assert_null(defined(b.p));
		assert_string_equal(problem.field, bad[i].field);
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definition_as_text),
		cmocka_unit_test(definitions_that_are_none),
		cmocka_unit_test(definition_stands_alone),
		cmocka_unit_test(layout_finds_names_as_sqlite_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
