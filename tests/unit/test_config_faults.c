/* Refusals, word for word; their number and their length; and texts made to take for ever. */
#include "service/config_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

enum { FILE_SIZE = CONFIG_FILE_MAX, REPEATED = 64 * 1024 };

static enum err load(struct str text, struct buf *errors)
{
	struct config *config = NULL;
	struct config_input input = {.text = &text};
	enum err err = config_load(&input, &config, errors);
	assert_int_equal(errors->err, ERR_OK);
	assert_true((err == ERR_OK) == (config != NULL));
	config_free(&config);
	return err;
}

static void files(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		const char *said;
	} cases[] = {
#define FAULT(text, said) {STR(text), said},
#include "config_faults.def"
#undef FAULT
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
		enum err err = load(cases[i].text, &errors);
		assert_string_equal(buf_str(&errors).p, cases[i].said);
		assert_int_equal(err, ERR_PARAMS);
		buf_free(&errors);
	}
}

struct outside {
	const char *environment[2], *options[3];
	enum err err;
	const char *said;
};

static const struct outside in_environment[] = {
	{{"SIGNALBOX_SEVER_WORKERS=1"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_SEVER_WORKERS: there is no such variable\n"
		"  did you mean `SIGNALBOX_SERVER_WORKERS`?\n"},
	{{"SIGNALBOX_LISTEN=x"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_LISTEN: there is no such variable\n"
		"  did you mean `SIGNALBOX_SERVER_LISTEN`?\n"},
	{{"SIGNALBOX_NOTHING_LIKE_IT=x"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_NOTHING_LIKE_IT: there is no such variable\n"},
	{{"SIGNALBOX_SERVER_LISTEN="}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_SERVER_LISTEN: the list has 0 items; it takes 1 to 16\n"},
	{{"SIGNALBOX_SERVER_LISTEN=127.0.0.1:1,localhost:2"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_SERVER_LISTEN: `localhost:2` is not an address: write it as in "
		"127.0.0.1:8080 "
		"or [::1]:8080\n"
		"  did you mean `127.0.0.1:2`?\n"},
	{{"SIGNALBOX_ICE_SERVERS=[{urls: [stun:a], secret: hidden, x: y}]"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_ICE_SERVERS:1:35: there is no key `x` in `ice_servers`\n"
		"      1 | [{urls: [stun:a], secret: ***\n"
		"        |                          ^\n"},
	{{"SIGNALBOX_ICE_SERVERS=stun:a"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_ICE_SERVERS:1:1: ice_servers: this is a list of records: each "
		"begins "
		"with `- ` and its first key\n"
		"      1 | stun:a\n"
		"        | ^~~~~~\n"},
	{{"SIGNALBOX_ICE_SERVERS=[{"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_ICE_SERVERS:2:1: this is not YAML: while parsing a flow node, "
		"did not "
		"find expected node content\n"
		"      2 | \n"
		"        | ^\n"},
	{{"SIGNALBOX_ISSUER_URL=https://a/"}, {NULL}, ERR_PARAMS,
		"SIGNALBOX_ISSUER_URL: the address ends without a slash\n"
		"  did you mean `https://a`?\n"},
	{.said = NULL},
};

static const struct outside in_options[] = {
	{{NULL}, {"--workers="}, ERR_REQUEST,
		"--workers: `` is not a whole number from 0 to 64 threads\n"},
	{{NULL}, {"--workers"}, ERR_REQUEST, "--workers: the value is missing\n"},
	{{NULL}, {"--config"}, ERR_REQUEST, "--config: the value is missing\n"},
	{{NULL}, {"--listen=0.0.0.0:80"}, ERR_REQUEST,
		"--listen: 0.0.0.0:80 can be reached from other machines, and there is no "
		"TLS: "
		"set tls.certificate and tls.key, or server.behind_proxy when a proxy in "
		"front "
		"does TLS\n"},
	{{NULL}, {"--server-listen=x"}, ERR_REQUEST,
		"--server-listen: there is no such option\n"
		"  did you mean `--server.listen`?\n"},
	{{NULL}, {"--lisen=x"}, ERR_REQUEST,
		"--lisen: there is no such option\n"
		"  did you mean `--listen`?\n"},
	{{NULL}, {"--sever.listen", "x"}, ERR_REQUEST,
		"--sever.listen: there is no such option\n"
		"  did you mean `--server.listen`?\n"},
	{{NULL}, {"--listen.server", "x"}, ERR_REQUEST,
		"--listen.server: there is no such option\n"},
	{{NULL}, {"--behind_proxy"}, ERR_REQUEST,
		"--behind_proxy: there is no such option\n"
		"  did you mean `--server.behind_proxy`?\n"},
	{{NULL}, {"-d"}, ERR_REQUEST, "-d: there is no such option\n"},
	{{NULL}, {"word"}, ERR_REQUEST, "word: this word is not expected here\n"},
	{{NULL}, {"--issuers=x"}, ERR_REQUEST,
		"--issuers:1:1: issuers: this is a list of records: each begins with `- ` "
		"and "
		"its first key\n"
		"      1 | x\n"
		"        | ^\n"},
	{{NULL}, {"--ice_servers", "[{urls: [stun:a], secret: [hidden]}]"}, ERR_REQUEST,
		"--ice_servers:1:27: ice_servers.secret: this takes one value, not a list "
		"or a "
		"mapping\n"
		"      1 | [{urls: [stun:a], secret: ***\n"
		"        |                          ^\n"},
	{{NULL}, {"--issuers.alias=x"}, ERR_REQUEST, "--issuers.alias: there is no such option\n"},
	{{NULL}, {"--data="}, ERR_REQUEST, "--data: the text is empty\n"},
	{{"SIGNALBOX_SERVER_WORKERS=x"}, {"--workers=y", "z"}, ERR_REQUEST,
		"SIGNALBOX_SERVER_WORKERS: `x` is not a whole number from 0 to 64 "
		"threads\n"
		"--workers: `y` is not a whole number from 0 to 64 threads\n"
		"z: this word is not expected here\n"},
	{.said = NULL},
};

static void refuse_all(const struct outside *c)
{
	for (; c->said; c++) {
		struct config *config = NULL;
		struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
		struct config_input input = {
			.environment = (char *const *)(uintptr_t)c->environment,
			.argv = (char *const *)(uintptr_t)c->options};
		while (input.argc < 3 && c->options[input.argc])
			input.argc++;
		enum err err = config_load(&input, &config, &errors);
		assert_string_equal(buf_str(&errors).p, c->said);
		assert_int_equal(err, c->err);
		assert_null(config);
		buf_free(&errors);
	}
}

static void environment(void **state)
{
	(void)state;
	refuse_all(in_environment);
}

static void options(void **state)
{
	(void)state;
	refuse_all(in_options);
}

static void twenty_are_told(void **state)
{
	(void)state;
	for (unsigned wrong = 19; wrong < 25; wrong++) {
		struct buf text = BUF_INIT(4096), errors = BUF_INIT(CONFIG_TEXT_MAX);
		char more[32] = "";
		for (unsigned i = 0; i < wrong; i++)
			buf_addf(&text, "x%u: 1\n", i);
		assert_int_equal(load(buf_str(&text), &errors), ERR_PARAMS);
		unsigned told = 0;
		for (const char *p = errors.p; (p = strstr(p, "no section")); p++)
			told++;
		assert_int_equal(told, wrong < 20 ? wrong : 20);
		if (wrong > 20)
			snprintf(more, sizeof more, "\nand %u more\n", wrong - 20);
		assert_string_equal(errors.p + errors.n - strlen(more), more);
		assert_true((strstr(errors.p, "more") != NULL) == (wrong > 20));
		buf_free(&text);
		buf_free(&errors);
	}
}

static void length(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(1 << 20), errors = BUF_INIT(CONFIG_TEXT_MAX);
	while (text.n < FILE_SIZE)
		buf_addf(&text, "# %61s\n", "");
	assert_int_equal(text.n, FILE_SIZE);
	assert_int_equal(load(buf_str(&text), &errors), ERR_OK);
	buf_addc(&text, '\n');
	assert_int_equal(load(buf_str(&text), &errors), ERR_PARAMS);
	assert_string_equal(
		errors.p, "configuration: this is longer than any configuration (256 KiB)\n");
	while (text.n < 1 << 20)
		buf_addc(&text, '\n');
	buf_free(&errors);
	assert_int_equal(load(buf_str(&text), &errors), ERR_PARAMS);
	buf_free(&errors);
	buf_free(&text);
}

/* Long texts in which a little is repeated: none may take long. */
/* The whole of 8 KiB in ICE servers is fine, and one byte more is said at the server that has it. */
static void ice_servers_are_told_often(void **state)
{
	(void)state;
	static const char address[] = "    - stun:%0*d\n";
	for (int more = 0; more < 2; more++) {
		struct buf text = BUF_INIT(64 * 1024), errors = BUF_INIT(CONFIG_TEXT_MAX);
		buf_addf(&text, "ice_servers:\n");
		for (int i = 0; i < 32; i++) {
			if (i % 16 == 0)
				buf_addf(&text, "  - urls:\n");
			buf_addf(&text, address, i == 31 ? 251 + more : 251, 0);
		}
		enum err err = load(buf_str(&text), &errors);
		assert_int_equal(err != ERR_OK, more);
		if (more) {
			assert_non_null(strstr(errors.p, "configuration:19:5: ice_servers.urls: "));
			assert_non_null(strstr(errors.p, "are more than 8192 bytes together"));
		}
		buf_free(&text);
		buf_free(&errors);
	}
}

static void no_text_takes_long(void **state)
{
	(void)state;
	static const char *const heads[] = {
		"", "server:\n  listen:\n", "log: {level: \"", "x: |\n", "issuers: [{audiences: ["};
	static const char *const parts[] = {"[", "{", "- ", "? ", "a: ", "a", ",", "a,", "\"", "'",
		"\\", "&a ", "*a ", "!a ", "#", " #", "\n", "\r", " ", "x: 1\n", "  - a\n",
		"- {}\n", "[],", "{},", ": ", "?\n", "---\n", "%A\n", "|\n", "\t", "\xe2\x82\xac",
		"a\n", " a\n", "[a: ", "{a: ", "\"a\": ", "127.0.0.1:1, ", "- {issuer: a}\n",
		"<<: *a\n"};
	for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
		for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
			struct buf text = BUF_INIT(REPEATED), errors = BUF_INIT(CONFIG_TEXT_MAX);
			struct timespec from, to;
			buf_addf(&text, "%s", heads[h]);
			while (text.n + strlen(parts[p]) <= REPEATED)
				buf_addf(&text, "%s", parts[p]);
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
			load(buf_str(&text), &errors);
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
			double took = (double)(to.tv_sec - from.tv_sec) +
				(double)(to.tv_nsec - from.tv_nsec) / 1e9;
			assert_true(errors.n < 64 * 1024);
			if (took > 0.5)
				fail_msg("`%s` and much `%s`: %.1f s", heads[h], parts[p], took);
			buf_free(&text);
			buf_free(&errors);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(environment),
		cmocka_unit_test(options),
		cmocka_unit_test(twenty_are_told),
		cmocka_unit_test(length),
		cmocka_unit_test(ice_servers_are_told_often),
		cmocka_unit_test(no_text_takes_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
