/* Definitions and layouts: copies of everything, that stand alone. */
#include "dataset/definition.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definition_stands_alone),
		cmocka_unit_test(layout_finds_names_as_sqlite_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
