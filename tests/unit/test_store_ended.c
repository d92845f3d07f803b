/* Rows that have ended are taken out some at a time: whoever comes after a quiet week does not let all
 * others wait for a hundred thousand of them. */
#include "store_fixture.h"

#include <sqlite3.h>

enum { ENDED = 350, SLICE = 100, NOW = 1800000000 };

static int64_t number(const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	int64_t n = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

#define BLOB(text) STORE_BLOB(STR(text))
#define NUMBERS "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 350) "

static enum err add_code(void)
{
	return ask(STORE_CODE_ADD, BLOB("code"), STORE_TEXT(STR("demo")), STORE_TEXT(STR("ann")),
		STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_TEXT(STR("")),
		STORE_INT(NOW), STORE_INT(NOW), STORE_TEXT(STR("sid")), STORE_NULL,
		STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_INT(900));
}

static enum err add_login(void)
{
	return ask(STORE_LOGIN_ADD, BLOB("login"), STORE_TEXT(STR("ann")), STORE_INT(NOW + 60),
		STORE_INT(NOW), STORE_NULL, STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_NULL,
		STORE_NULL);
}

static enum err add_half(void)
{
	return ask(STORE_HALF_ADD, BLOB("half"), STORE_TEXT(STR("ann")), STORE_INT(NOW + 60),
		STORE_INT(NOW), STORE_NULL);
}

static enum err add_assertion(void)
{
	return ask(STORE_ASSERTION_ADD, STORE_TEXT(STR("c")), BLOB("jti"), STORE_INT(NOW + 60),
		STORE_INT(NOW));
}

static enum err add_device(void)
{
	return ask(STORE_DEVICE_ADD, BLOB("device"), BLOB("user"), STORE_TEXT(STR("c")),
		STORE_INT(NOW), STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_INT(600),
		STORE_INT(20), STORE_INT(5), BLOB(""), STORE_INT(20000));
}

static enum err purge_withdrawals(void)
{
	return ask(STORE_WITHDRAWALS_PURGE, STORE_INT(NOW), STORE_INT(SLICE));
}

/* What is in the table, and what takes some of it out; it adds so many itself. */
static const struct {
	const char *fill, *count;
	enum err (*run)(void);
	int adds;
} rows[] = {
	{NUMBERS "INSERT INTO codes (code, client_id, user, redirect_uri, scope, nonce, challenge, "
		 "auth_time, expires_at) SELECT CAST('c' || n AS BLOB), '', '', '', '', '', '', 0, "
		 "1 FROM n",
		"SELECT count(*) FROM codes", add_code, 1},
	{NUMBERS
		"INSERT INTO grants (sid, user, client_id, scope, created_at, used_at, expires_at, "
		"address, agent) SELECT 'g' || n, '', '', '', 0, 0, 1, '', '' FROM n",
		"SELECT count(*) FROM grants", add_code, 1},
	{NUMBERS "INSERT INTO logins (login, user, created_at, expires_at) SELECT CAST('l' || n AS "
		 "BLOB), '', 0, "
		 "1 FROM n",
		"SELECT count(*) FROM logins", add_login, 1},
	{NUMBERS "INSERT INTO half_logins (half, user, expires_at) SELECT CAST('h' || n AS BLOB), "
		 "'', 1 FROM n",
		"SELECT count(*) FROM half_logins", add_half, 1},
	{NUMBERS "INSERT INTO assertions (client_id, jti, expires_at) SELECT '', CAST('j' || n AS "
		 "BLOB), 1 FROM n",
		"SELECT count(*) FROM assertions", add_assertion, 1},
	{NUMBERS "INSERT INTO device_codes (device_code, user_code, client_id, scope, address, "
		 "interval, asked_at, expires_at) SELECT CAST('d' || n AS BLOB), CAST('u' || n AS "
		 "BLOB), '', '', '', 5, 0, 1 "
		 "FROM n",
		"SELECT count(*) FROM device_codes", add_device, 1},
	{NUMBERS "INSERT INTO withdrawals (kind, value, withdrawn_at, expires_at) SELECT 'grant', "
		 "'w' || n, 0, 1 FROM n",
		"SELECT count(*) FROM withdrawals", purge_withdrawals, 0},
};

static void what_has_ended_goes_some_at_a_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		remove_file();
		open_store(NULL, QUEUE_MAX);
		assert_int_equal(add_user("ann"), ERR_OK);
		store_close();
		sqlite3 *db = NULL;
		assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, rows[i].fill, 0, 0, 0), SQLITE_OK);
		sqlite3_close(db);
		open_store(NULL, QUEUE_MAX);
		assert_int_equal(number(rows[i].count), ENDED);
		assert_int_equal(rows[i].run(), ERR_OK);
		assert_int_equal(number(rows[i].count), ENDED - SLICE + rows[i].adds);
		store_close();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_has_ended_goes_some_at_a_time),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
