/* discovery: what an issuer publishes about itself, and where that may be. */
#include "auth/discovery.h"

#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct str issuer = {"https://id.example/realms/a", 27};
static struct discovery found;
static const char *why;

static enum err read_text(struct str text)
{
	why = NULL;
	enum err err = discovery_read(text, issuer, &found, &why);
	assert_true(!err || why);
	return err;
}

static enum err read_with(const char *more)
{
	struct buf b = BUF_INIT(1 << 20);
	buf_addf(&b, "{\"issuer\":\"https://id.example/realms/a\"%s}", more);
	enum err err = read_text(buf_str(&b));
	buf_free(&b);
	return err;
}

static void addresses_found(void **state)
{
	(void)state;
	assert_int_equal(read_with(",\"jwks_uri\":\"https:\\/\\/id.example/keys\",\"x\":[{}],"
				   "\"introspection_endpoint\":\"https://id.example/ask\""),
		ERR_OK);
	assert_string_equal(found.jwks_uri, "https://id.example/keys");
	assert_string_equal(found.introspection_endpoint, "https://id.example/ask");
	assert_int_equal(read_with(""), ERR_OK);
	assert_string_equal(found.jwks_uri, "");
	assert_string_equal(found.introspection_endpoint, "");
}

/* Only a document that names the issuer itself, letter by letter. */
static void other_issuer(void **state)
{
	(void)state;
	static const char *const others[] = {"{}", "{\"issuer\":\"\"}", "{\"issuer\":1}",
		"{\"issuer\":\"https://id.example/realms/a/\"}",
		"{\"issuer\":\"https://id.example/realms/b\"}",
		"{\"issuer\":\"HTTPS://id.example/realms/a\"}",
		"{\"issuer\":\"https://id.example/realms/a\\u0000\"}",
		"{\"issuer\":[\"https://id.example/realms/a\"]}",
		"{\"issuer\":\"https://id.example/realms/{tenantid}\"}"};
	for (size_t i = 0; i < COUNT(others); i++)
		assert_int_equal(read_text(str_of(others[i])), ERR_PARAMS);
}

static void malformed(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "null", "[]", "<html>", "{\"issuer\":"};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(read_text(str_of(bad[i])), ERR_PARSE);
	assert_int_equal(read_with(",\"issuer\":\"https://id.example/realms/a\""), ERR_PARAMS);
	assert_int_equal(read_with(",\"jwks_uri\":1"), ERR_PARAMS);
	assert_int_equal(read_with(",\"jwks_uri\":\"https://a\\n\""), ERR_PARAMS);
	assert_int_equal(read_with(",\"jwks_uri\":\"https://a\\u0000b\""), ERR_PARAMS);
	assert_int_equal(read_with(",\"introspection_endpoint\":null"), ERR_PARAMS);
}

static void limits(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 20);
	for (size_t n = DISCOVERY_URL_MAX; n <= DISCOVERY_URL_MAX + 1; n++) {
		buf_cut(&b, 0);
		buf_addf(&b, ",\"jwks_uri\":\"%0*d\"", (int)n, 1);
		assert_int_equal(read_with(b.p), n == DISCOVERY_URL_MAX ? ERR_OK : ERR_PARAMS);
	}
	buf_cut(&b, 0);
	buf_addf(&b, ",\"x\":\"%0*d\"", DISCOVERY_MAX, 1);
	assert_int_equal(read_with(b.p), ERR_TOO_LARGE);
	buf_cut(&b, 0);
	for (int i = 0; i < 100; i++)
		buf_addf(&b, "%s", i ? "[" : ",\"x\":[");
	assert_int_equal(read_with(b.p), ERR_PARSE);
	buf_free(&b);
}

static void places(void **state)
{
	(void)state;
	static const struct {
		const char *issuer, *first, *second;
	} rows[] = {{"https://id.example", "https://id.example/.well-known/openid-configuration",
			    "https://id.example/.well-known/oauth-authorization-server"},
		{"https://id.example/", "https://id.example/.well-known/openid-configuration",
			"https://id.example/.well-known/oauth-authorization-server"},
		{"https://id.example:8443/realms/a",
			"https://id.example:8443/realms/a/.well-known/openid-configuration",
			"https://id.example:8443/.well-known/oauth-authorization-server/realms/a"}};
	char url[DISCOVERY_URL_MAX + 1];
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(discovery_address(str_of(rows[i].issuer), 0, url));
		assert_string_equal(url, rows[i].first);
		assert_true(discovery_address(str_of(rows[i].issuer), 1, url));
		assert_string_equal(url, rows[i].second);
		assert_false(discovery_address(str_of(rows[i].issuer), 2, url));
	}
	static const char *const none[] = {"", "urn:x", "id.example", "https://", "https:///"};
	for (size_t i = 0; i < COUNT(none); i++)
		assert_false(discovery_address(str_of(none[i]), 0, url));
	char name[DISCOVERY_URL_MAX + 1] = "https://";
	memset(name + 8, 'a', sizeof(name) - 9);
	assert_false(discovery_address((struct str){name, sizeof(name) - 1}, 0, url));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_found),
		cmocka_unit_test(other_issuer),
		cmocka_unit_test(malformed),
		cmocka_unit_test(limits),
		cmocka_unit_test(places),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
