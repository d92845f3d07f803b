/* The configuration: what is read, from where, and that all it says of itself is true.
 * Refusals and their exact words are in test_config_faults.c. */
#include "core/log.h"
#include "core/mem.h"
#include "service/config_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { OPTIONS_MAX = 8 };

struct outside {
	const char *environment[OPTIONS_MAX]; /* NULL at its end */
	const char *options[OPTIONS_MAX];
};

static enum err load(struct str text, const struct outside *outside, struct config **ret_config,
	struct buf *errors)
{
	static const struct outside none;
	const struct outside *o = outside ? outside : &none;
	struct config_input input = {.text = &text,
		.environment = (char *const *)(uintptr_t)o->environment,
		.argv = (char *const *)(uintptr_t)o->options};
	while (input.argc < OPTIONS_MAX && o->options[input.argc])
		input.argc++;
	return config_load(&input, ret_config, errors);
}

/* The configuration, which must be right. */
static struct config *loaded(struct str text, const struct outside *outside)
{
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	if (load(text, outside, &config, &errors))
		fail_msg("%s", buf_str(&errors).p);
	assert_int_equal(errors.n, 0);
	return config;
}

static struct buf rendered(const struct config *config, bool with_origins)
{
	struct buf text = BUF_INIT(4 << 20);
	config_render(config, with_origins, &text);
	assert_int_equal(text.err, ERR_OK);
	return text;
}

/* Numbers are the same, not only as they are shown. */
static void assert_same_numbers(struct config *a, struct config *b)
{
	static const size_t sizes[CONFIG_TYPES] = {[CONFIG_BOOL] = sizeof(bool),
		[CONFIG_INT] = sizeof(unsigned),
		[CONFIG_DURATION] = sizeof(int64_t),
		[CONFIG_SIZE] = sizeof(size_t),
		[CONFIG_WORD] = sizeof(int)};
	for (const struct config_section *s = config_sections; s->name; s++)
		for (const struct config_key *key = config_first(s); key < config_end(s); key++)
			if (!s->record_size)
				assert_memory_equal(
					config_slot(a, key), config_slot(b, key), sizes[key->type]);
}

/* What is shown reads as the same configuration. */
static void assert_reads_back(struct config *config)
{
	struct buf text = rendered(config, false);
	struct config *again = loaded(buf_str(&text), NULL);
	struct buf second = rendered(again, false);
	assert_string_equal(text.p, second.p);
	assert_same_numbers(config, again);
	buf_free(&text);
	buf_free(&second);
	config_free(&again);
	assert_null(again);
}

static void defaults(void **state)
{
	(void)state;
	struct config *c = loaded(STR(""), NULL);
	assert_string_equal(c->data.directory, "./signalbox-data");
	assert_int_equal(c->server.listen.count, 2);
	assert_string_equal(c->server.listen.items[0], "127.0.0.1:8080");
	assert_string_equal(c->server.listen.items[1], "[::1]:8080");
	assert_string_equal(c->server.internal_listen, "");
	assert_int_equal(c->server.workers, 0);
	assert_int_equal(c->server.origins.count, 0);
	assert_false(c->server.behind_proxy);
	assert_true(c->server.demo);
	assert_int_equal(c->log.level, LOG_INFO);
	assert_int_equal(c->log.format, CONFIG_LOG_TEXT);
	assert_int_equal(c->issuer.sign_up, CONFIG_SIGN_UP_OPEN);
	assert_int_equal(c->issuer.access_token_lifetime, 15 * 60 * 1000);
	assert_reads_back(c);
	config_free(&c);
}

static void default_limits(void **state)
{
	(void)state;
	struct config *c = loaded(STR(""), NULL);
	assert_int_equal(c->auth.session_open_timeout, 5000);
	assert_int_equal(c->limits.message, 128 * 1024);
	assert_int_equal(c->limits.data, 64 * 1024);
	assert_int_equal(c->limits.kept_messages, 1024);
	assert_int_equal(c->limits.batch, 100);
	assert_int_equal(c->limits.outbound_queue, 1 << 20);
	assert_int_equal(c->limits.kept_bytes, 1 << 20);
	assert_int_equal(c->limits.rooms_per_session, 128);
	assert_int_equal(c->limits.members_per_room, 1000);
	assert_int_equal(c->limits.calls_per_worker, 65536);
	assert_int_equal(c->limits.requests_in_flight, 256);
	assert_int_equal(c->session.ping_interval, 25000);
	assert_int_equal(c->session.pong_timeout, 10000);
	assert_int_equal(c->rooms.history_messages, 100);
	assert_int_equal(c->rooms.history_age, 3600000);
	assert_int_equal(c->ice.credential_lifetime, 3600000);
	assert_true(c->rooms.ephemeral);
	assert_string_equal(c->rooms.ephemeral_names.items[0], "*");
	assert_int_equal(c->issuers.count, 0);
	assert_int_equal(c->ice_servers.count, 0);
	config_free(&c);
}

static const char everything[] =
	"data: {directory: /var/lib/signalbox}\n"
	"server:\n"
	"  listen:\n"
	"    - 0.0.0.0:443\n"
	"    - \"[::]:443\"\n"
	"  internal_listen: 10.0.0.1:9000\n"
	"  workers: 4\n"
	"  behind_proxy: true\n"
	"  origins: [https://app.example.com, \"http://localhost:3000\", capacitor://localhost]\n"
	"  demo: false\n"
	"tls: {certificate: '/etc/a b.pem', key: \"/etc/k\\u00e4.pem\"}\n"
	"log: {level: error, format: json}\n"
	"issuer:\n"
	"  url: https://calls.example.com/base\n"
	"  audience: calls\n"
	"  sign_up: closed\n"
	"  access_token_lifetime: 90s\n"
	"session: {ping_interval: 1500ms}\n"
	"limits: {message: 65536, data: 2048B, outbound_queue: 3MiB}\n"
	"rooms: {ephemeral: false, ephemeral_names: []}\n"
	"ice_servers:\n"
	"  - urls: [\"stun:a.example:3478\", \"turns:[2001:db8::1]:5349?transport=tcp\"]\n"
	"    secret: s3cr3t\n"
	"  - {urls: [turn:b.example], username: ann, credential: s3cr3t too}\n"
	"issuers:\n"
	"- issuer: https://id.example.com/\n"
	"  alias: id\n"
	"  audiences: [a, 'b, c']\n"
	"  algorithms: [EdDSA]\n"
	"  jwks_url: https://id.example.com/keys?v=1\n"
	"  allow_typ_jwt: true\n"
	"  default_scopes: []\n"
	"- {issuer: other, alias: o, audiences: [x], jwks_file: keys.json}\n"
	"- issuer: https://third.example.com\n"
	"  alias: third\n"
	"  audiences: [a]\n"
	"  jwks_url: https://third.example.com/keys\n"
	"  introspection_url: https://third.example.com/ask\n"
	"  client_id: us\n"
	"  client_secret: s3cr3t\n"
	"  name_claim: profile.nick\n"
	"  scope_claims: [scope, 'https://x\\.example/may']\n"
	"  role_claims: [realm_access.roles]\n"
	"  role_scopes: [\"mod erator=rooms:join rooms:moderate\", \"a=b=admin\"]\n"
	"  rooms_claim: groups\n";

static void every_type(void **state)
{
	(void)state;
	struct config *c = loaded(str_of(everything), NULL);
	assert_string_equal(c->server.listen.items[1], "[::]:443");
	assert_int_equal(c->server.workers, 4);
	assert_string_equal(c->server.origins.items[2], "capacitor://localhost");
	assert_string_equal(c->tls.certificate, "/etc/a b.pem");
	assert_string_equal(c->tls.key, "/etc/k\xc3\xa4.pem");
	assert_int_equal(c->log.level, LOG_ERROR);
	assert_int_equal(c->log.format, CONFIG_LOG_JSON);
	assert_int_equal(c->issuer.sign_up, CONFIG_SIGN_UP_CLOSED);
	assert_int_equal(c->issuer.access_token_lifetime, 90000);
	assert_int_equal(c->session.ping_interval, 1500);
	assert_int_equal(c->limits.message, 65536);
	assert_int_equal(c->limits.data, 2048);
	assert_int_equal(c->limits.outbound_queue, 3 << 20);
	assert_int_equal(c->rooms.ephemeral_names.count, 0);
	assert_int_equal(c->ice_servers.count, 2);
	assert_string_equal(c->ice_servers.items[0].secret, "s3cr3t");
	assert_string_equal(c->ice_servers.items[0].username, "");
	assert_string_equal(c->ice_servers.items[1].credential, "s3cr3t too");
	assert_int_equal(c->issuers.count, 3);
	assert_string_equal(c->issuers.items[2].scope_claims.items[1], "https://x\\.example/may");
	assert_string_equal(c->issuers.items[2].role_scopes.items[1], "a=b=admin");
	assert_string_equal(c->issuers.items[0].audiences.items[1], "b, c");
	assert_int_equal(c->issuers.items[0].algorithms.count, 1);
	assert_true(c->issuers.items[0].allow_typ_jwt);
	assert_int_equal(c->issuers.items[0].default_scopes.count, 0);
	assert_int_equal(c->issuers.items[1].algorithms.count, 2);
	assert_int_equal(c->issuers.items[1].default_scopes.count, 5);
	assert_string_equal(c->issuers.items[1].jwks_file, "keys.json");
	assert_reads_back(c);
	config_free(&c);
}

/* Texts that are as good as none, or whose form does not matter. */
static void forms(void **state)
{
	(void)state;
	static const char *const same[] = {"", "\n", "# nothing\n", "---\n", "---\n...\n", "{}",
		"%YAML 1.1\n---\n{}", "server:\n", "server: ~\nlog:\n  # level: debug\n",
		"\xef\xbb\xbf", "\xef\xbb\xbf# BOM\r\nserver:\r\n  workers: 0\r\n",
		"server:\r  workers: 0\r", "\"server\": {? workers : \"0\"}"};
	struct config *plain = loaded(STR(""), NULL);
	struct buf want = rendered(plain, false);
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		struct config *c = loaded(str_of(same[i]), NULL);
		struct buf got = rendered(c, false);
		assert_string_equal(got.p, want.p);
		buf_free(&got);
		config_free(&c);
	}
	buf_free(&want);
	config_free(&plain);
}

static void precedence(void **state)
{
	(void)state;
	static const char file[] = "server: {workers: 1}\nlog: {level: warn}\n";
	static const struct {
		const char *file;
		struct outside outside;
		unsigned workers;
		const char *shown;
	} cases[] = {
		{"", {{NULL}, {NULL}}, 0, "  workers: 0  # default\n"},
		{file, {{NULL}, {NULL}}, 1, "  workers: 1  # configuration:1\n"},
		{file, {{"SIGNALBOX_SERVER_WORKERS=2"}, {NULL}}, 2,
			"  workers: 2  # SIGNALBOX_SERVER_WORKERS\n"},
		{file, {{"SIGNALBOX_SERVER_WORKERS=2"}, {"--server.workers=3"}}, 3,
			"  workers: 3  # --server.workers\n"},
		{file, {{NULL}, {"--server.workers", "4"}}, 4,
			"  workers: 4  # --server.workers\n"},
		{"", {{"SIGNALBOX_SERVER_WORKERS=2"}, {"--workers", "5"}}, 5,
			"  workers: 5  # --workers\n"},
		{"", {{NULL}, {"--workers=5", "--workers=6"}}, 6, "  workers: 6  # --workers\n"},
		{file,
			{{"SIGNALBOX_SERVER_WORKERS=2", "PATH=x", "SIGNALBOX", "SIGNALBOXES=1"},
				{NULL}},
			2, "  level: warn  # configuration:2\n"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *c = loaded(str_of(cases[i].file), &cases[i].outside);
		struct buf text = rendered(c, true);
		assert_int_equal(c->server.workers, cases[i].workers);
		if (!strstr(text.p, cases[i].shown))
			fail_msg("no `%s` in\n%s", cases[i].shown, text.p);
		buf_free(&text);
		config_free(&c);
	}
}

static void lists_outside(void **state)
{
	(void)state;
	struct outside o = {{"SIGNALBOX_SERVER_LISTEN=127.0.0.1:1, [::1]:2",
				    "SIGNALBOX_ROOMS_EPHEMERAL_NAMES="},
		{NULL}};
	struct config *c = loaded(STR("server: {listen: [127.0.0.1:9]}"), &o);
	assert_int_equal(c->server.listen.count, 2);
	assert_string_equal(c->server.listen.items[1], "[::1]:2");
	assert_int_equal(c->rooms.ephemeral_names.count, 0);
	config_free(&c);
	/* options add to each other, and together replace what was there */
	o.options[0] = "--listen=127.0.0.1:3";
	o.options[1] = "--listen";
	o.options[2] = "127.0.0.1:4,[::1]:5";
	c = loaded(STR("server: {listen: [127.0.0.1:9]}"), &o);
	assert_int_equal(c->server.listen.count, 3);
	assert_string_equal(c->server.listen.items[0], "127.0.0.1:3");
	assert_string_equal(c->server.listen.items[2], "[::1]:5");
	config_free(&c);
}

static void records_outside(void **state)
{
	(void)state;
	struct outside o = {{"SIGNALBOX_ICE_SERVERS=[{urls: [stun:env.example]}]"}, {NULL}};
	static const char file[] = "ice_servers: [{urls: [stun:a]}, {urls: [stun:b]}]";
	struct config *c = loaded(str_of(file), &o);
	struct buf text = rendered(c, true);
	assert_int_equal(c->ice_servers.count, 1);
	assert_string_equal(c->ice_servers.items[0].urls.items[0], "stun:env.example");
	assert_non_null(strstr(text.p,
		"ice_servers:  # SIGNALBOX_ICE_SERVERS\n"
		"  - urls: [\"stun:env.example\"]  # SIGNALBOX_ICE_SERVERS\n"
		"    secret: \"\"  # default\n"));
	buf_free(&text);
	config_free(&c);
	o.options[0] = "--ice_servers=[]";
	c = loaded(str_of(file), &o);
	assert_int_equal(c->ice_servers.count, 0);
	config_free(&c);
}

/* Kubernetes sets such variables for a service that is called signalbox. */
static void foreign_variables(void **state)
{
	(void)state;
	struct outside o = {{"SIGNALBOX_SERVICE_HOST=10.0.0.1", "SIGNALBOX_PORT=tcp://10.0.0.1:80",
				    "SIGNALBOX_PORT_80_TCP_ADDR=10.0.0.1", "SIGNALBOX_CONFIG="},
		{NULL}};
	struct config *c = loaded(STR(""), &o);
	config_free(&c);
}

static void option_words(void **state)
{
	(void)state;
	static const struct {
		const char *words[2];
		int count;
	} cases[] = {
		{{"--config", "x"}, 2},
		{{"--config=x", "y"}, 1},
		{{"--config", NULL}, 1},
		{{"--data", "x"}, 2},
		{{"--server.listen", "x"}, 2},
		{{"--sever.x=1", "y"}, 1},
		{{"--issuers", "[]"}, 2},
		{{"--issuer", "x"}, 0},
		{{"--name", "a.b"}, 0},
		{{"--name=a.b", "x"}, 0},
		{{"server.listen", "x"}, 0},
		{{"-c", "x"}, 0},
		{{"--", "x"}, 0},
		{{"", "x"}, 0},
		{{"a.b", "x"}, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *const *argv = (char *const *)(uintptr_t)cases[i].words;
		int got = config_option_words(cases[i].words[1] ? 2 : 1, argv);
		if (got != cases[i].count)
			fail_msg("%s: %d", cases[i].words[0], got);
	}
	assert_int_equal(config_option_words(0, NULL), 0);
}

/* The reference is a configuration, and it is the default one. It knows every key, its meaning
 * included, so no other page has to. */
static void reference(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(1 << 20);
	config_render_reference(&text);
	assert_int_equal(text.err, ERR_OK);
	struct config *c = loaded(buf_str(&text), NULL);
	struct config *plain = loaded(STR(""), NULL);
	struct buf got = rendered(c, false), want = rendered(plain, false);
	assert_string_equal(got.p, want.p);
	for (const struct config_section *s = config_sections; s->name; s++) {
		for (const struct config_key *key = config_first(s); key < config_end(s); key++) {
			const struct config_origin *at = c->origins->keys + (key - config_keys);
			if (!s->record_size && !at->source)
				fail_msg("%s is not in the reference", key->path);
			char start[24];
			snprintf(start, sizeof start, "# %.20s", key->meaning);
			if (!strstr(text.p, start))
				fail_msg("the meaning of %s is not in the reference", key->path);
		}
	}
	buf_free(&text);
	buf_free(&got);
	buf_free(&want);
	config_free(&c);
	config_free(&plain);
}

/* The examples of records in it are right, once the `#` is taken away. */
static void reference_examples(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(1 << 20), bare = BUF_INIT(1 << 20);
	config_render_reference(&text);
	bool example = false;
	for (char *line = text.p, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		struct str rest = {line, (size_t)(end - line)};
		if (rest.n > 4 && !memcmp(end - 4, ": []", 4) && line[0] != ' ')
			continue; /* the empty list in front of its example */
		if (rest.n == 1)
			example = true;
		else if (rest.n == 0)
			example = false;
		else if (example)
			rest = (struct str){line + 2, rest.n - 2};
		buf_adds(&bare, rest);
		buf_addc(&bare, '\n');
	}
	struct config *c = loaded(buf_str(&bare), NULL);
	assert_int_equal(c->ice_servers.count, 1);
	assert_int_equal(c->issuers.count, 1);
	assert_string_equal(c->issuers.items[0].issuer, "https://login.example.com");
	assert_string_equal(c->issuers.items[0].jwks_url, "");
	buf_free(&text);
	buf_free(&bare);
	config_free(&c);
}

/* No two keys share a variable, and every name can be looked for by its nearest. */
static void table(void **state)
{
	(void)state;
	char one[CONFIG_VARIABLE_MAX], other[CONFIG_VARIABLE_MAX];
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = config_keys + i;
		size_t n = strlen(key->meaning);
		assert_true(strlen(key->option) <= NEAREST_MAX);
		assert_true(n > 10 && key->meaning[n - 1] == '.');
		assert_true(key->min <= key->max);
		config_variable(key->path, one);
		for (size_t j = 0; j < i; j++) {
			config_variable(config_keys[j].path, other);
			assert_string_not_equal(one, other);
		}
	}
}

static void no_secret_is_shown(void **state)
{
	(void)state;
	struct config *c = loaded(str_of(everything), NULL);
	struct buf text = rendered(c, true);
	assert_null(strstr(text.p, "s3cr3t"));
	assert_non_null(strstr(text.p, "    secret: \"***\"  # configuration:23\n"));
	buf_free(&text);
	config_free(&c);
}

static char *scratch(const char *name, const char *text)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/signalbox-test-%d-%s", getenv("TMPDIR") ?: "/tmp",
		(int)getpid(), name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

struct run {
	int code;
	char *out, *errors;
};

static struct run run(const char *const words[], const char *variable)
{
	struct run r = {0};
	size_t n, m;
	int argc = 0;
	const char *environment[] = {variable, NULL};
	FILE *out = open_memstream(&r.out, &n), *errors = open_memstream(&r.errors, &m);
	while (words[argc])
		argc++;
	r.code = config_command(argc, (char *const *)(uintptr_t)words,
		(char *const *)(uintptr_t)environment, out, errors);
	fclose(out);
	fclose(errors);
	return r;
}

static void commands(void **state)
{
	(void)state;
	char *good = strdup(scratch("good", "server:\n  workers: 7\n"));
	char *bad = strdup(scratch("bad", "tls: {certificate: /nowhere/a, key: /nowhere/b}\n"));
	char variable[160];
	snprintf(variable, sizeof variable, "SIGNALBOX_CONFIG=%s", good);
	struct {
		const char *words[5];
		const char *variable;
		int code;
		const char *out, *errors; /* what is in them */
	} cases[] = {
		{{"check", NULL}, NULL, 0, "configuration without a file: nothing wrong\n", ""},
		{{"check", "--config", good}, NULL, 0, ": nothing wrong\n", ""},
		{{"check"}, variable, 0, ": nothing wrong\n", ""},
		{{"check", "--config", bad}, NULL, 1, "",
			":1:20: tls.certificate: `/nowhere/a` cannot be read: No such file or "},
		{{"show", "--config", bad}, NULL, 0, "  certificate: \"/nowhere/a\"  # ", ""},
		{{"show", "--config", good}, NULL, 0, "  workers: 7  # ", ""},
		{{"show"}, variable, 0, "  workers: 7  # ", ""},
		{{"show", "--config=/nowhere/c"}, variable, 1, "",
			"/nowhere/c: cannot be read: No such file or directory\n"},
		{{"show", "--config", "/"}, NULL, 1, "", "/: cannot be read: Is a directory\n"},
		{{"show", "--workers"}, NULL, 2, "", "--workers: the value is missing\n"},
		{{"show", "--config"}, NULL, 2, "", "--config: the value is missing\n"},
		{{"show", "--verbose"}, NULL, 2, "", "--verbose: there is no such option\n"},
		{{"show", "all"}, NULL, 2, "", "all: this word is not expected here\n"},
		{{"reference"}, NULL, 0, "  listen: [\"127.0.0.1:8080\", \"[::1]:8080\"]\n", ""},
		{{"show", "--help"}, NULL, 0, "Usage: signalbox config ", ""},
		{{"chekc"}, NULL, 2, "", "there is no command `chekc`\n  did you mean `check`?\n"},
		{{NULL}, NULL, 2, "", "Usage: signalbox config "},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct run r = run(cases[i].words, cases[i].variable);
		if (r.code != cases[i].code || !strstr(r.out, cases[i].out) ||
			!strstr(r.errors, cases[i].errors) || (*cases[i].errors && *r.out) ||
			(!*cases[i].errors && *r.errors))
			fail_msg("case %zu: %d\n%s\n%s", i, r.code, r.out, r.errors);
		free(r.out);
		free(r.errors);
	}
	unlink(good);
	unlink(bad);
	free(good);
	free(bad);
}

/* A change at random: a byte, a piece taken out, or doubled, or put elsewhere. */
static void mutate(char *text, size_t *n, size_t room, unsigned *seed)
{
	static const char odd[] = "\"'[]{}:,-#&*!|>%@`?\n\t \r\\0~\x80\xff\xe2";
	size_t at = (size_t)rand_r(seed) % *n, span = (size_t)rand_r(seed) % 24 + 1;
	char piece[32];
	if (at + span > *n)
		span = *n - at;
	int what = rand_r(seed) % 4;
	if (what == 0) {
		text[at] = odd[(size_t)rand_r(seed) % sizeof odd];
	} else if (what == 1 && *n > span) {
		memmove(text + at, text + at + span, *n - at - span);
		*n -= span;
	} else if (what == 2 && *n + span <= room) {
		memcpy(piece, text + at, span);
		size_t to = (size_t)rand_r(seed) % *n;
		memmove(text + to + span, text + to, *n - to);
		memcpy(text + to, piece, span);
		*n += span;
	} else {
		text[at] = (char)rand_r(seed);
	}
}

/* Whatever is done to a good file: it is refused with words, or it is one that reads back. */
static void mutations(void **state)
{
	(void)state;
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	unsigned accepted = 0, rounds = 3000;
	static char text[2 * sizeof everything];
	printf("seed %u\n", seed);
	for (unsigned i = 0; i < rounds; i++) {
		size_t n = sizeof everything - 1;
		memcpy(text, everything, n);
		for (int changes = rand_r(&seed) % 3 + 1; changes; changes--)
			mutate(text, &n, sizeof text, &seed);
		struct config *c = NULL;
		struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
		enum err err = load((struct str){text, n}, NULL, &c, &errors);
		assert_int_equal(errors.err, ERR_OK);
		assert_true((err == ERR_OK) == (c != NULL));
		assert_true((err == ERR_OK) == (errors.n == 0));
		assert_true(str_utf8_valid(buf_str(&errors)));
		if (c)
			assert_reads_back(c);
		accepted += c != NULL;
		config_free(&c);
		buf_free(&errors);
	}
	printf("%u of %u accepted\n", accepted, rounds);
	assert_true(accepted > rounds / 100 && accepted < rounds / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(default_limits),
		cmocka_unit_test(every_type),
		cmocka_unit_test(forms),
		cmocka_unit_test(precedence),
		cmocka_unit_test(lists_outside),
		cmocka_unit_test(records_outside),
		cmocka_unit_test(foreign_variables),
		cmocka_unit_test(option_words),
		cmocka_unit_test(reference),
		cmocka_unit_test(reference_examples),
		cmocka_unit_test(table),
		cmocka_unit_test(no_secret_is_shown),
		cmocka_unit_test(commands),
		cmocka_unit_test(mutations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
