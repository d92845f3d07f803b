/* Refresh tokens: whatever clients do with theirs, in whichever order and at whatever time, the issuer
 * answers as a naive model of the rules does. */
#include "issuer_tokens.h"

enum { FAMILIES = 3, GENERATIONS = 400, STEPS = 1200, DAY = 24 * 3600 };

struct family {
	bool alive;
	int newest; /* the generation whose token is tokens[newest] */
	int64_t created, rotated, until;
	char tokens[GENERATIONS][REFRESH_TOKEN_TEXT + 1];
	char access[TOKEN_MAX_BYTES];
	int64_t access_until;
};

static struct family families[FAMILIES];
static unsigned seed;

static unsigned next_random(unsigned below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void keep_answer(struct family *f, int generation)
{
	snprintf(f->tokens[generation], sizeof(f->tokens[0]), "%s", member("refresh_token"));
	snprintf(f->access, sizeof(f->access), "%s", member("access_token"));
	f->access_until = time(NULL) + 3600;
}

static void begin_family(struct family *f)
{
	char code[SECRET_TEXT + 1];
	memset(f, 0, sizeof(*f));
	make_code("demo", "ann", "openid offline_access rooms:join", code);
	assert_int_equal(redeem("demo", code), 200);
	f->alive = true;
	f->newest = 1;
	f->created = f->rotated = time(NULL);
	f->until = f->created + 14 * DAY;
	keep_answer(f, 1);
}

/* What the rules say about a token at this second. */
static bool model_refresh(struct family *f, int generation, int64_t now)
{
	bool grace = generation + 1 == f->newest && now <= f->rotated + 30;
	if (!f->alive)
		return false;
	if (now < f->until && (generation == f->newest || grace)) {
		if (generation == f->newest)
			f->rotated = now;
		f->newest = generation + 1;
		f->until = earlier(f->created + 90 * DAY, now + 14 * DAY);
		return true;
	}
	if (generation < f->newest)
		f->alive = false; /* whoever has it, it was used before */
	return false;
}

static void step_refresh(struct family *f)
{
	int back = (int)next_random(8), generation = f->newest - (back < 5 ? 0 : back - 5);
	if (generation < 1)
		generation = 1;
	bool was_alive = f->alive, new_one = generation == f->newest;
	int64_t now = time(NULL);
	bool right = model_refresh(f, generation, now);
	int status = refresh("demo", f->tokens[generation], "");
	if (status != (right ? 200 : 400))
		fail_msg("generation %d of %d, alive %d: %d %s", generation, f->newest, was_alive,
			status, reply.body);
	if (!right) {
		assert_string_equal(member("error"), "invalid_grant");
		return;
	}
	if (!new_one) /* the same successor, to the letter */
		assert_string_equal(member("refresh_token"), f->tokens[f->newest]);
	for (int i = 1; i <= generation; i++)
		assert_string_not_equal(member("refresh_token"), f->tokens[i]);
	keep_answer(f, f->newest);
}

static void step_userinfo(struct family *f)
{
	int want = f->alive && time(NULL) < f->access_until ? 200 : 401;
	if (userinfo(f->access) != want)
		fail_msg("alive %d: %d %s", f->alive, reply.status, reply.body);
}

static void run_steps(void)
{
	static const time_t jumps[] = {0, 1, 29, 30, 31, 600, 3600, DAY, 13 * DAY, 15 * DAY};
	for (int i = 0; i < FAMILIES; i++)
		begin_family(&families[i]);
	for (int step = 0; step < STEPS; step++) {
		struct family *f = &families[next_random(FAMILIES)];
		unsigned what = next_random(100);
		if (what < 60)
			step_refresh(f);
		else if (what < 75)
			step_userinfo(f);
		else if (what < 95)
			ahead += jumps[next_random(7)];
		else if (what < 97)
			ahead += jumps[7 + next_random(3)];
		if (!f->alive || f->newest >= GENERATIONS - 2)
			begin_family(f);
	}
}

static void families_live_as_the_model_says(void **state)
{
	(void)state;
	const char *given = getenv("TEST_SEED");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	print_message("TEST_SEED=%u\n", seed);
	run_steps();
}

/* ---- one by one ---- */

static void start_family(char *ret_token)
{
	char code[SECRET_TEXT + 1];
	make_code("demo", "ann", "openid profile offline_access rooms:join rooms:create", code);
	assert_int_equal(redeem("demo", code), 200);
	snprintf(ret_token, REFRESH_TOKEN_TEXT + 1, "%s", member("refresh_token"));
	assert_int_equal(strlen(ret_token), REFRESH_TOKEN_TEXT);
}

static void a_refresh_gives_less_never_more(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1], next[REFRESH_TOKEN_TEXT + 1];
	start_family(token);
	assert_int_equal(refresh("demo", token, "&scope=rooms:join+rooms:moderate"), 400);
	assert_string_equal(member("error"), "invalid_scope");
	assert_int_equal(refresh("demo", token, "&scope=rooms:join+nonsense"), 400);
	assert_string_equal(member("error"), "invalid_scope");
	ahead += 60; /* none of that used it */
	assert_int_equal(refresh("demo", token, "&scope=+rooms:join"), 200);
	assert_string_equal(member("scope"), "rooms:join");
	assert_string_equal(member("id_token"), "");
	snprintf(next, sizeof(next), "%s", member("refresh_token"));
	assert_int_equal(refresh("demo", next, ""), 200); /* what was left out is not lost */
	assert_string_equal(
		member("scope"), "openid profile offline_access rooms:join rooms:create");
	assert_true(*member("id_token"));
}

static void asking_again_does_not_prolong_the_half_minute(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1];
	start_family(token);
	assert_int_equal(refresh("demo", token, ""), 200);
	ahead += REFRESH_GRACE;
	assert_int_equal(refresh("demo", token, ""), 200);
	ahead += 1;
	assert_int_equal(refresh("demo", token, ""), 400);
}

static void a_sign_in_ends_however_often_it_is_used(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1];
	start_family(token);
	for (int days = 10; days < 90; days += 10) {
		ahead += 10 * DAY;
		assert_int_equal(refresh("demo", token, ""), 200);
		snprintf(token, sizeof(token), "%s", member("refresh_token"));
	}
	ahead += 10 * DAY - 1;
	assert_int_equal(refresh("demo", token, ""), 200);
	ahead += 1;
	assert_int_equal(refresh("demo", member("refresh_token"), ""), 400);
	start_family(token);
	ahead += 14 * DAY - 1; /* nor does it wait for ever */
	assert_int_equal(refresh("demo", token, ""), 200);
	ahead += 14 * DAY;
	assert_int_equal(refresh("demo", member("refresh_token"), ""), 400);
}

static void only_who_asks_for_it_gets_one(void **state)
{
	(void)state;
	char code[SECRET_TEXT + 1];
	make_code("demo", "ann", "openid rooms:join", code);
	assert_int_equal(redeem("demo", code), 200);
	assert_string_equal(member("refresh_token"), "");
}

static void a_token_of_another_client_is_worth_nothing(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1], other[64];
	assert_int_equal(run_method("client.add",
				 "{\"name\":\"x\",\"grants\":[\"authorization_code\","
				 "\"refresh_token\"],\"public\":true,\"redirect_uris\":"
				 "[\"https://a.example/\"]}"),
		ERR_OK);
	snprintf(other, sizeof(other), "%s", member("client_id"));
	start_family(token);
	assert_int_equal(refresh(other, token, ""), 400);
	assert_string_equal(member("error"), "invalid_grant");
	assert_int_equal(refresh(other, token, "&scope=rooms:join"), 400);
	assert_string_equal(member("error"), "invalid_grant");
	assert_int_equal(refresh("demo", token, ""), 200); /* and its owner has not lost it */
	ahead += 60;
	assert_int_equal(refresh(other, token, ""), 400); /* nor does reuse elsewhere end it */
	assert_int_equal(refresh("demo", member("refresh_token"), ""), 400);
}

static void what_was_not_made_here_is_no_token(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 2] = "", sid[33];
	int64_t generation;
	start_family(token);
	assert_true(refresh_token_read(str_of(token), sid, &generation));
	assert_int_equal(generation, 1);
	for (size_t i = 0; i < REFRESH_TOKEN_TEXT; i++) { /* every byte of it counts */
		char before = token[i];
		token[i] = before == 'A' ? 'B' : 'A';
		assert_int_equal(refresh("demo", token, ""), 400);
		assert_false(refresh_token_read(str_of(token), sid, &generation));
		token[i] = before;
	}
	token[REFRESH_TOKEN_TEXT] = 'A';
	token[REFRESH_TOKEN_TEXT + 1] = 0;
	assert_int_equal(refresh("demo", token, ""), 400);
	assert_int_equal(refresh("demo", "sbr_", ""), 400);
	token[REFRESH_TOKEN_TEXT] = 0;
	/* a generation that nobody was given yet, although it is signed as it should be */
	char future[REFRESH_TOKEN_TEXT + 1];
	assert_true(refresh_token_read(str_of(token), sid, &generation));
	refresh_token_make(str_of(sid), 7, future);
	assert_int_equal(refresh("demo", future, ""), 400);
	refresh_token_make(str_of(sid), 1, future);
	assert_string_equal(future, token);
	assert_int_equal(refresh("demo", token, ""), 200);
}

static void tokens_outlive_a_restart(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1];
	start_family(token);
	stop_issuer();
	start_issuer(true, NULL);
	assert_int_equal(refresh("demo", token, ""), 200);
}

static void a_code_used_again_takes_back_what_it_gave(void **state)
{
	(void)state;
	char code[SECRET_TEXT + 1], token[REFRESH_TOKEN_TEXT + 1], access[TOKEN_MAX_BYTES];
	make_code("demo", "ann", "openid offline_access", code);
	assert_int_equal(redeem("demo", code), 200);
	snprintf(token, sizeof(token), "%s", member("refresh_token"));
	snprintf(access, sizeof(access), "%s", member("access_token"));
	assert_int_equal(userinfo(access), 200);
	assert_int_equal(redeem("demo", code), 400);
	assert_int_equal(userinfo(access), 401);
	assert_int_equal(refresh("demo", token, ""), 400);
}

static void a_disabled_account_and_another_password_end_it(void **state)
{
	(void)state;
	char token[REFRESH_TOKEN_TEXT + 1];
	start_family(token);
	assert_int_equal(run_method("user.passwd", "{\"name\":\"ann\"}"), ERR_OK);
	assert_int_equal(refresh("demo", token, ""), 400);
	start_family(token);
	struct store_op *op = store_ask_now(STORE_USER_PUT_OUT, STORE_TEXT(STR("ann")),
		STORE_INT(time(NULL)), STORE_INT(0), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	store_op_free(&op);
	assert_int_equal(refresh("demo", token, ""), 400);
}

static int begin_refresh(void **state)
{
	if (begin_tests(state))
		return -1;
	assert_int_equal(run_method("user.add", "{\"name\":\"ann\"}"), ERR_OK);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refresh_gives_less_never_more),
		cmocka_unit_test(asking_again_does_not_prolong_the_half_minute),
		cmocka_unit_test(a_sign_in_ends_however_often_it_is_used),
		cmocka_unit_test(only_who_asks_for_it_gets_one),
		cmocka_unit_test(a_token_of_another_client_is_worth_nothing),
		cmocka_unit_test(what_was_not_made_here_is_no_token),
		cmocka_unit_test(tokens_outlive_a_restart),
		cmocka_unit_test(a_code_used_again_takes_back_what_it_gave),
		cmocka_unit_test(families_live_as_the_model_says),
		cmocka_unit_test(a_disabled_account_and_another_password_end_it),
	};
	return cmocka_run_group_tests_name("issuer: refresh", tests, begin_refresh, end_tests);
}
