#include "client/bench_parts.h"

#include "core/mem.h"
#include "core/nearest.h"

#include <stddef.h>
#include <stdlib.h>

enum kind { NUMBER, SECONDS, TEXT, YES, NUMBERS };

#define O(member) offsetof(struct bench_options, member)
/* Which scenarios an option is of, by their letters: f s h i j. */
static const struct option {
	const char *flag, *word, *of;
	enum kind kind;
	size_t at;
	double least, most;
	const char *help;
} options[] = {
	{"--members", "N", "fij", NUMBER, O(members), 1, 100000, "members of each room"},
	{"--rooms", "N", "fj", NUMBER, O(rooms), 1, 10000, "rooms (1)"},
	{"--publishers", "N", "f", NUMBER, O(publishers), 1, 1000, "of each room's members (4)"},
	{"--outstanding", "N,N", "fh", NUMBERS, O(outstanding), 1, 10000,
		"messages, or handshakes, under way at once; a run each (1,8,32; 8)"},
	{"--bytes", "N", "fs", NUMBER, O(bytes), PAYLOAD_MIN, 1000000,
		"of data in a message (128), in an offer (4096)"},
	{"--pairs", "N", "s", NUMBER, O(pairs), 1, 30000, "pairs that signal (1000)"},
	{"--rate", "N", "fs", NUMBER, O(rate), 1, 10000000,
		"messages a second in all, each when it is due"},
	{"--connections", "N", "i", NUMBER, O(connections), 1, CONNECTIONS_MAX,
		"connections (10000)"},
	{"--hold", "SECONDS", "i", SECONDS, O(hold), 0, 86400, "how long they stay (30)"},
	{"--seconds", "SECONDS", "fsh", SECONDS, O(seconds), 0.01, 86400,
		"how long is measured (1)"},
	{"--warm", "SECONDS", "fsh", SECONDS, O(warm), 0, 3600, "how long before that (0.3)"},
	{"--patience", "SECONDS", "fshij", SECONDS, O(patience), 0.1, 3600,
		"how long nothing may come at the beginning (20); at the end a quarter of that"},
	{"--no-batch", NULL, "fsij", YES, O(no_batch), 0, 0,
		"as clients that take one message at a time"},
	{"--resume-tls", NULL, "h", YES, O(target.resume_tls), 0, 0,
		"go on with the TLS session of the one before"},
	{"--ca", "FILE", "fshij", TEXT, O(target.authority), 0, 0,
		"certificates that vouch for an https one"},
	{"--insecure", NULL, "fshij", YES, O(target.insecure), 0, 0, "believe any certificate"},
	{"--tokens", "FILE", "fshij", TEXT, O(tokens), 0, 0,
		"access tokens, one a line, taken by turns (-: standard input)"},
	{"--users", "N", "fshij", NUMBER, O(users), 1, 100000,
		"how many to have tokens of (one for 16 connections)"},
	{"--no-auth", NULL, "fshij", YES, O(no_auth), 0, 0, "send no token"},
	{"--pid", "PID", "fshij", NUMBER, O(pid), 1, 1 << 30,
		"the server's process, for its processor time and memory"},
	{"--cores", "LIST", "fshij", TEXT, O(cores), 0, 0, "run on these: 1, or 0,2-3"},
	{"--json", NULL, "fshij", YES, O(json), 0, 0, "an object a line for each run, not a table"},
	{"--help", NULL, "", YES, O(help), 0, 0, "this"},
};
enum { OPTIONS = sizeof(options) / sizeof(*options) };

const char *const scenario_names[SCENARIOS] = {
	[SCENARIO_FANOUT] = "fanout",
	[SCENARIO_SIGNAL] = "signal",
	[SCENARIO_HANDSHAKE] = "handshake",
	[SCENARIO_IDLE] = "idle",
	[SCENARIO_JOIN] = "join",
};

void bench_usage(const struct bench_host *host, const struct dialect *dialect, FILE *out)
{
	static const char *const what[SCENARIOS] = {
		"messages to all members of rooms, so many under way at once",
		"pairs that exchange an offer, an answer and ten candidates",
		"connections that begin, a second",
		"memory of connections that wait in rooms",
		"all members join at once: until each knows of all",
	};
	fprintf(out,
		"usage: %s URL [SCENARIO...] [OPTION...]\n\nMeasures the server at URL, as in "
		"http://127.0.0.1:8080. Scenarios (fanout):\n\n",
		host->command);
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (dialect->scenarios & 1u << i)
			fprintf(out, "  %-22s %s\n", scenario_names[i], what[i]);
	fprintf(out, "\n");
	for (unsigned i = 0; i < OPTIONS; i++) {
		char flag[64];
		snprintf(flag, sizeof(flag), "%s%s%s", options[i].flag, options[i].word ? " " : "",
			options[i].word ? options[i].word : "");
		fprintf(out, "  %-22s %s\n", flag, options[i].help);
	}
	if (host->usage)
		fputs(host->usage, out);
}

static bool usage_error(const struct bench_host *host, const char *what, const char *word)
{
	fprintf(stderr, "%s: %s `%s`", host->command, what, word);
	struct nearest n = nearest_to(str_of(word));
	for (unsigned i = 0; i < OPTIONS && word[0] == '-'; i++)
		nearest_try(&n, str_of(options[i].flag));
	for (unsigned i = 0; i < SCENARIOS && word[0] != '-'; i++)
		nearest_try(&n, str_of(scenario_names[i]));
	if (n.word.n && !str_is(n.word, word))
		fprintf(stderr, "; did you mean `" STR_FMT "`?", STR_ARG(n.word));
	fprintf(stderr, "\n`%s --help` shows what there is.\n", host->command);
	return false;
}

static bool read_number(const struct option *o, const char *text, const char **ret_end, double *ret)
{
	char *end;
	double n = strtod(text, &end);
	bool whole = o->kind == SECONDS || strspn(text, "0123456789") == (size_t)(end - text);
	*ret_end = end;
	*ret = n;
	return end != text && whole && n >= o->least && n <= o->most;
}

static bool set_numbers(const struct option *o, const char *text, struct bench_options *to)
{
	double n;
	for (to->outstandings = 0; to->outstandings < OUTSTANDING_MAX; text++) {
		if (!read_number(o, text, &text, &n))
			return false;
		to->outstanding[to->outstandings++] = (unsigned)n;
		if (*text != ',')
			return !*text;
	}
	return false;
}

static bool set(const struct option *o, const char *text, struct bench_options *to)
{
	char *at = (char *)to + o->at;
	const char *end = "";
	double n = 0;
	switch (o->kind) {
	case YES:
		*(bool *)at = true;
		return true;
	case TEXT:
		*(const char **)at = text;
		return *text;
	case NUMBERS:
		return set_numbers(o, text, to);
	case NUMBER:
	case SECONDS:
		break;
	}
	if (!read_number(o, text, &end, &n) || *end)
		return false;
	if (o->kind == SECONDS)
		*(double *)at = n;
	else
		*(unsigned *)at = (unsigned)n;
	return true;
}

static const struct option *find(const char *flag)
{
	for (unsigned i = 0; i < OPTIONS; i++)
		if (strcmp(options[i].flag, flag) == 0)
			return &options[i];
	return NULL;
}

/* A word that is no option: the URL, then scenarios. */
static bool take_word(const struct bench_host *host, const struct dialect *dialect,
	const char *word, struct bench_options *to)
{
	if (!to->target.url) {
		to->target.url = word;
		return true;
	}
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (strcmp(scenario_names[i], word) == 0 && dialect->scenarios & 1u << i) {
			to->wanted[i] = true;
			return true;
		}
	return usage_error(host, "there is no scenario", word);
}

/* Of outstanding, what was not said. The rest depends on the scenario alone: options_of() in bench.c. */
static void fill_in(struct bench_options *o)
{
	static const unsigned outstanding[] = {1, 8, 32};
	if (!o->outstandings) {
		memcpy(o->outstanding, outstanding, sizeof(outstanding));
		o->outstandings = 3;
		if (o->wanted[SCENARIO_HANDSHAKE] && !o->wanted[SCENARIO_FANOUT]) {
			o->outstanding[0] = 8;
			o->outstandings = 1;
		}
	}
}

static bool of_what_is_wanted(const struct option *o, const struct bench_options *to)
{
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (to->wanted[i] && strchr(o->of, scenario_names[i][0]))
			return true;
	return !*o->of;
}

/* The option at argv[0] and its value, or a word; how many of argv it took, 0: a usage error. Options are noted in said. */
static int take(const struct bench_host *host, const struct dialect *dialect, char **argv,
	struct bench_options *to, bool said[OPTIONS])
{
	if (argv[0][0] != '-')
		return take_word(host, dialect, argv[0], to);
	const struct option *o = find(argv[0]);
	if (!o)
		return usage_error(host, "there is no option", argv[0]);
	if (o->word && !argv[1])
		return usage_error(host, "a value is missing after", argv[0]);
	if (!set(o, o->word ? argv[1] : "", to))
		return usage_error(host, "this is no value for the option:", argv[0]);
	said[o - options] = true;
	return o->word ? 2 : 1;
}

bool bench_read(const struct bench_host *host, const struct dialect *dialect, int argc, char **argv,
	struct bench_options *ret)
{
	bool said[OPTIONS] = {false}, any = false;
	*ret = (struct bench_options){.rooms = 1,
		.publishers = 4,
		.pairs = 1000,
		.connections = 10000,
		.hold = 30,
		.seconds = 1,
		.warm = 0.3,
		.patience = 20,
		.pid = host->pid};
	for (int i = 0, taken; i < argc; i += taken) {
		char *two[] = {argv[i], i + 1 < argc ? argv[i + 1] : NULL};
		taken = take(host, dialect, two, ret, said);
		if (!taken)
			return false;
	}
	if (ret->help)
		return true;
	if (!ret->target.url)
		return usage_error(host, "this is missing:", "URL");
	for (unsigned i = 0; i < SCENARIOS; i++)
		any = any || ret->wanted[i];
	ret->wanted[SCENARIO_FANOUT] = ret->wanted[SCENARIO_FANOUT] || !any;
	for (unsigned i = 0; i < OPTIONS; i++)
		if (said[i] && !of_what_is_wanted(&options[i], ret))
			return usage_error(host, "the scenario has no use for", options[i].flag);
	fill_in(ret);
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (ret->wanted[i] && bench_connections(ret, i) > CONNECTIONS_MAX)
			return usage_error(host,
				"these are more than a million connections:", scenario_names[i]);
	if (ret->wanted[SCENARIO_IDLE] && !ret->pid)
		return usage_error(host, "for the memory of the server this is missing:", "--pid");
	return true;
}
