/* store: what is asked and answered, in which groups, and what happens when it fails. */
#include "store_fixture.h"

#include <sqlite3.h>

enum { LATE_MS = 2500 }; /* on a busy machine */

static int64_t milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- verbs ---- */

static void a_user_is_added_and_found(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(ask(STORE_USER_ADD, STORE_TEXT(STR("Ann")), STORE_TEXT(STR("Ann Ä")),
				 STORE_TEXT(STR("$argon2id$x")), STORE_INT(1700000000)),
		ERR_OK);
	struct store_op *op = store_ask_now(STORE_USER_GET, STORE_TEXT(STR("aNN")), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	struct user_record user = user_record_of(op, 0);
	assert_true(str_is(user.name, "Ann"));
	assert_true(str_is(user.display_name, "Ann Ä"));
	assert_true(str_is(user.password, "$argon2id$x"));
	assert_int_equal(user.created_at, 1700000000);
	assert_int_equal(user.disabled_at, 0);
	store_op_free(&op);
	assert_null(op);
	store_op_free(&op);
}

static void users_are_listed_in_order(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	add_user("bob");
	add_user("Cleo");
	add_user("ann");
	assert_int_equal(
		ask(STORE_USER_PUT_OUT, STORE_TEXT(STR("CLEO")), STORE_INT(7), STORE_INT(0)),
		ERR_OK);
	struct store_op *op =
		store_ask_now(STORE_USER_LIST, STORE_TEXT(STR("ann")), STORE_INT(10), STORE_END);
	assert_int_equal(op->rows, 2);
	assert_true(str_is(user_record_of(op, 0).name, "bob"));
	assert_true(str_is(user_record_of(op, 1).name, "Cleo"));
	assert_int_equal(user_record_of(op, 0).disabled_at, 0);
	assert_int_equal(user_record_of(op, 1).disabled_at, 7);
	assert_int_equal(user_record_of(op, 1).password.n, 0);
	store_op_free(&op);
	op = store_ask_now(STORE_USER_LIST, STORE_TEXT(STR("zed")), STORE_INT(10), STORE_END);
	assert_int_equal(op->err, ERR_OK); /* an empty list is one */
	assert_int_equal(op->rows, 0);
	store_op_free(&op);
}

static void what_is_not_there_is_not_found(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(get_user("ann"), ERR_NOT_FOUND);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_NOT_FOUND);
	assert_int_equal(
		ask(STORE_USER_PUT_OUT, STORE_TEXT(STR("ann")), STORE_INT(1), STORE_INT(0)),
		ERR_NOT_FOUND);
}

static void constraints_are_conflicts(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "-ann", ".ann", "a|b", "client:x", "a b", "\xc3\xa4",
		"a*", "[", "01234567890123456789012345678901234567890123456789012345678901234"};
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(add_user("Ann"), ERR_OK);
	assert_int_equal(add_user("Ann"), ERR_CONFLICT);
	assert_int_equal(add_user("aNN"), ERR_CONFLICT);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(add_user(bad[i]), ERR_CONFLICT);
	assert_int_equal(ask(STORE_USER_ADD, STORE_TEXT(((struct str){"a\0b", 3})),
				 STORE_TEXT(STR("")), STORE_NULL, STORE_INT(1)),
		ERR_CONFLICT);
	assert_int_equal(add_user("a.b_c-D"), ERR_OK);
	assert_int_equal(
		put_setting("a", STORE_NULL), ERR_INTERNAL); /* the program's own mistake */
}

static struct store_value read_setting(const char *name, struct store_op **ret_op)
{
	*ret_op = store_ask_now(STORE_SETTING_GET, STORE_TEXT(str_of(name)), STORE_END);
	assert_int_equal((*ret_op)->err, ERR_OK);
	assert_int_equal((*ret_op)->rows * (*ret_op)->columns, 1);
	return (*ret_op)->cells[0];
}

static void values_keep_their_type(void **state)
{
	(void)state;
	static const struct str bytes = {"\0\xff'\n", 4};
	const struct store_value rows[] = {STORE_INT(INT64_MIN), STORE_INT(INT64_MAX), STORE_INT(0),
		STORE_TEXT(STR("")), STORE_TEXT(((struct str){0})), STORE_TEXT(STR("12")),
		STORE_TEXT(STR("'; DROP TABLE users; --")), STORE_BLOB(bytes),
		STORE_BLOB(((struct str){0}))};
	open_store(NULL, QUEUE_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct store_op *op;
		assert_int_equal(put_setting("a", rows[i]), ERR_OK);
		struct store_value value = read_setting("a", &op);
		assert_int_equal(value.kind, rows[i].kind);
		assert_true(value.number == rows[i].number);
		assert_true(str_eq(value.bytes, rows[i].bytes));
		store_op_free(&op);
	}
}

static void an_answer_has_a_largest_size(void **state)
{
	(void)state;
	char *large = mem_alloc(STORE_BYTES_MAX + 1);
	memset(large, 'x', STORE_BYTES_MAX + 1);
	open_store(NULL, QUEUE_MAX);
	put_setting("a", STORE_TEXT(((struct str){large, STORE_BYTES_MAX + 1})));
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_TOO_LARGE);
	put_setting("a", STORE_TEXT(((struct str){large, STORE_BYTES_MAX / 2})));
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_OK);
	free(large);
	forget_answers();
	add_users_later("u", STORE_ROWS_MAX + 1);
	lone_run_until(&answers.done, STORE_ROWS_MAX + 1);
	assert_int_equal(answers.by_err[ERR_OK], STORE_ROWS_MAX + 1);
	assert_int_equal(
		ask(STORE_USER_LIST, STORE_TEXT(STR("")), STORE_INT(STORE_ROWS_MAX)), ERR_OK);
	assert_int_equal(ask(STORE_USER_LIST, STORE_TEXT(STR("")), STORE_INT(STORE_ROWS_MAX + 1)),
		ERR_TOO_LARGE);
}

#define add_login(login, instead) \
	ask(STORE_LOGIN_ADD, STORE_BLOB(STR(login)), STORE_TEXT(STR("ann")), STORE_INT(2000), \
		STORE_INT(1000), instead, STORE_TEXT(STR("")), STORE_TEXT(STR("")), STORE_NULL, \
		STORE_NULL)
#define get_login(login) ask(STORE_LOGIN_GET, STORE_BLOB(STR(login)), STORE_INT(1000))

static void a_verb_of_two_statements_is_whole_or_nothing(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	add_user("ann");
	assert_int_equal(add_login("one", STORE_NULL), ERR_OK);
	assert_int_equal(add_login("two", STORE_NULL), ERR_OK);
	assert_int_equal(add_login("two", STORE_BLOB(STR("one"))), ERR_CONFLICT);
	assert_int_equal(get_login("one"), ERR_OK);
	assert_int_equal(add_login("three", STORE_BLOB(STR("one"))), ERR_OK);
	assert_int_equal(get_login("one"), ERR_NOT_FOUND);
	assert_int_equal(get_login("three"), ERR_OK);
}

/* ---- groups ---- */

static void many_writes_few_commits(void **state)
{
	(void)state;
	int64_t commits = metric_read(METRIC_STORE_COMMITS);
	int64_t writes = metric_read(METRIC_STORE_WRITES);
	open_store("USER_ADD:1:delay=200", QUEUE_MAX);
	forget_answers();
	add_users_later("u", 1);
	let_it_begin(0, 1);
	add_users_later("v", 1000);
	lone_run_until(&answers.done, 1001);
	assert_int_equal(answers.by_err[ERR_OK], 1001);
	assert_int_equal(metric_read(METRIC_STORE_WRITES) - writes, 1001);
	assert_int_equal(metric_read(METRIC_STORE_COMMITS) - commits, 2);
}

static void one_that_fails_does_not_take_others_along(void **state)
{
	(void)state;
	open_store("USER_ADD:1:delay=200", QUEUE_MAX);
	forget_answers();
	add_user_later("first");
	let_it_begin(0, 1);
	add_user_later("ann");
	add_user_later("ann");
	add_user_later("b|b");
	store_ask(STORE_USER_PUT_OUT, count_answer, NULL, STORE_TEXT(STR("nobody")), STORE_INT(1),
		STORE_INT(0), STORE_END);
	add_user_later("bob");
	lone_run_until(&answers.done, 6);
	assert_int_equal(answers.by_err[ERR_OK], 3);
	assert_int_equal(answers.by_err[ERR_CONFLICT], 2);
	assert_int_equal(answers.by_err[ERR_NOT_FOUND], 1);
	assert_int_equal(get_user("ann"), ERR_OK);
	assert_int_equal(get_user("bob"), ERR_OK);
}

static void a_failed_commit_is_everybodys(void **state)
{
	(void)state;
	int64_t failed = metric_read(METRIC_STORE_FAILED);
	open_store("USER_ADD:1:delay=200,commit:2:internal", QUEUE_MAX);
	assert_null(store_trouble());
	forget_answers();
	add_user_later("first");
	let_it_begin(0, 1);
	add_users_later("u", 10);
	add_user_later("u3"); /* even this conflict is no answer: u3 is not there afterwards */
	lone_run_until(&answers.done, 12);
	assert_int_equal(answers.by_err[ERR_OK], 1);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 11);
	assert_int_equal(metric_read(METRIC_STORE_FAILED) - failed, 11);
	assert_string_equal(store_trouble(), "it fails as planned");
	assert_int_equal(get_user("first"), ERR_OK);
	assert_int_equal(get_user("u3"), ERR_NOT_FOUND);
	assert_int_equal(add_user("u3"), ERR_OK);
	wait_until_well();
	store_close();
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(get_user("u3"), ERR_OK);
	assert_int_equal(get_user("u4"), ERR_NOT_FOUND);
}

static void nothing_is_answered_before_its_commit(void **state)
{
	(void)state;
	open_store("commit:1:delay=200", QUEUE_MAX);
	forget_answers();
	add_user_later("ann");
	let_it_begin(0, 1);
	lone_run();
	assert_int_equal(answers.done, 0);
	assert_int_equal(get_user("ann"), ERR_NOT_FOUND);
	lone_run_until(&answers.done, 1);
	assert_int_equal(get_user("ann"), ERR_OK);
}

static void read_what_was_written(struct store_op *op)
{
	int64_t wanted = (int64_t)(intptr_t)op->context;
	assert_int_equal(op->err, ERR_OK);
	assert_int_equal(store_int(op, 0, 0), wanted);
	answers.done++;
}

static void written(struct store_op *op)
{
	assert_int_equal(op->err, ERR_OK);
	store_ask(STORE_SETTING_GET, read_what_was_written, op->context, STORE_TEXT(STR("a")),
		STORE_END);
}

static void reads_see_answered_writes(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	forget_answers();
	for (int i = 0; i < 300; i++) {
		store_ask(STORE_SETTING_PUT, written, (void *)(intptr_t)i, STORE_TEXT(STR("a")),
			STORE_INT(i), STORE_END);
		lone_run_until(&answers.done, (size_t)i + 1);
	}
}

/* ---- the queue and the end ---- */

static void the_queue_has_a_bound(void **state)
{
	(void)state;
	open_store("USER_ADD:1:delay=200,SETTING_GET:1:delay=200", 100);
	forget_answers();
	add_user_later("first");
	store_ask(STORE_SETTING_GET, count_answer, NULL, STORE_TEXT(STR("a")), STORE_END);
	let_it_begin(0, 1);
	let_it_begin(1, 1);
	add_users_later("u", 110);
	for (int i = 0; i < 110; i++)
		store_ask(STORE_USER_LIST, count_answer, NULL, STORE_TEXT(STR("a")), STORE_INT(1),
			STORE_END);
	assert_int_equal(answers.done, 0); /* a refusal too comes later, through done */
	lone_run_until(&answers.done, 222);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 20);
	assert_int_equal(answers.by_err[ERR_OK], 201);
	assert_int_equal(answers.by_err[ERR_NOT_FOUND], 1);
	assert_int_equal(get_user("u99"), ERR_OK);
	assert_int_equal(get_user("u100"), ERR_NOT_FOUND);
}

static void closing_answers_what_waits(void **state)
{
	(void)state;
	open_store("any:1:delay=200", QUEUE_MAX);
	forget_answers();
	add_user_later("first");
	let_it_begin(0, 1);
	add_users_later("u", 50);
	for (int i = 0; i < 50; i++)
		store_ask(STORE_USER_LIST, count_answer, NULL, STORE_TEXT(STR("zz")), STORE_INT(1),
			STORE_END);
	store_close();
	assert_int_equal(answers.done, 0);
	lone_run();
	assert_int_equal(answers.by_err[ERR_OK], 101);
	add_user_later("late");
	assert_int_equal(answers.done, 101);
	lone_run();
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 1);
	assert_int_equal(add_user("late"), ERR_OVERLOADED);
	assert_string_equal(store_trouble(), "it is not open");
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(get_user("u49"), ERR_OK);
	assert_int_equal(get_user("late"), ERR_NOT_FOUND);
}

/* ---- trouble ---- */

/* Nobody waits for ever, and who was told so must not find it done afterwards. */
static void while_another_has_the_lock(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(add_user("ann"), ERR_OK);
	assert_int_equal(sqlite3_open(place, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", 0, 0, 0), SQLITE_OK);
	forget_answers();
	int64_t refused = metric_read(METRIC_STORE_REFUSED);
	int64_t began = milliseconds();
	add_users_later("early", 3);
	while (milliseconds() - began < STORE_WAIT_MS / 2) {
		assert_int_equal(get_user("ann"), ERR_OK); /* reading goes on */
		lone_run();
	}
	assert_null(store_trouble());
	assert_int_equal(answers.done, 0);
	add_user_later("later");
	lone_run_until(&answers.done, 3);
	assert_in_range(milliseconds() - began, STORE_WAIT_MS, STORE_WAIT_MS + LATE_MS);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 3);
	assert_int_equal(metric_read(METRIC_STORE_REFUSED) - refused, 3);
	assert_string_equal(store_trouble(), "another program has locked the database");
	assert_int_equal(metric_read(METRIC_STORE_TROUBLE), 1);
	assert_int_equal(sqlite3_exec(other, "COMMIT", 0, 0, 0), SQLITE_OK);
	lone_run_until(&answers.done, 4);
	assert_int_equal(answers.by_err[ERR_OK], 1);
	wait_until_well();
	assert_int_equal(metric_read(METRIC_STORE_TROUBLE), 0);
	assert_int_equal(get_user("later"), ERR_OK);
	assert_int_equal(get_user("early0"), ERR_NOT_FOUND);
	assert_int_equal(add_user("early1"), ERR_OK);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void closing_does_not_wait_for_the_lock_for_ever(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(sqlite3_open(place, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", 0, 0, 0), SQLITE_OK);
	forget_answers();
	add_users_later("u", 3);
	store_close();
	lone_run();
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 3);
	assert_int_equal(metric_read(METRIC_STORE_TROUBLE), 0);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

/* What the disk has been asked to keep can only be waited for; the next is not let into that queue. */
static void while_the_disk_does_not_answer(void **state)
{
	(void)state;
	open_store("commit:1:delay=4500", QUEUE_MAX);
	forget_answers();
	add_user_later("first");
	let_it_begin(0, 1);
	add_user_later("second");
	for (int i = 0; i < 200 && !store_trouble(); i++)
		usleep(100 * 1000);
	assert_string_equal(store_trouble(), "the disk does not answer");
	lone_run();
	assert_int_equal(answers.done, 0);
	assert_int_equal(add_user("third"), ERR_OVERLOADED);
	assert_int_equal(get_user("first"), ERR_NOT_FOUND); /* reading goes on */
	lone_run_until(&answers.done, 2);
	assert_int_equal(answers.by_err[ERR_OK], 2);
	wait_until_well();
	assert_int_equal(get_user("third"), ERR_NOT_FOUND);
	assert_int_equal(add_user("third"), ERR_OK);
}

/* ---- faults ---- */

static void each_error_can_be_made_to_happen(void **state)
{
	(void)state;
	open_store("USER_ADD:1:internal,USER_ADD:2:conflict,USER_ADD:3:not_found,"
		   "USER_ADD:4:too_large,USER_ADD:5:overloaded,USER_ADD:6:commit,"
		   "USER_GET:*:too_large,begin:8:internal,SETTING_GET:2:internal",
		QUEUE_MAX);
	static const enum err errors[] = {ERR_INTERNAL, ERR_CONFLICT, ERR_NOT_FOUND, ERR_TOO_LARGE,
		ERR_OVERLOADED, ERR_OVERLOADED, ERR_OK, ERR_OVERLOADED, ERR_CONFLICT};
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		assert_int_equal(add_user("ann"), errors[i]);
	assert_int_equal(get_user("ann"), ERR_TOO_LARGE);
	assert_int_equal(get_user("ann"), ERR_TOO_LARGE);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_NOT_FOUND);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_INTERNAL);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_NOT_FOUND);
}

static void a_plan_with_unknown_words_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "commit", "commit:1", "commit:0:internal",
		"commit:-1:internal", "commit:x:internal", "commit:1:ok", "commit:1:sometimes",
		"commit:1:commit", "begin:1:commit", "USER_AD:1:internal", "user_add:1:internal",
		"USER_ADD::internal", "USER_ADD:1:", "USER_ADD:1:delay",
		"USER_ADD:1:delay=", "USER_ADD:1:delay=1s", "USER_ADD:1:delay=99999999999",
		"USER_ADD:1:internal:2", "USER_ADD:1:internal=2",
		"USER_ADD:1:internal,,USER_ADD:2:internal", "commit:1:internal, commit:2:internal"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		why[0] = 0;
		if (store_fault(&store_sqlite, bad[i], why))
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(strstr(why, "which is not"));
	}
}

static void the_environment_may_hold_a_plan(void **state)
{
	(void)state;
	unsetenv("SIGNALBOX_STORE_FAULT");
	assert_ptr_equal(store_fault_from_environment(&store_sqlite, why), &store_sqlite);
	setenv("SIGNALBOX_STORE_FAULT", "commit:1:oops", 1);
	assert_null(store_fault_from_environment(&store_sqlite, why));
	assert_non_null(strstr(why, "commit:1:oops"));
	setenv("SIGNALBOX_STORE_FAULT", "commit:1:internal", 1);
	const struct store_driver *driver = store_fault_from_environment(&store_sqlite, why);
	assert_non_null(driver);
	unsetenv("SIGNALBOX_STORE_FAULT");
	assert_int_equal(store_open(driver, place, QUEUE_MAX, why), ERR_OK);
	assert_int_equal(add_user("ann"), ERR_OVERLOADED);
	assert_int_equal(add_user("ann"), ERR_OK);
}

/* ---- against a model ---- */

enum { MODEL_USERS = 40, MODEL_ROUNDS = 60, MODEL_BATCH = 80 };

struct model_user {
	bool there;
	int64_t disabled_at, password;
};

struct model {
	struct model_user users[MODEL_USERS];
};

struct expected {
	enum err err;
	bool answered;
};

static void answered_as_expected(struct store_op *op)
{
	struct expected *e = op->context;
	assert_false(e->answered);
	e->answered = true;
	assert_int_equal(op->err, e->err);
	answers.done++;
}

static void random_write(struct model *m, struct expected *e)
{
	int at = rand() % MODEL_USERS;
	int64_t value = rand() % 1000 + 1;
	struct model_user *user = &m->users[at];
	char name[16], password[16];
	snprintf(name, sizeof(name), "%c%d", rand() % 2 ? 'u' : 'U', at);
	snprintf(password, sizeof(password), "%d", (int)value);
	struct store_value key = STORE_TEXT(str_of(name));
	struct store_value secret = STORE_TEXT(str_of(password));
	*e = (struct expected){user->there ? ERR_OK : ERR_NOT_FOUND, false};
	switch (rand() % 3) {
	case 0:
		e->err = user->there ? ERR_CONFLICT : ERR_OK;
		store_ask(STORE_USER_ADD, answered_as_expected, e, key, STORE_TEXT(STR("x")),
			secret, STORE_INT(1), STORE_END);
		if (!user->there)
			*user = (struct model_user){true, 0, value};
		break;
	case 1:
		store_ask(STORE_USER_PUT_OUT, answered_as_expected, e, key, STORE_INT(value),
			STORE_INT(0), STORE_END);
		user->disabled_at = user->there ? value : 0;
		break;
	default:
		store_ask(STORE_ACCOUNT_PASSWORD, answered_as_expected, e, key, secret,
			STORE_INT(value), STORE_NULL, STORE_END);
		user->password = user->there ? value : 0;
		break;
	}
}

static void compare_with(const struct model *m)
{
	for (int i = 0; i < MODEL_USERS; i++) {
		char name[16], password[16];
		snprintf(name, sizeof(name), "u%d", i);
		struct store_op *op =
			store_ask_now(STORE_USER_GET, STORE_TEXT(str_of(name)), STORE_END);
		assert_int_equal(op->err, m->users[i].there ? ERR_OK : ERR_NOT_FOUND);
		if (!op->err) {
			struct user_record user = user_record_of(op, 0);
			snprintf(password, sizeof(password), "%d", (int)m->users[i].password);
			assert_int_equal(user.disabled_at, m->users[i].disabled_at);
			assert_true(str_is(user.password, password));
		}
		store_op_free(&op);
	}
}

static void random_writes_match_a_model(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	const char *given = getenv("SEED");
	if (given)
		seed = (unsigned)strtoul(given, NULL, 10);
	print_message("SEED=%u\n", seed);
	srand(seed);
	struct model m = {0};
	struct expected expected[MODEL_BATCH];
	open_store(NULL, QUEUE_MAX);
	for (int round = 0; round < MODEL_ROUNDS; round++) {
		forget_answers();
		for (int i = 0; i < MODEL_BATCH; i++)
			random_write(&m, &expected[i]);
		lone_run_until(&answers.done, MODEL_BATCH);
		compare_with(&m);
		if (round % 20 == 19) {
			store_close();
			open_store(NULL, QUEUE_MAX);
		}
	}
}

/* ---- names ---- */

static void names_of_users(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "0", "Ann", "a.b-c_d", "9.", "A--",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	static const char *const bad[] = {"", ".", "-a", "_a", "a b", "a:b", "client:a", "a|b",
		"a/b", "a\n", "\xc3\xa4", "a@b",
		"01234567890123456789012345678901234567890123456789012345678901234"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(user_name_valid(str_of(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(user_name_valid(str_of(bad[i])));
	assert_false(user_name_valid((struct str){"a\0b", 3}));
	assert_true(user_display_name_valid(STR("Ann \xc3\x84 \xf0\x9f\x98\x80")));
	assert_false(user_display_name_valid(STR("")));
	assert_false(user_display_name_valid(STR("   ")));
	assert_false(user_display_name_valid(STR("a\tb")));
	assert_false(user_display_name_valid(STR("\xff")));
	/* right to left, and an emoji that is joined out of three */
	assert_true(user_display_name_valid(STR("\u05d0\u05d1 \u0627")));
	assert_true(user_display_name_valid(STR("\U0001f469\u200d\U0001f680\ufe0f")));
	assert_false(user_display_name_valid(STR("ann\u202egpj")));
	assert_false(user_display_name_valid(STR("ann\u2067x")));
	assert_false(user_display_name_valid(STR("a\u200fb")));
	assert_false(user_display_name_valid(STR("a\u2028b")));
	assert_false(user_display_name_valid(STR("\u200b\u3164\u00a0\U000e0041")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_user_is_added_and_found),
		test(users_are_listed_in_order),
		test(what_is_not_there_is_not_found),
		test(constraints_are_conflicts),
		test(values_keep_their_type),
		test(an_answer_has_a_largest_size),
		test(a_verb_of_two_statements_is_whole_or_nothing),
		test(many_writes_few_commits),
		test(one_that_fails_does_not_take_others_along),
		test(a_failed_commit_is_everybodys),
		test(nothing_is_answered_before_its_commit),
		test(reads_see_answered_writes),
		test(the_queue_has_a_bound),
		test(closing_answers_what_waits),
		test(while_another_has_the_lock),
		test(closing_does_not_wait_for_the_lock_for_ever),
		test(while_the_disk_does_not_answer),
		test(each_error_can_be_made_to_happen),
		test(a_plan_with_unknown_words_is_refused),
		test(the_environment_may_hold_a_plan),
		test(random_writes_match_a_model),
		test(names_of_users),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
