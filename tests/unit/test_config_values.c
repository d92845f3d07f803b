/* Values that are refused, word for word: whether they come from file, environment or command line,
 * the same is said. */
#include "core/json_out.h"
#include "service/config_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *path, *value, *why, *instead;
} refused[] = {
	{"server.workers", "-1", "`-1` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "65", "`65` is out of range: it goes from 0 to 64 threads", ""},
	{"server.workers", "1.5", "`1.5` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "007", "`007` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "", "`` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "99999999999999999999",
		"`99999999999999999999` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "4 threads", "`4 threads` is not a whole number from 0 to 64 threads",
		""},
	{"server.workers", "0x10", "`0x10` is not a whole number from 0 to 64 threads", ""},
	{"server.workers", "4,5", "`4,5` is not a whole number from 0 to 64 threads", ""},
	{"server.demo", "yes", "`yes` is neither true nor false", "true"},
	{"server.demo", "Off", "`Off` is neither true nor false", "false"},
	{"server.demo", "TRUE", "`TRUE` is neither true nor false", "true"},
	{"server.demo", "1", "`1` is neither true nor false", "true"},
	{"server.demo", "tru", "`tru` is neither true nor false", "true"},
	{"server.demo", "", "`` is neither true nor false", ""},
	{"server.demo", "maybe", "`maybe` is neither true nor false", ""},
	{"session.ping_interval", "30",
		"`30` is not a duration: write a number and ms, s, m, h or d, as in 30s", "30s"},
	{"session.ping_interval", "30 s",
		"`30 s` is not a duration: write a number and ms, s, m, h or d, as in 30s", "30s"},
	{"session.ping_interval", "30S",
		"`30S` is not a duration: write a number and ms, s, m, h or d, as in 30s", "30s"},
	{"session.ping_interval", "5min",
		"`5min` is not a duration: write a number and ms, s, m, h or d, as in 30s", "5m"},
	{"session.ping_interval", "1.5h",
		"`1.5h` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "30sec",
		"`30sec` is not a duration: write a number and ms, s, m, h or d, as in 30s", "30s"},
	{"session.ping_interval", "s",
		"`s` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "",
		"`` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "-1s",
		"`-1s` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "1h30m",
		"`1h30m` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "0.5s",
		"`0.5s` is not a duration: write a number and ms, s, m, h or d, as in 30s", ""},
	{"session.ping_interval", "300000d", "`300000d` is out of range: it goes from 1s to 10m",
		""},
	{"session.ping_interval", "999ms", "`999ms` is out of range: it goes from 1s to 10m", ""},
	{"session.ping_interval", "11m", "`11m` is out of range: it goes from 1s to 10m", ""},
	{"session.ping_interval", "30 parsecs",
		"`30 parsecs` is not a duration: write a number and ms, s, m, h or d, as in 30s",
		""},
	{"session.pong_timeout", "0",
		"`0` is not a duration: write a number and ms, s, m, h or d, as in 30s", "0s"},
	{"session.pong_timeout", "6m", "`6m` is out of range: it goes from 1s to 5m", ""},
	{"limits.message", "128KB",
		"`128KB` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB",
		"128KiB"},
	{"limits.message", "128kb",
		"`128kb` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB",
		"128KiB"},
	{"limits.message", "128 KiB",
		"`128 KiB` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB",
		"128KiB"},
	{"limits.message", "64k",
		"`64k` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB",
		"64KiB"},
	{"limits.message", "1mb",
		"`1mb` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB", "1MiB"},
	{"limits.message", "4TiB",
		"`4TiB` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB", ""},
	{"limits.message", "KiB",
		"`KiB` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB", ""},
	{"limits.message", "1", "`1` is out of range: it goes from 4KiB to 128KiB", ""},
	{"limits.message", "129KiB", "`129KiB` is out of range: it goes from 4KiB to 128KiB", ""},
	{"limits.message", "131073", "`131073` is out of range: it goes from 4KiB to 128KiB", ""},
	{"limits.message", "16GiB", "`16GiB` is out of range: it goes from 4KiB to 128KiB", ""},
	{"limits.message", "-5B",
		"`-5B` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB", ""},
	{"limits.message", "1e3",
		"`1e3` is not a size: write a number and B, KiB, MiB or GiB, as in 128KiB", ""},
	{"limits.message", "9223372036854775807GiB",
		"`9223372036854775807GiB` is out of range: it goes from 4KiB to 128KiB", ""},
	{"log.level", "warning", "`warning` is none of debug, info, warn, error", "warn"},
	{"log.level", "INFO", "`INFO` is none of debug, info, warn, error", "info"},
	{"log.level", "", "`` is none of debug, info, warn, error", ""},
	{"log.level", "loud", "`loud` is none of debug, info, warn, error", ""},
	{"log.level", "err", "`err` is none of debug, info, warn, error", "error"},
	{"log.format", "text|json", "`text|json` is none of text, json", "text"},
	{"issuer.sign_up", "close", "`close` is none of open, invitation, closed", "closed"},
	{"server.listen", "localhost:8080",
		"`localhost:8080` is not an address: write it as in 127.0.0.1:8080 or [::1]:808"
		"0",
		"127.0.0.1:8080"},
	{"server.listen", "8080",
		"`8080` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		"127.0.0.1:8080"},
	{"server.listen", ":8080",
		"`:8080` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		"127.0.0.1:8080"},
	{"server.listen", "*:8080",
		"`*:8080` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		"0.0.0.0:8080"},
	{"server.listen", "127.0.0.1",
		"`127.0.0.1` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "127.0.0.1:",
		"`127.0.0.1:` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "127.0.0.1:65536",
		"`127.0.0.1:65536` is not an address: write it as in 127.0.0.1:8080 or [::1]:80"
		"80",
		""},
	{"server.listen", "127.0.0.1:080",
		"`127.0.0.1:080` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		""},
	{"server.listen", "256.0.0.1:1",
		"`256.0.0.1:1` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "::1:8080",
		"`::1:8080` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "[::1]",
		"`[::1]` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "[::g]:1",
		"`[::g]:1` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.listen", "[127.0.0.1]:1",
		"`[127.0.0.1]:1` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		""},
	{"server.listen", "example.com:80",
		"`example.com:80` is not an address: write it as in 127.0.0.1:8080 or [::1]:808"
		"0",
		""},
	{"server.listen", "127.0.0.1 :80",
		"`127.0.0.1 :80` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		""},
	{"server.internal_listen", "localhost:1",
		"`localhost:1` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080",
		"127.0.0.1:1"},
	{"server.internal_listen", "here",
		"`here` is not an address: write it as in 127.0.0.1:8080 or [::1]:8080", ""},
	{"server.origins", "https://app.example.com/",
		"`https://app.example.com/` is not an origin as browsers send it: scheme and host "
		"in small letters, and the port unless it is the usual one, as in https://app.e"
		"xample.com",
		"https://app.example.com"},
	{"server.origins", "https://app.example.com:443",
		"`https://app.example.com:443` is not an origin as browsers send it: scheme and "
		"host in small letters, and the port unless it is the usual one, as in https://"
		"app.example.com",
		"https://app.example.com"},
	{"server.origins", "HTTPS://app.example.com",
		"`HTTPS://app.example.com` is not an origin as browsers send it: scheme and host "
		"in small letters, and the port unless it is the usual one, as in https://app.e"
		"xample.com",
		""},
	{"server.origins", "*",
		"`*` is not an origin as browsers send it: scheme and host in small letters, and "
		"the port unless it is the usual one, as in https://app.example.com",
		""},
	{"server.origins", "app.example.com",
		"`app.example.com` is not an origin as browsers send it: scheme and host in small "
		"letters, and the port unless it is the usual one, as in https://app.example.co"
		"m",
		""},
	{"server.origins", "https://",
		"`https://` is not an origin as browsers send it: scheme and host in small "
		"letters, "
		"and the port unless it is the usual one, as in https://app.example.com",
		""},
	{"server.origins", "https://a/b",
		"`https://a/b` is not an origin as browsers send it: scheme and host in small "
		"letters, and the port unless it is the usual one, as in https://app.example.co"
		"m",
		""},
	{"server.origins", "https://a b",
		"`https://a b` is not an origin as browsers send it: scheme and host in small "
		"letters, and the port unless it is the usual one, as in https://app.example.co"
		"m",
		""},
	{"server.origins", "https://u@a",
		"`https://u@a` is not an origin as browsers send it: scheme and host in small "
		"letters, and the port unless it is the usual one, as in https://app.example.co"
		"m",
		""},
	{"server.origins", "http://a:80/",
		"`http://a:80/` is not an origin as browsers send it: scheme and host in small "
		"letters, and the port unless it is the usual one, as in https://app.example.co"
		"m",
		"http://a"},
	{"issuer.url", "calls.example.com",
		"`calls.example.com` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"issuer.url", "ftp://a",
		"`ftp://a` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"issuer.url", "https://a/?b",
		"`https://a/?b` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"issuer.url", "https://a/b/", "the address ends without a slash", "https://a/b"},
	{"issuer.url", "https:///x",
		"`https:///x` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"issuer.url", "https://a:b",
		"`https://a:b` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"issuer.url", "https://a b",
		"`https://a b` is not the address of an issuer: write it as in "
		"https://calls.example.com, "
		"perhaps with a path",
		""},
	{"data.directory", "", "the text is empty", ""},
	{"data.directory",
		"a\n"
		"b",
		"the text holds a control character", ""},
	{"data.directory", "a\033b", "the text holds a control character", ""},
};

static void assert_refused(
	const struct config_input *input, enum err want, struct buf *expected, const char *instead)
{
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	if (*instead)
		buf_addf(expected, "  did you mean `%s`?\n", instead);
	enum err err = config_load(input, &config, &errors);
	assert_string_equal(buf_str(&errors).p, buf_str(expected).p);
	assert_int_equal(err, want);
	assert_null(config);
	buf_free(&errors);
	buf_free(expected);
}

static void from_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		char option[64], *argv[2] = {option, (char *)(uintptr_t)refused[i].value};
		struct buf expected = BUF_INIT(4096);
		snprintf(option, sizeof option, "--%s", refused[i].path);
		struct config_input input = {.argc = 2, .argv = argv};
		buf_addf(&expected, "%s: %s\n", option, refused[i].why);
		assert_refused(&input, ERR_REQUEST, &expected, refused[i].instead);
	}
}

static void from_environment(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		char name[CONFIG_VARIABLE_MAX], variable[512], *environment[2] = {variable, NULL};
		struct buf expected = BUF_INIT(4096);
		config_variable(refused[i].path, name);
		snprintf(variable, sizeof variable, "%s=%s", name, refused[i].value);
		struct config_input input = {.environment = environment};
		buf_addf(&expected, "%s: %s\n", name, refused[i].why);
		assert_refused(&input, ERR_PARAMS, &expected, refused[i].instead);
	}
}

/* In a file the value stands in quotes, alone or as the one item of a list; a line above, so that
 * the place is told, too. */
static void from_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct buf expected = BUF_INIT(4096), text = BUF_INIT(4096);
		const char *dot = strchr(refused[i].path, '.');
		struct str section = {refused[i].path, (size_t)(dot - refused[i].path)};
		const struct config_key *key =
			config_key_named(config_section_named(section), str_of(dot + 1));
		const char *open = config_is_list(key) ? "[" : "";
		if (config_is_list(key) && strchr(refused[i].value, ','))
			continue;
		buf_addf(&text, STR_FMT ":\n  %s: %s", STR_ARG(section), dot + 1, open);
		size_t column = text.n - section.n - 2;
		json_add_string(&text, str_of(refused[i].value));
		size_t width = text.n - section.n - 2 - column;
		buf_addf(&text, "%s\n", *open ? "]" : "");
		buf_addf(&expected, "configuration:2:%zu: %s: %s\n", column + 1, refused[i].path,
			refused[i].why);
		struct str line = {text.p + section.n + 2, text.n - section.n - 3};
		buf_addf(&expected, "      2 | " STR_FMT "\n        | %*s^", STR_ARG(line),
			(int)column, "");
		for (size_t n = 1; n < width; n++)
			buf_addc(&expected, '~');
		buf_addc(&expected, '\n');
		struct str all = buf_str(&text);
		struct config_input input = {.text = &all};
		assert_refused(&input, ERR_PARAMS, &expected, refused[i].instead);
		buf_free(&text);
	}
}

/* What stands at the very ends of each range is taken, one more or less is not. */
static void ends_of_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = config_keys + i;
		const char *unit = key->type == CONFIG_DURATION ? "ms" : "";
		if (key->type != CONFIG_INT && key->type != CONFIG_SIZE && !*unit)
			continue;
		const int64_t tried[] = {key->min - 1, key->min, key->max, key->max + 1};
		for (size_t j = 0; j < 4; j++) {
			int64_t slot = 0;
			char text[32];
			struct config_why why = {0};
			snprintf(text, sizeof text, "%lld%s", (long long)tried[j], unit);
			bool taken = config_parse(key, str_of(text), &slot, &why);
			if (taken != (j == 1 || j == 2))
				fail_msg("%s: %s", key->path, text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_options),
		cmocka_unit_test(from_environment),
		cmocka_unit_test(from_files),
		cmocka_unit_test(ends_of_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
