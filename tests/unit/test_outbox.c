/* outbox: what is written with a verb is there with it or not at all; what has happened is written
 * although the store fails meanwhile, and nothing that happens later comes before it. */
#include "store_fixture.h"

#include "store/outbox.h"

#include <sqlite3.h>

static const struct hook_receiver one[] = {
	{.name = {"one", 3}, .events = 1u << HOOK_ROOM_JOINED | 1u << HOOK_ROOM_LEFT}};
static unsigned woken;

static void on_kept(unsigned webhooks)
{
	woken |= webhooks;
}

static int outbox_set_up(void **state)
{
	set_up(state);
	uv_loop_init(&lone.loop);
	outbox_on_kept(on_kept);
	outbox_configure(one, 1);
	woken = 0;
	forget_answers();
	return (int)outbox_part.start(&lone);
}

static int outbox_tear_down(void **state)
{
	store_close();
	lone_run();
	outbox_part.stop(&lone);
	uv_run(&lone.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&lone.loop), 0);
	outbox_configure(NULL, 0);
	return tear_down(state);
}

/* Runs what was posted, and timers, until so many answers were there. */
static void run_until(size_t answers_wanted)
{
	while (answers.done < answers_wanted) {
		uv_run(&lone.loop, UV_RUN_NOWAIT);
		lone_run();
	}
}

static void add_event(struct hooks *h, enum hook_event e, const char *text)
{
	struct json_out *o = hook_begin(h, e, "room", STR("r"));
	json_text(o, "text", text);
	hook_end(h);
}

/* All that is in the outbox, in order: the members "text" of the data. */
static const char *outbox_texts(void)
{
	static char out[1024];
	size_t n = 0;
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(
			db, "SELECT data ->> 'text' FROM outbox ORDER BY sequence", -1, &s, NULL),
		SQLITE_OK);
	out[0] = '\0';
	while (sqlite3_step(s) == SQLITE_ROW)
		n += (size_t)snprintf(
			out + n, sizeof(out) - n, "%s ", (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	sqlite3_close(db);
	return out;
}

static void keep(enum hook_event e, const char *text)
{
	struct hooks h = {0};
	add_event(&h, e, text);
	hook_keep(&h, count_answer, NULL);
}

static void tell(const char *text)
{
	struct hooks h = {0};
	add_event(&h, HOOK_ROOM_LEFT, text);
	hook_tell(&h);
}

static void ask_with(const char *user, const char *text)
{
	struct hooks h = {0};
	add_event(&h, HOOK_ROOM_JOINED, text);
	hook_ask(&h, STORE_USER_ADD, count_answer, NULL, STORE_TEXT(str_of(user)),
		STORE_TEXT(STR("Somebody")), STORE_NULL, STORE_INT(1700000000), STORE_END);
}

static void with_a_verb_or_not_at_all(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	ask_with("ann", "a");
	run_until(1);
	assert_int_equal(woken, 1);
	ask_with("ann", "b"); /* there is one: nothing of it happens */
	ask_with("bob", "c");
	run_until(3);
	assert_int_equal(answers.by_err[ERR_CONFLICT], 1);
	assert_string_equal(outbox_texts(), "a c ");
}

static void the_verb_fails_with_its_event(void **state)
{
	(void)state;
	open_store("OUTBOX_ADD:1:internal", QUEUE_MAX);
	ask_with("ann", "a");
	run_until(1);
	assert_int_equal(answers.by_err[ERR_INTERNAL], 1);
	assert_int_equal(get_user("ann"), ERR_NOT_FOUND);
	assert_string_equal(outbox_texts(), "");
	assert_int_equal(woken, 0);
}

static void what_nobody_wants_is_not_kept(void **state)
{
	(void)state;
	struct hooks h = {0};
	open_store(NULL, QUEUE_MAX);
	assert_true(hook_wanted(HOOK_ROOM_LEFT));
	assert_false(hook_wanted(HOOK_CALL_ENDED));
	add_event(&h, HOOK_CALL_ENDED, "a");
	hook_ask(&h, STORE_SETTING_PUT, count_answer, NULL, STORE_TEXT(STR("x")), STORE_INT(1),
		STORE_END);
	run_until(1);
	assert_int_equal(answers.by_err[ERR_OK], 1);
	assert_string_equal(outbox_texts(), "");
}

/* The second write fails: it is told again, and what comes behind it is refused until it is there, also
 * what the store had been asked before anybody knew. */
static void nothing_overtakes_what_has_happened(void **state)
{
	(void)state;
	open_store("OUTBOX_ADD:2:overloaded,OUTBOX_ADD:1:delay=50", QUEUE_MAX);
	keep(HOOK_ROOM_JOINED, "a");
	tell("b");
	keep(HOOK_ROOM_JOINED, "c");
	tell("d");
	run_until(2);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 1);
	assert_string_equal(outbox_texts(), "a ");
	keep(HOOK_ROOM_JOINED, "e");
	tell("f");
	run_until(3);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 2);
	while (strcmp(outbox_texts(), "a b d f ") != 0) {
		uv_run(&lone.loop, UV_RUN_NOWAIT);
		lone_run();
	}
	keep(HOOK_ROOM_JOINED, "g");
	run_until(4);
	assert_string_equal(outbox_texts(), "a b d f g ");
}

static void too_large_says_so(void **state)
{
	(void)state;
	struct hooks h = {0};
	char *large = mem_alloc(HOOK_DATA_MAX);
	memset(large, 'x', HOOK_DATA_MAX - 1);
	open_store(NULL, QUEUE_MAX);
	add_event(&h, HOOK_ROOM_LEFT, large);
	add_event(&h, HOOK_ROOM_LEFT, "next");
	hook_keep(&h, count_answer, NULL);
	run_until(1);
	assert_string_equal(outbox_texts(), "(null) next ");
	free(large);
}

#define with_outbox(f) cmocka_unit_test_setup_teardown(f, outbox_set_up, outbox_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_outbox(with_a_verb_or_not_at_all),
		with_outbox(the_verb_fails_with_its_event),
		with_outbox(what_nobody_wants_is_not_kept),
		with_outbox(nothing_overtakes_what_has_happened),
		with_outbox(too_large_says_so),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
