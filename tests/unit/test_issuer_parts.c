/* The parts of the issuer that need no store: return addresses, scopes, throttling, the hash of what
 * is kept. */
#include "auth/server/redirect.h"
#include "auth/server/scope_set.h"
#include "auth/server/secret.h"
#include "auth/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void addresses_that_may_be_registered(void **state)
{
	(void)state;
	static const char *const good[] = {"https://a.example", "https://a.example/",
		"https://a.example:8443/cb?x=1", "https://[2001:db8::1]/cb",
		"http://localhost:3000/", "http://127.0.0.1/cb", "http://[::1]:1/",
		"com.example.app:/cb", "https://a?x"};
	static const char *const bad[] = {"", "a", "/cb", "http://a.example/", "https://",
		"https:///cb", "https://a.example/#x", "https://u@a.example/",
		"https://a.example:/", "https://a.example:0/", "https://a.example:99999/",
		"https://a.example:1x/", "https://a b/", "https://a.example/\n",
		"https://a.example/\"", "https://a.example;x/", "https://a,b/",
		"javascript:alert(1)", "data:text/html,x", "http://localhost.evil.example/",
		"http://localhost@evil.example/", "http://127.0.0.1.evil.example/",
		"http://[::1]evil.example/", "http://LOCALHOST/", "1com.example:/", ".app:/",
		"com.example.app", "https://a.example\\@b/"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!redirect_valid(str_of(good[i])))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (redirect_valid(str_of(bad[i])))
			fail_msg("%s", bad[i]);
	char *large = malloc(REDIRECT_MAX + 16);
	int n = snprintf(large, REDIRECT_MAX + 16, "https://a.example/%0500d", 0);
	assert_false(redirect_valid((struct str){large, (size_t)n}));
	free(large);
}

static void addresses_match_exactly(void **state)
{
	(void)state;
	static const struct {
		const char *registered, *asked;
		bool matches;
	} rows[] = {
		{"https://a.example/cb", "https://a.example/cb", true},
		{"https://a.example/cb", "https://a.example/cb/", false},
		{"https://a.example/cb", "https://a.example/cb?x=1", false},
		{"https://a.example/cb", "https://a.example:443/cb", false},
		{"https://a.example/cb", "https://A.example/cb", false},
		{"http://localhost/cb", "http://localhost:3000/cb", true},
		{"http://localhost:1/cb", "http://localhost/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:3000/cb", true},
		{"http://[::1]/cb", "http://[::1]:3000/cb", true},
		{"http://localhost/cb", "http://127.0.0.1:3000/cb", false},
		{"http://localhost/cb", "http://localhost:3000/", false},
		{"http://localhost/cb", "https://localhost:3000/cb", false},
		{"http://localhost/", "http://localhost:3000@evil.example/", false},
		{"http://localhost/", "http://localhost:3000.evil.example/", false},
		{"http://localhost/", "http://localhost:/", false},
		{"http://localhost/", "http://localhost:0/", false},
		{"http://localhost/", "http://localhost:65536/", false},
		{"http://localhost/", "http://localhostile/", false},
		{"http://localhost", "http://localhost:3000/", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (redirect_matches(str_of(rows[i].registered), str_of(rows[i].asked)) !=
			rows[i].matches)
			fail_msg("%s, %s", rows[i].registered, rows[i].asked);
}

static void policies_name_the_place(void **state)
{
	(void)state;
	static const struct {
		const char *uri, *source;
	} rows[] = {
		{"https://a.example:8443/cb?x", "https://a.example:8443"},
		{"https://a.example?x", "https://a.example"},
		{"http://127.0.0.1:3000/", "http://127.0.0.1:3000"},
		{"http://[::1]:3000/", "http:"},
		{"com.example.app:/cb", "com.example.app:"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = BUF_INIT(256);
		redirect_add_source(&b, str_of(rows[i].uri));
		assert_true(str_is(buf_str(&b), rows[i].source));
		buf_free(&b);
	}
}

static void scopes_come_out_as_they_went_in(void **state)
{
	(void)state;
	char out[SCOPE_SET_TEXT_MAX];
	struct scope_set all = {(1 << SCOPE_BITS) - 1, true, true, true};
	struct str text = scope_set_text(all, out);
	struct scope_set again = scope_set_parse(text);
	assert_true(again.openid && again.profile && again.scopes == all.scopes);
	struct scope_set some = scope_set_parse(STR("  profile   rooms:join x openid2 admin "));
	assert_true(some.profile && !some.openid);
	assert_int_equal(some.scopes, SCOPE_ROOMS_JOIN | SCOPE_ADMIN);
	assert_true(scope_set_empty(scope_set_parse(STR("x y"))));
	assert_true(scope_set_empty(scope_set_parse(STR(""))));
	struct scope_set common =
		scope_set_common(some, (struct scope_set){SCOPE_ADMIN, true, false, false});
	assert_true(common.scopes == SCOPE_ADMIN && !common.openid && !common.profile);
}

static void secrets_and_their_hash(void **state)
{
	(void)state;
	char one[SECRET_TEXT + 1], other[SECRET_TEXT + 1];
	secret_make(one);
	secret_make(other);
	assert_int_equal(strlen(one), SECRET_TEXT);
	assert_string_not_equal(one, other);
	/* the example of RFC 7636, appendix B */
	secret_challenge(STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), one);
	assert_string_equal(one, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void throttle_grows_and_forgives(void **state)
{
	(void)state;
	struct throttle *t = throttle_new(3, 10);
	struct str key = STR("ann");
	int64_t now = 1000000;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(throttle_wait(t, key, now), 0);
		throttle_failed(t, key, now);
	}
	static const int64_t waits[] = {1, 2, 4, 8, 10, 10};
	for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
		assert_int_equal(throttle_wait(t, key, now), waits[i]);
		assert_int_equal(throttle_wait(t, key, now + waits[i] * 1000 - 1), 1);
		now += waits[i] * 1000;
		assert_int_equal(throttle_wait(t, key, now), 0);
		throttle_failed(t, key, now);
	}
	assert_int_equal(throttle_wait(t, STR("bob"), now), 0);
	now += 60 * 60 * 1000; /* an hour: all is forgiven */
	for (int i = 0; i < 3; i++) {
		throttle_failed(t, key, now);
	}
	assert_int_equal(throttle_wait(t, key, now), 1);
	throttle_forget(t, key);
	assert_int_equal(throttle_wait(t, key, now), 0);
	throttle_free(&t);
	assert_null(t);
}

/* Against a plain list of everything: it may only ever forget, and only when it is crowded. */
static void throttle_is_bounded(void **state)
{
	(void)state;
	struct throttle *t = throttle_new(1, 60);
	char key[32];
	for (int i = 0; i < 10 * THROTTLE_KEYS; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		throttle_failed(t, str_of(key), i);
		assert_int_equal(throttle_wait(t, str_of(key), i), 1);
	}
	int known = 0;
	for (int i = 0; i < 10 * THROTTLE_KEYS; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		known += throttle_wait(t, str_of(key), i) > 0;
	}
	assert_true(known <= THROTTLE_KEYS && known > THROTTLE_KEYS / 2);
	throttle_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_that_may_be_registered),
		cmocka_unit_test(addresses_match_exactly),
		cmocka_unit_test(policies_name_the_place),
		cmocka_unit_test(scopes_come_out_as_they_went_in),
		cmocka_unit_test(secrets_and_their_hash),
		cmocka_unit_test(throttle_grows_and_forgives),
		cmocka_unit_test(throttle_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
