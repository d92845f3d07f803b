#include "service/cli.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/nearest.h"
#include "service/config.h"
#include "service/control.h"
#include "service/serve.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { OPTIONS_MAX = 12, INPUT_MAX = 64 * 1024 };

enum kind {
	AS_TEXT,
	AS_YES,      /* no value */
	AS_NO,       /* the same, says false */
	AS_LIST,     /* may be there several times: an array */
	AS_DURATION, /* "1h": seconds */
	AS_SINCE,    /* "1h" ago or "2026-01-31", UTC: the time, as Unix seconds */
	AS_NUMBER,
	AS_JSON,
	AS_JSON_FILE, /* the same out of a file */
	AS_INPUT,     /* no value: the text on standard input */
	AS_PATH,      /* a file: its path from the root, as the service may run elsewhere */
};

struct option {
	const char *flag; /* NULL ends the list */
	const char *param;
	enum kind kind;
	const char *help;
};

struct command {
	const char *words, *method;
	const char *argument;      /* the param that stands without a flag; NULL: none */
	const char *argument_word; /* in the usage */
	struct option options[OPTIONS_MAX];
	const char *list; /* the array in the result that is printed as a table; NULL: none */
	const char *only; /* of the result print this member only */
	const char *summary;
};

static const struct command commands[] = {
	{"user add", "user.add", "name", "NAME",
		{{"--password-stdin", "password", AS_INPUT,
			 "read the password from standard input"},
			{"--display-name", "display_name", AS_TEXT, "how others see the name"}},
		NULL, NULL, "add an account; without a password one is made and printed"},
	{"user list", "user.list", NULL, NULL, {{0}}, "users", NULL, "list the accounts"},
	{"user show", "user.get", "name", "NAME", {{0}}, NULL, NULL, "show an account"},
	{"user disable", "user.disable", "name", "NAME", {{0}}, NULL, NULL,
		"disable a user of any issuer: nothing of theirs is accepted, and their sessions "
		"end"},
	{"user enable", "user.enable", "name", "NAME", {{0}}, NULL, NULL,
		"let a disabled user sign in again"},
	{"user passwd", "user.passwd", "name", "NAME",
		{{"--password-stdin", "password", AS_INPUT,
			"read the password from standard input"}},
		NULL, NULL, "set another password"},
	{"user factor-off", "user.factor_off", "name", "NAME", {{0}}, NULL, NULL,
		"take the second factor off, for who has lost it and the recovery codes"},
	{"invitation add", "invitation.add", NULL, NULL,
		{{"--note", "note", AS_TEXT, "for whom it is"},
			{"--uses", "uses", AS_NUMBER, "how many may sign up with it (1)"},
			{"--expires", "expires", AS_DURATION, "how long it is good for (7d)"}},
		NULL, NULL, "invite somebody to sign up; prints a link and its code, once"},
	{"invitation list", "invitation.list", NULL, NULL, {{0}}, "invitations", NULL,
		"list the invitations"},
	{"invitation remove", "invitation.remove", "invitation", "ID", {{0}}, NULL, NULL,
		"take an invitation back"},
	{"client add", "client.add", "name", "NAME",
		{{"--grant", "grants", AS_LIST,
			 "authorization_code, refresh_token, client_credentials or device_code"},
			{"--redirect", "redirect_uris", AS_LIST, "where a sign-in may return to"},
			{"--scope", "scope", AS_TEXT,
				"\"A B\": the most that its tokens may allow"},
			{"--post-logout", "post_logout_redirect_uris", AS_LIST,
				"where a sign-out may return to"},
			{"--public", "public", AS_YES, "a page or an app: it can keep no secret"},
			{"--trusted", "trusted", AS_YES,
				"your own: nobody is asked whether it may"},
			{"--jwks", "jwks", AS_JSON_FILE,
				"its public keys (a JWK Set): it signs instead of having a secret"},
			{"--id-token-alg", "id_token_alg", AS_TEXT, "ES256 or RS256"}},
		NULL, NULL, "add an OAuth2 client; prints client_id and client_secret"},
	{"client list", "client.list", NULL, NULL, {{0}}, "clients", NULL, "list the clients"},
	{"client show", "client.get", "client_id", "ID", {{0}}, NULL, NULL, "show a client"},
	{"client update", "client.update", "client_id", "ID",
		{{"--name", "name", AS_TEXT, "what people see"},
			{"--redirect", "redirect_uris", AS_LIST,
				"where a sign-in may return to: all of them"},
			{"--post-logout", "post_logout_redirect_uris", AS_LIST,
				"where a sign-out may return to: all of them"},
			{"--scope", "scope", AS_TEXT,
				"\"A B\": the most that its tokens may allow"},
			{"--trusted", "trusted", AS_YES, "nobody is asked whether it may"},
			{"--not-trusted", "trusted", AS_NO, "everybody is"}},
		NULL, NULL, "change a client: what is not given stays as it is"},
	{"client secret", "client.secret", "client_id", "ID", {{0}}, NULL, NULL,
		"give a client another secret, and print it; the one before ends"},
	{"client remove", "client.remove", "client_id", "ID", {{0}}, NULL, NULL, "remove a client"},
	{"key list", "key.list", NULL, NULL, {{0}}, "keys", NULL,
		"list the issuer's signing keys: next, active, old"},
	{"key rotate", "key.rotate", NULL, NULL,
		{{"--now", "now", AS_YES,
			"sign with new keys at once: others who check tokens may not have them "
			"yet"}},
		"keys", NULL, "publish new signing keys, which sign in ten minutes"},
	{"key remove", "key.remove", "kid", "KID", {{0}}, "keys", NULL,
		"remove an old signing key: all tokens that it signed are void"},
	{"room list", "room.list", NULL, NULL,
		{{"--search", "search", AS_TEXT, "only those with this in the name or title"},
			{"--archived", "archived", AS_YES, "those that are archived"}},
		"rooms", NULL, "list the rooms that are kept"},
	{"room show", "room.get", "room", "NAME", {{0}}, NULL, NULL, "show a room"},
	{"room update", "room.update", "room", "NAME",
		{{"--title", "title", AS_TEXT, "what people see"},
			{"--owner", "owner", AS_TEXT, "whose it is from now on"},
			{"--visibility", "visibility", AS_TEXT, "public or private"},
			{"--max-members", "max_members", AS_NUMBER, "how many can be in it"},
			{"--lobby", "lobby", AS_YES, "who has no role waits to be let in"},
			{"--no-lobby", "lobby", AS_NO, "nobody does"},
			{"--archived", "archived", AS_YES,
				"it rests: its members leave, and nobody joins"},
			{"--not-archived", "archived", AS_NO, "it is in use again"}},
		NULL, NULL, "change a room: what is not given stays as it is"},
	{"room close", "room.delete", "room", "NAME", {{0}}, NULL, NULL,
		"end a room: its members leave, and all that belongs to it goes"},
	{"room roles", "room.roles", "room", "NAME", {{0}}, "roles", NULL,
		"list who was given which role in a room"},
	{"room grant", "room.grant", "room", "NAME",
		{{"--user", "user", AS_TEXT, "whom"},
			{"--role", "role", AS_TEXT, "moderator, member, viewer or none"}},
		NULL, NULL, "give a user a role in a room, or take it"},
	{"dataset add", "dataset.add", "dataset", "NAME",
		{{"--database", "database", AS_PATH, "the SQLite file"},
			{"--table", "table", AS_TEXT, "its table, or a view (then --key)"},
			{"--read", "read", AS_TEXT,
				"SQL: who sees a row, as in \"owner = :user\"; 1: everybody"},
			{"--insert", "insert", AS_TEXT, "SQL: who may add a row like that"},
			{"--update", "update", AS_TEXT,
				"SQL: who may change a row (holds before and after)"},
			{"--delete", "delete", AS_TEXT, "SQL: who may delete a row"},
			{"--depends", "depends", AS_LIST, "a table that the rules look into"},
			{"--hide", "hide", AS_LIST,
				"COLUMN, or \"COLUMN unless SQL\" over the caller"},
			{"--key", "key", AS_LIST, "of a view: a column of its key"}},
		NULL, NULL,
		"make a table a dataset, live at once; without a rule nobody may do it"},
	{"dataset list", "dataset.list", NULL, NULL, {{0}}, "datasets", NULL,
		"list the datasets: which are live, and what keeps others from it"},
	{"dataset show", "dataset.show", "dataset", "NAME", {{0}}, NULL, NULL,
		"show a dataset: rules, state, log"},
	{"dataset drop", "dataset.drop", "dataset", "NAME", {{0}}, NULL, NULL,
		"end a dataset: its readers are told, and all of ours leaves the database"},
	{"dataset tail", "dataset.changes", "dataset", "NAME",
		{{"--since", "since", AS_TEXT, "from behind this seq on (from now on)"},
			{"--epoch", "epoch", AS_TEXT,
				"the history that it is of (dataset show), or be refused"},
			{"--no-follow", "follow", AS_NO,
				"end at the newest change; without --since begin at the oldest"}},
		NULL, NULL, "print each change as a line of JSON, and wait for more"},
	{"dataset verify", "dataset.verify", "dataset", "NAME", {{0}}, NULL, NULL,
		"replay the log against the table: nothing was missed"},
	{"token mint", "token.mint", NULL, NULL,
		{{"--user", "user", AS_TEXT, "for this account"},
			{"--client", "client", AS_TEXT, "for this client"},
			{"--scope", "scope", AS_TEXT, "\"A B\": what it allows"},
			{"--expires", "expires", AS_DURATION,
				"how long it is good for: 30m, 1h, 7d"},
			{"--audience", "audience", AS_TEXT, "whom it is for"},
			{"--claim", "claim", AS_JSON, "more claims, as a JSON object"}},
		NULL, "token", "print an access token of the embedded issuer"},
	{"token revoke", "token.revoke", NULL, NULL,
		{{"--token-stdin", "token", AS_INPUT, "the token on standard input"},
			{"--jti", "jti", AS_TEXT,
				"the token of this id; ALIAS|JTI of another issuer"},
			{"--sid", "sid", AS_TEXT, "all tokens that came from this sign-in"},
			{"--user", "user", AS_TEXT, "all that this user has now"},
			{"--client", "client", AS_TEXT, "all that this client was given so far"}},
		NULL, NULL, "take tokens back, and end the sessions that they opened"},
	{"revocation list", "revocation.list", NULL, NULL, {{0}}, "revoked", NULL,
		"list what was taken back, and who is disabled"},
	{"session list", "session.list", NULL, NULL,
		{{"--user", "user", AS_TEXT, "of this user only"}}, "sessions", NULL,
		"list the sessions that live now"},
	{"session end", "session.end", "session", "SESSION",
		{{"--revoke", "revoke", AS_YES, "take back the sign-in or token as well"}}, NULL,
		NULL, "end a session of the list"},
	{"audit list", "audit.list", NULL, NULL,
		{{"--user", "user", AS_TEXT, "what was done by or to this account"},
			{"--action", "action", AS_TEXT,
				"one of the words in docs/SECURITY.md: sign-in, user.disable, …"},
			{"--since", "since", AS_SINCE, "2h, 7d (ago), or a day: 2026-01-31"},
			{"--limit", "limit", AS_NUMBER, "how many, at most 100 (100)"},
			{"--cursor", "cursor", AS_TEXT, "the page behind the one that named it"}},
		"entries", NULL,
		"show what happened to accounts, clients and tokens, newest first"},
	{"token verify", "token.verify", NULL, NULL,
		{{"--explain", "explain", AS_YES,
			"tell each step: what was found, and what is wanted"}},
		NULL, NULL,
		"check the token on standard input as the service does; prints principal and "
		"grant"},
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

/* ---- help ---- */

void cli_admin_list(void)
{
	for (unsigned i = 0; i < COMMANDS; i++)
		printf("  %-18s %s\n", commands[i].words, commands[i].summary);
}

const char *cli_admin_words(unsigned index)
{
	return index < COMMANDS ? commands[index].words : NULL;
}

static void print_usage(const struct command *c, FILE *out)
{
	fprintf(out, "usage: signalbox %s%s%s", c->words, c->argument ? " " : "",
		c->argument ? c->argument_word : "");
	fprintf(out, " [OPTION...]\n\n%c%s.\n\n", c->summary[0] - 'a' + 'A', c->summary + 1);
	for (const struct option *o = c->options; o->flag; o++)
		fprintf(out, "  %-20s %s\n", o->flag, o->help);
	if (c->list || !c->only)
		fprintf(out, "  %-20s %s\n", "--json", "print the answer as JSON");
	fprintf(out, "  %-20s %s\n", "--data DIR", "the data directory (./signalbox-data)");
	fprintf(out, "  %-20s %s\n", "--config FILE", "the configuration");
}

/* ---- arguments to params ---- */

struct line {
	const struct command *command;
	json_t *params;
	char **config_argv; /* what is the configuration's */
	int config_argc;
	bool json;
};

static int usage_error(const struct command *c, const char *what, const char *word)
{
	fprintf(stderr, "signalbox %s: %s `%s`", c->words, what, word);
	struct nearest n = nearest_to(str_of(word));
	for (const struct option *o = c->options; o->flag; o++)
		nearest_try(&n, str_of(o->flag));
	if (n.word.n)
		fprintf(stderr, "; did you mean `" STR_FMT "`?", STR_ARG(n.word));
	fprintf(stderr, "\n`signalbox %s --help` shows what there is.\n", c->words);
	return EXIT_USAGE;
}

/* Seconds in "90", "30m", "1h", "7d"; -1: none. */
static json_int_t seconds(const char *text)
{
	char *end = NULL;
	long long n = strtoll(text, &end, 10);
	static const struct {
		char unit;
		int factor;
	} units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	for (size_t i = 0;
		end != text && n > 0 && n < 1000000000 && i < sizeof(units) / sizeof(*units); i++)
		if (*end == units[i].unit && (!*end || !end[1]))
			return n * units[i].factor;
	return -1;
}

/* Unix seconds of "2h" ago, or of the day "2026-01-31" in UTC; -1: neither. */
static json_int_t moment(const char *text)
{
	struct tm day = {0};
	const char *end = strptime(text, "%Y-%m-%d", &day);
	if (end && !*end)
		return (json_int_t)timegm(&day);
	json_int_t ago = seconds(text);
	return ago < 0 ? -1 : (json_int_t)time(NULL) - ago;
}

static json_int_t number(const char *text)
{
	char *end = NULL;
	long long n = strtoll(text, &end, 10);
	return end == text || *end || n < 0 ? -1 : n;
}

static json_t *path_from_root(const char *path)
{
	char here[PATH_MAX];
	if (*path == '/' || !*path || !getcwd(here, sizeof(here)))
		return json_string(path);
	return json_sprintf("%s/%s", here, path);
}

static json_t *not_negative(json_int_t n)
{
	return n < 0 ? NULL : json_integer(n);
}

/* The option's value, or NULL when the text is none. */
static json_t *value_of(const struct option *o, const char *text)
{
	json_t *value = NULL;
	char *input = NULL;
	switch (o->kind) {
	case AS_TEXT:
	case AS_LIST:
		return json_string(text);
	case AS_YES:
		return json_true();
	case AS_NO:
		return json_false();
	case AS_DURATION:
		return not_negative(seconds(text));
	case AS_SINCE:
		return not_negative(moment(text));
	case AS_NUMBER:
		return not_negative(number(text));
	case AS_PATH:
		return path_from_root(text);
	case AS_JSON:
	case AS_JSON_FILE:
		value = o->kind == AS_JSON ? json_loads(text, JSON_REJECT_DUPLICATES, NULL)
					   : json_load_file(text, JSON_REJECT_DUPLICATES, NULL);
		if (value && !json_is_object(value)) {
			json_decref(value);
			value = NULL;
		}
		return value;
	case AS_INPUT:
		input = cli_read_input(INPUT_MAX);
		value = input ? json_string(input) : NULL;
		free(input);
		return value;
	}
	return NULL;
}

/* How many words it took; 0: a usage error, which has been said. */
static int take_option(struct line *l, int argc, char **argv)
{
	const struct option *o = l->command->options;
	while (o->flag && strcmp(o->flag, argv[0]) != 0)
		o++;
	if (!o->flag) {
		usage_error(l->command, "there is no option", argv[0]);
		return 0;
	}
	bool alone = o->kind == AS_YES || o->kind == AS_NO || o->kind == AS_INPUT;
	if (!alone && argc < 2) {
		usage_error(l->command, "a value is missing after", argv[0]);
		return 0;
	}
	json_t *value = value_of(o, alone ? "" : argv[1]);
	if (!value) {
		usage_error(
			l->command, "this is no value for the option:", alone ? argv[0] : argv[1]);
		return 0;
	}
	if (o->kind == AS_LIST) {
		json_t *list = json_object_get(l->params, o->param);
		if (!list) {
			list = json_array();
			json_object_set_new(l->params, o->param, list);
		}
		json_array_append_new(list, value);
	} else {
		json_object_set_new(l->params, o->param, value);
	}
	return alone ? 1 : 2;
}

static int read_line(struct line *l, int argc, char **argv)
{
	const struct command *c = l->command;
	for (int i = 0, used; i < argc; i += used) {
		used = config_option_words(argc - i, argv + i);
		if (used) {
			for (int k = 0; k < used && i + k < argc; k++)
				l->config_argv[l->config_argc++] = argv[i + k];
		} else if (strcmp(argv[i], "--json") == 0) {
			l->json = true;
			used = 1;
		} else if (argv[i][0] != '-' && c->argument &&
			!json_object_get(l->params, c->argument)) {
			json_object_set_new(l->params, c->argument, json_string(argv[i]));
			used = 1;
		} else if (argv[i][0] != '-') {
			return usage_error(c, "one word too many:", argv[i]);
		} else if (!(used = take_option(l, argc - i, argv + i))) {
			return EXIT_USAGE;
		}
	}
	if (c->argument && !json_object_get(l->params, c->argument))
		return usage_error(c, "this is missing:", c->argument_word);
	return EXIT_DONE;
}

/* ---- printing ---- */

/* A list that has no end is shown by the page: those that may be asked for one. */
static bool one_page(const struct command *c)
{
	for (const struct option *o = c->options; o->flag; o++)
		if (strcmp(o->param, "cursor") == 0)
			return true;
	return false;
}

/* The columns of its table, with spaces between them; NULL: all that there are. */
static const char *columns_of(const char *list)
{
	bool wide = strcmp(list, "datasets") == 0; /* with all rules */
	return wide ? "dataset state table database configured trouble" : NULL;
}

static void print_result(const struct line *l, json_t *result)
{
	const struct command *c = l->command;
	if (l->json) {
		char *text = json_dumps(result, JSON_INDENT(2));
		printf("%s\n", text);
		free(text);
	} else if (c->only) {
		printf("%s\n", json_string_value(json_object_get(result, c->only)));
	} else if (c->list) {
		cli_print_table(json_object_get(result, c->list), columns_of(c->list));
		if (one_page(c) && json_is_string(json_object_get(result, "cursor")))
			printf("(more: --cursor %s)\n",
				json_string_value(json_object_get(result, "cursor")));
	} else if (json_object_get(result, "steps")) {
		cli_print_steps(result);
	} else if (!json_object_size(result)) {
		printf("done\n");
	} else {
		cli_print_members(result);
	}
}

/* ---- asking the service ---- */

/* The result, or NULL: refused, and said so. */
static json_t *ask(int fd, const char *method, json_t *params)
{
	json_t *response = cli_call(fd, method, params);
	json_t *result = json_incref(json_object_get(response, "result"));
	if (!result) {
		const char *message = NULL, *field = NULL;
		json_unpack(response, "{s:{s:s, s:{s?s}}}", "error", "message", &message, "data",
			"field", &field);
		fprintf(stderr, "signalbox: %s%s%s%s\n",
			message ? message : "the service did not answer", field ? " (" : "",
			field ? field : "", field ? ")" : "");
	}
	json_decref(response);
	return result;
}

/* All pages of a list in one. */
static json_t *ask_all(int fd, const struct line *l)
{
	json_t *result = ask(fd, l->command->method, l->params);
	const char *list = one_page(l->command) ? NULL : l->command->list;
	json_t *cursor;
	while (result && list && (cursor = json_object_get(result, "cursor")) &&
		json_is_string(cursor)) {
		json_object_set(l->params, "cursor", cursor);
		json_object_del(result, "cursor");
		json_t *more = ask(fd, l->command->method, l->params);
		if (!more)
			break;
		json_array_extend(json_object_get(result, list), json_object_get(more, list));
		json_object_set(result, "cursor", json_object_get(more, "cursor"));
		json_decref(more);
	}
	return result;
}

struct service {
	const struct config *config;
	int fd;
	bool own; /* this process is it, for a moment */
};

static bool reach(struct service *s, bool listening)
{
	char *path = serve_control_path(s->config, listening);
	s->fd = control_connect(path);
	free(path);
	return s->fd >= 0;
}

static bool look_again(void *context)
{
	return reach(context, true);
}

/* The service that runs; when none does, this process is the service for a moment. */
static void find_service(struct service *s, struct buf *why)
{
	if (reach(s, true))
		return;
	log_configure(LOG_WARN, false, STDERR_FILENO);
	s->own = !serve_start(
		&(struct serve_options){.config = s->config, .found = look_again, .context = s},
		why);
	if (s->own)
		reach(s, false);
}

static int carry_out(const struct line *l, const struct config *config)
{
	struct buf why = BUF_INIT(16384);
	struct service service = {.config = config};
	find_service(&service, &why);
	int fd = service.fd;
	json_t *result = NULL;
	bool tail = strcmp(l->command->words, "dataset tail") == 0;
	int tailed = EXIT_REFUSED;
	if (fd >= 0 && tail)
		tailed = cli_tail(fd, l->params);
	else if (fd >= 0)
		result = ask_all(fd, l);
	else
		fprintf(stderr, "signalbox: %s", why.p ? why.p : "the service cannot be reached\n");
	if (result)
		print_result(l, result);
	if (fd >= 0)
		close(fd);
	if (service.own)
		serve_stop(config);
	buf_free(&why);
	bool refused = !result || json_is_false(json_object_get(result, "valid")) ||
		json_is_false(json_object_get(result, "ok"));
	int code = refused ? EXIT_REFUSED : EXIT_DONE;
	json_decref(result);
	return tail ? tailed : code;
}

static int run(struct line *l, int argc, char **argv)
{
	int code = read_line(l, argc, argv);
	if (code)
		return code;
	if (strcmp(l->command->words, "token verify") == 0) {
		char *token = cli_read_input(INPUT_MAX);
		if (!token)
			return EXIT_REFUSED;
		json_object_set_new(l->params, "token", json_string(token));
		if (!json_object_get(l->params, "explain"))
			l->json = true; /* it is for programs as well as for people */
		free(token);
	}
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	struct config_input input = {
		.environment = environ, .argv = l->config_argv, .argc = l->config_argc};
	enum err err = config_load(&input, &config, &errors);
	if (err) {
		fprintf(stderr, "%s", errors.p ? errors.p : "");
		buf_free(&errors);
		return err == ERR_REQUEST ? EXIT_USAGE : EXIT_REFUSED;
	}
	code = carry_out(l, config);
	config_free(&config);
	return code;
}

int cli_admin(int argc, char **argv)
{
	const struct command *c = NULL;
	for (unsigned i = 0; i < COMMANDS && argc > 1; i++) {
		size_t n = strlen(argv[0]);
		const char *words = commands[i].words;
		if (strncmp(words, argv[0], n) == 0 && words[n] == ' ' &&
			strcmp(words + n + 1, argv[1]) == 0)
			c = &commands[i];
	}
	if (!c)
		return -1;
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0) {
			print_usage(c, stdout);
			return EXIT_DONE;
		}
	struct line l = {.command = c,
		.params = json_object(),
		.config_argv = mem_alloc((size_t)argc * sizeof(char *))};
	int code = run(&l, argc - 2, argv + 2);
	json_decref(l.params);
	free(l.config_argv);
	return code;
}
