/* The issuer's pages while the store is in trouble: each says so, nothing is half done, and nobody is sent
 * anywhere. */
#include "auth/server/secret.h"

#include "issuer_fixture.h"

#include <time.h>

#define PASSWORD "correct horse"
#define BACK "https://app.example/cb"

static char client[64]; /* it has to ask for consent */

static const char *query(void)
{
	static char text[1024];
	snprintf(text, sizeof(text),
		"client_id=%s&redirect_uri=https%%3A%%2F%%2Fapp.example%%2Fcb&response_type=code&"
		"scope=openid&code_challenge_method=S256&"
		"code_challenge=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		client);
	return text;
}

/* Sends a form with the browser's token. */
static int post_form(const char *path, const char *with, const char *fields)
{
	char body[1024];
	snprintf(body, sizeof(body), "csrf=%s&%s", jar.form, fields);
	return send_request(HTTP_POST, path, .query = with, .body = body);
}

static void sign_in(const char *name)
{
	char fields[128];
	snprintf(fields, sizeof(fields), "name=%s&password=correct+horse", name);
	forget_cookies();
	assert_int_equal(get("/oauth/login", "page=account"), 200);
	assert_int_equal(post_form("/oauth/login", "page=account", fields), 303);
	assert_string_equal(header("Location"), "/oauth/account");
}

static void prepare(void)
{
	assert_int_equal(
		run_method("user.add", "{\"name\":\"ann\",\"password\":\"" PASSWORD "\"}"), ERR_OK);
	assert_int_equal(
		run_method("user.add", "{\"name\":\"tom\",\"password\":\"" PASSWORD "\"}"), ERR_OK);
	assert_int_equal(run_method("client.add",
				 "{\"name\":\"app\",\"grants\":[\"authorization_code\"],"
				 "\"redirect_uris\":[\"" BACK "\"]}"),
		ERR_OK);
	snprintf(client, sizeof(client), "%s", member("client_id"));
	struct store_op *op = store_ask_now(STORE_TOTP_ADD, STORE_TEXT(STR("tom")),
		STORE_BLOB(STR("not sealed")), STORE_INT(1), STORE_INT(1), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	store_op_free(&op);
}

static void each_page_says_so(void **state)
{
	(void)state;
	static const struct {
		const char *plan, *path, *query,
			*fields; /* fields NULL: a GET; query "": the client's */
	} rows[] = {
		{"LOGIN_GET:*:internal", "/oauth/authorize", "", NULL},
		{"CONSENT_GET:*:internal", "/oauth/authorize", "", NULL},
		{"CONSENT_GET:*:overloaded", "/oauth/consent", "", "decision=allow"},
		{"CONSENT_PUT:*:internal", "/oauth/consent", "", "decision=allow"},
		{"CODE_ADD:*:internal", "/oauth/consent", "", "decision=allow"},
		{"commit:*:internal", "/oauth/consent", "", "decision=allow"},
		{"LOGIN_GET:*:internal", "/oauth/logout", "x=1", NULL},
		{"LOGIN_END:*:internal", "/oauth/logout", "x=1", "decision=yes"},
		{"CLIENT_GET:*:internal", "/oauth/logout", "client_id=_x", NULL},
		{"HALF_ADD:*:internal", "/oauth/login", "page=account",
			"name=tom&password=correct+horse"},
		{"HALF_GET:*:internal", "/oauth/second", "page=account", "half=x&code=123456"},
		{"LOGIN_GET:*:internal", "/oauth/account", "x=1", NULL},
		{"ACCOUNT_OVERVIEW:*:internal", "/oauth/account", "x=1", NULL},
		{"LOGIN_END_OTHER:*:internal", "/oauth/account/end", "x=1", "kind=login&id=AB"},
		{"CLIENT_ACCESS_END:*:internal", "/oauth/account/end", "x=1", "kind=client&id=_x"},
		{"USER_GET:*:internal", "/oauth/account/password", "x=1",
			"old=correct+horse&password=another+horse"},
		{"ACCOUNT_PASSWORD:*:internal", "/oauth/account/password", "x=1",
			"old=correct+horse&password=another+horse"},
		{"TOTP_GET:*:internal", "/oauth/account/factor", "x=1", NULL},
		{"RECOVERY_PUT:*:internal", "/oauth/account/recovery", "x=1", "a=b"},
		{"DEVICE_FIND:*:internal", "/oauth/device", "user_code=BCDF-GHJK", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *with = *rows[i].query ? rows[i].query : query();
		sign_in("ann");
		stop_issuer();
		start_issuer(true, rows[i].plan);
		int status = rows[i].fields ? post_form(rows[i].path, with, rows[i].fields)
					    : get(rows[i].path, with);
		if (status != 503 || *header("Location"))
			fail_msg("row %zu: %d %s", i, status, reply.body);
		assert_non_null(strstr(reply.body, "role=\"alert\""));
		assert_string_not_equal(header("Retry-After"), "");
		stop_issuer();
		start_issuer(true, NULL);
	}
	sign_in("ann"); /* with the password that was not changed */
}

static void a_factor_that_cannot_be_read_lets_nobody_in(void **state)
{
	(void)state;
	forget_cookies();
	assert_int_equal(get("/oauth/login", "page=account"), 200);
	assert_int_equal(
		post_form("/oauth/login", "page=account", "name=tom&password=correct+horse"), 200);
	const char *half = strstr(reply.body, "name=\"half\" value=\"");
	assert_non_null(half);
	char fields[128];
	snprintf(fields, sizeof(fields), "half=%.43s&code=123456",
		half + strlen("name=\"half\" value=\""));
	assert_int_equal(post_form("/oauth/second", "page=account", fields), 403);
	assert_string_equal(jar.login, "");
}

static enum err use_step(int64_t step)
{
	struct store_op *op =
		store_ask_now(STORE_TOTP_USED, STORE_TEXT(STR("tom")), STORE_INT(step), STORE_END);
	enum err err = op->err;
	store_op_free(&op);
	return err;
}

/* Also when two have read the same state before. */
static void a_step_is_used_once_and_none_before_it(void **state)
{
	(void)state;
	assert_int_equal(use_step(100), ERR_OK);
	assert_int_equal(use_step(100), ERR_NOT_FOUND);
	assert_int_equal(use_step(99), ERR_NOT_FOUND);
	assert_int_equal(use_step(101), ERR_OK);
}

static int begin(void **state)
{
	int failed = begin_tests(state);
	prepare();
	return failed;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_page_says_so),
		cmocka_unit_test(a_step_is_used_once_and_none_before_it),
		cmocka_unit_test(a_factor_that_cannot_be_read_lets_nobody_in),
	};
	return cmocka_run_group_tests(tests, begin, end_tests);
}
