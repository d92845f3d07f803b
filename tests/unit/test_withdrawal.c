/* What is withdrawn, and which tokens that fits. */
#include "store_fixture.h"

#include "auth/server/server.h"
#include "auth/withdrawal.h"

enum { T = 1800000000 };

static struct principal token(const char *user, int64_t issued_at)
{
	return (struct principal){.user = str_of(user),
		.subject = str_of(strchr(user, '|') ? strchr(user, '|') + 1 : user),
		.jti = STR("j1"),
		.sid = STR("s1"),
		.client = STR("web"),
		.issued_at = issued_at};
}

static bool refused(struct principal who)
{
	enum withdrawal_kind kind;
	return withdrawals_fit(&who, &kind);
}

static void test_kinds(void **state)
{
	(void)state;
	static const struct {
		enum withdrawal_kind kind;
		const char *value, *user;
		int64_t issued_at;
		bool fits;
	} rows[] = {
		{WITHDRAWN_TOKEN, "j1", "ann", T - 9, true},
		{WITHDRAWN_TOKEN, "j1", "ann", T + 9,
			true}, /* one token is over, whenever issued */
		{WITHDRAWN_TOKEN, "j2", "ann", T - 9, false},
		{WITHDRAWN_TOKEN, "j1", "corp|ann", T - 9, false},
		{WITHDRAWN_TOKEN, "corp|j1", "corp|ann", T - 9, true},
		{WITHDRAWN_TOKEN, "corp|j1", "other|ann", T - 9, false},
		{WITHDRAWN_TOKEN, "corp|j1", "ann", T - 9, false},
		{WITHDRAWN_GRANT, "s1", "ann", T + 9, true},
		{WITHDRAWN_GRANT, "s2", "ann", T - 9, false},
		{WITHDRAWN_USER, "ann", "ann", T - 1, true},
		{WITHDRAWN_USER, "ann", "ann", T, true},
		{WITHDRAWN_USER, "ann", "ann", T + 1, false},
		{WITHDRAWN_USER, "ann", "ann", 0, true}, /* nobody says when: refused */
		{WITHDRAWN_USER, "ann", "corp|ann", T - 1, false},
		{WITHDRAWN_USER, "corp|ann", "corp|ann", T - 1, true},
		{WITHDRAWN_USER, "corp|a|b", "corp|a|b", T - 1, true},
		{WITHDRAWN_CLIENT, "web", "ann", T, true},
		{WITHDRAWN_CLIENT, "web", "ann", T + 1, false},
		{WITHDRAWN_CLIENT, "web", "corp|ann", T, false},
		{WITHDRAWN_CLIENT, "corp|web", "corp|ann", T, true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_false(refused(token(rows[i].user, rows[i].issued_at)));
		withdrawals_note(rows[i].kind, str_of(rows[i].value), T, 0);
		struct principal who = token(rows[i].user, rows[i].issued_at);
		bool named = withdrawal_names(&who, rows[i].kind, str_of(rows[i].value));
		if (refused(who) != rows[i].fits)
			fail_msg("row %zu", i);
		/* Apart from when the token was issued, it is the same question. */
		if (named != (rows[i].fits || rows[i].issued_at > T))
			fail_msg("named, row %zu", i);
		withdrawals_finish();
	}
}

/* In one and the same second: withdrawn, signed in anew, withdrawn again. */
static void test_same_second(void **state)
{
	(void)state;
	struct str ann = STR("ann"), web = STR("web");
	assert_int_equal(withdrawals_issue(ann, web, T, 0), T);
	withdrawals_note(WITHDRAWN_USER, ann, T, 0);
	int64_t first = withdrawals_issue(ann, web, T, 0);
	assert_true(refused(token("ann", T)));
	assert_false(refused(token("ann", first)));
	withdrawals_note(WITHDRAWN_USER, ann, T, 0);
	assert_true(refused(token("ann", first)));
	withdrawals_note(WITHDRAWN_CLIENT, web, T + 5, 0);
	int64_t second = withdrawals_issue(ann, web, T, 0);
	assert_false(refused(token("ann", second)));
	assert_int_equal(withdrawals_issue(ann, web, T + 20, 0), T + 20);
	assert_int_equal(withdrawals_issue(STR("bob"), STR("app"), T, 0), T);
	withdrawals_finish();
}

/* A token that was asked for before its user was signed out comes too late. */
static void test_under_way(void **state)
{
	(void)state;
	struct str ann = STR("ann"), web = STR("web");
	uint64_t before = withdrawals_seen();
	withdrawals_note(WITHDRAWN_USER, ann, T, 0);
	uint64_t after = withdrawals_seen();
	assert_true(refused(token("ann", withdrawals_issue(ann, web, T, before))));
	assert_true(refused(token("ann", withdrawals_issue(ann, web, T + 3, before))));
	assert_false(refused(token("ann", withdrawals_issue(ann, web, T, after))));
	withdrawals_note(WITHDRAWN_CLIENT, web, T + 7, 0);
	assert_true(refused(token("ann", withdrawals_issue(ann, web, T + 9, after))));
	withdrawals_finish();
}

static void test_for_good(void **state)
{
	(void)state;
	struct str ann = STR("ann");
	withdrawals_note(WITHDRAWN_USER, ann, WITHDRAWN_FOR_GOOD, 0);
	assert_true(refused(token("ann", T + 999)));
	withdrawals_note(WITHDRAWN_USER, ann, T, 0); /* takes nothing of it back */
	assert_true(refused(token("ann", T + 999)));
	withdrawals_lift(ann, T + 10);
	assert_true(refused(token("ann", T + 10)));
	assert_false(refused(token("ann", T + 11)));
	withdrawals_finish();
}

static void test_purge(void **state)
{
	(void)state;
	withdrawals_note(WITHDRAWN_GRANT, STR("s1"), T, 0);
	withdrawals_note(WITHDRAWN_USER, STR("ann"), T, 0);
	withdrawals_note(WITHDRAWN_USER, STR("corp|ann"), T, 0);
	withdrawals_note(WITHDRAWN_USER, STR("bob"), WITHDRAWN_FOR_GOOD, 0);
	withdrawals_note(WITHDRAWN_TOKEN, STR("corp|j1"), T, T + 60); /* no longer than the token */
	withdrawals_note(WITHDRAWN_TOKEN, STR("corp|j1"), T, T + 30);
	assert_int_equal(withdrawals_purge(T + 59), 5);
	assert_int_equal(withdrawals_purge(T + 60), 4);
	assert_int_equal(withdrawals_purge(T + 24 * 3600), 4);
	assert_int_equal(withdrawals_purge(T + 3 * 24 * 3600), 3);
	assert_int_equal(withdrawals_purge(T + EXPIRES_MAX + 2 * 24 * 3600), 2);
	withdrawals_finish();
}

static void is_written(struct store_op *op)
{
	assert_int_equal(op->err, ERR_OK);
	++*(size_t *)op->context;
}

/* What the store has is there after a restart, page by page. */
static void test_loaded(void **state)
{
	(void)state;
	struct buf reason = BUF_INIT(1000);
	open_store(NULL, QUEUE_MAX);
	int64_t now = (int64_t)time(NULL);
	char name[32];
	size_t written = 0;
	/* disabled before there was a table of withdrawals */
	assert_int_equal(ask(STORE_USER_ADD, STORE_TEXT(STR("Ann")), STORE_TEXT(STR("Ann")),
				 STORE_NULL, STORE_INT(5)),
		ERR_OK);
	assert_int_equal(
		ask(STORE_USER_PUT_OUT, STORE_TEXT(STR("Ann")), STORE_INT(now), STORE_INT(0)),
		ERR_OK);
	assert_int_equal(
		ask(STORE_WITHDRAWALS_PURGE, STORE_INT(WITHDRAWN_FOR_GOOD), STORE_INT(1)), ERR_OK);
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "user-%d", i);
		store_ask(STORE_WITHDRAW, is_written, &written, STORE_TEXT(STR("user")),
			STORE_TEXT(str_of(name)), STORE_INT(now), STORE_INT(now + 100), STORE_END);
	}
	lone_run_until(&written, 1100);
	assert_int_equal(ask(STORE_WITHDRAW, STORE_TEXT(STR("token")), STORE_TEXT(STR("old")),
				 STORE_INT(now - 100), STORE_INT(now - 1)),
		ERR_OK);
	assert_int_equal(withdrawals_load(&reason), ERR_OK);
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "user-%d", i);
		assert_true(refused(token(name, now)));
		assert_false(refused(token(name, now + 1)));
	}
	assert_true(refused(token("Ann", now + 1)));
	struct principal old = token("bob", now);
	old.jti = STR("old");
	assert_false(refused(old));
	withdrawals_finish();
	buf_free(&reason);
}

/* The row says what a second one within a second needs. */
static void test_row(void **state)
{
	(void)state;
	static const int64_t given[] = {T, T, T - 5, T + 9, WITHDRAWN_FOR_GOOD, T + 10};
	static const int64_t kept[] = {
		T, T + 1, T + 2, T + 9, WITHDRAWN_FOR_GOOD, WITHDRAWN_FOR_GOOD};
	open_store(NULL, QUEUE_MAX);
	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
		struct store_op *op = store_ask_now(STORE_WITHDRAW, STORE_TEXT(STR("user")),
			STORE_TEXT(STR("ann")), STORE_INT(given[i]), STORE_INT(given[i]),
			STORE_END);
		assert_int_equal(op->err, ERR_OK);
		assert_true(store_int(op, 0, 1) == kept[i]);
		store_op_free(&op);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_same_second),
		cmocka_unit_test(test_under_way),
		cmocka_unit_test(test_for_good),
		cmocka_unit_test(test_purge),
		test(test_loaded),
		test(test_row),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
