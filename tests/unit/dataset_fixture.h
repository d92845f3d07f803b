/* dataset_fixture.h: a table with a column of each kind, its layout, callers, and random numbers that SEED
 * repeats. */
#pragma once

#include "core/buf.h"
#include "core/principal.h"
#include "dataset/definition.h"
#include "dataset/layout.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static uint64_t fixture_random_state;

static inline uint64_t random_number(uint64_t below)
{
	uint64_t x = fixture_random_state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	fixture_random_state = x;
	return (x >> 11) % below;
}

static inline void random_begin(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	print_message("SEED=%llu\n", (unsigned long long)seed);
	fixture_random_state = seed * 0x9e3779b97f4a7c15 + 1;
}

static inline void sql(sqlite3 *db, const char *text)
{
	char *said = NULL;
	if (sqlite3_exec(db, text, NULL, NULL, &said) != SQLITE_OK)
		fail_msg("%s: %s", text, said);
}

#define KINDS_TABLE \
	"CREATE TABLE kinds(id INTEGER PRIMARY KEY, n INTEGER, r REAL, t TEXT, nc TEXT COLLATE " \
	"NOCASE, b BLOB, " \
	"x, v NUMERIC, \"a \"\"q\"\"\" TEXT, secret TEXT)"

enum {
	KIND_ID,
	KIND_N,
	KIND_R,
	KIND_T,
	KIND_NC,
	KIND_B,
	KIND_X,
	KIND_V,
	KIND_Q,
	KIND_SECRET,
	KINDS
};

static inline struct layout *kinds_layout(void)
{
	static size_t key[] = {KIND_ID};
	static struct column columns[KINDS] = {
		{{"id", 2}, {"INTEGER", 7}, {"BINARY", 6}, 1, false, false},
		{{"n", 1}, {"INTEGER", 7}, {"BINARY", 6}, 0, false, false},
		{{"r", 1}, {"REAL", 4}, {"BINARY", 6}, 0, false, false},
		{{"t", 1}, {"TEXT", 4}, {"BINARY", 6}, 0, false, false},
		{{"nc", 2}, {"TEXT", 4}, {"NOCASE", 6}, 0, false, false},
		{{"b", 1}, {"BLOB", 4}, {"BINARY", 6}, 0, false, false},
		{{"x", 1}, {"", 0}, {"BINARY", 6}, 0, false, false},
		{{"v", 1}, {"NUMERIC", 7}, {"BINARY", 6}, 0, false, false},
		{{"a \"q\"", 5}, {"TEXT", 4}, {"BINARY", 6}, 0, false, false},
		{{"secret", 6}, {"TEXT", 4}, {"BINARY", 6}, 0, false, false},
	};
	return layout_new(&(struct layout){.table = STR("kinds"),
		.id = 1,
		.version = 1,
		.key_is_rowid = true,
		.count = KINDS,
		.key_count = 1,
		.columns = columns,
		.key = key});
}

static inline sqlite3 *kinds_open(void)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	sql(db, KINDS_TABLE);
	return db;
}

/* A dataset of that table, which says these rules; its depends are "members" and "teams". */
static inline struct definition kinds_definition(const char *read)
{
	static struct str depends[] = {{"members", 7}, {"teams", 5}};
	static struct hidden_column hidden[] = {{{"secret", 6}, {":scope_admin", 12}}};
	return (struct definition){.name = STR("things"),
		.database = STR("/nowhere"),
		.table = STR("kinds"),
		.rules = {[RULE_READ] = str_of(read)},
		.depend_count = 2,
		.depends = depends,
		.hidden_count = 1,
		.hidden = hidden};
}

/* ann, who has an account and all default scopes, and claims org, level, boss, list */
static inline struct principal fixture_ann(void)
{
	static struct principal_claim claims[] = {{{"org", 3}, {"\"\\u0061cme\"", 11}},
		{{"level", 5}, {"7", 1}}, {{"boss", 4}, {"true", 4}}, {{"list", 4}, {"[1, 2]", 6}},
		{{"share", 5}, {"0.5", 3}}, {{"scope", 5}, {"\"a notes:read b\"", 16}},
		{{"scp", 3}, {"[\"x.y\"]", 7}}};
	return (struct principal){.user = STR("ann"),
		.name = STR("Ann Example"),
		.issuer = STR("http://localhost"),
		.subject = STR("ann"),
		.client = STR(""),
		.scopes = SCOPES_DEFAULT,
		.claim_count = 7,
		.claims = claims};
}
