#include "client/bench_parts.h"

#include "client/process.h"
#include "core/clock.h"
#include "core/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

enum { TOKENS_MAX = 512 * 1024 * 1024, CONNECTIONS_A_USER = 16, DONE = 0, FAILED = 1, USAGE = 2 };

const char *bench_token(const struct bench *b, unsigned index)
{
	return b->token_count ? b->token[index % b->token_count] : NULL;
}

int bench_patience(const struct bench *b)
{
	return (int)(b->options.patience * 1000);
}

bool bench_failed(const struct bench *b, const struct load *load)
{
	fprintf(stderr, "%s: %s\n", b->host->command, load_fault(load));
	return false;
}

bool bench_drain(const struct bench *b, struct load *load,
	uint64_t (*under_way)(const void *context), const void *context)
{
	int patience = bench_patience(b) / 4;
	uint64_t left, before = 0;
	int64_t until = clock_steady_ms() + patience;
	while ((left = under_way(context)) && clock_steady_ms() < until) {
		if (left != before)
			until = clock_steady_ms() + patience;
		before = left;
		if (!load_turn(load, TURN_NS))
			return false;
	}
	return true;
}

/* ---- what depends on the scenario ---- */

/* Options that were not said, for one scenario. */
static struct bench_options options_of(const struct bench_options *all, enum scenario scenario)
{
	struct bench_options o = *all;
	if (!o.members)
		o.members = scenario == SCENARIO_IDLE ? 10 : 1000;
	if (!o.bytes)
		o.bytes = scenario == SCENARIO_SIGNAL ? 4096 : 128;
	return o;
}

unsigned bench_connections(const struct bench_options *all, enum scenario scenario)
{
	struct bench_options o = options_of(all, scenario);
	switch (scenario) {
	case SCENARIO_SIGNAL:
		return 2 * o.pairs;
	case SCENARIO_IDLE:
		return o.connections;
	case SCENARIO_HANDSHAKE:
		return CONNECTIONS_A_USER;
	case SCENARIO_FANOUT:
	case SCENARIO_JOIN:
		break;
	}
	return o.members * o.rooms;
}

/* ---- tokens ---- */

static bool read_tokens(struct bench *b)
{
	const char *name = b->options.tokens;
	bool standard = strcmp(name, "-") == 0;
	FILE *file = standard ? stdin : fopen(name, "r");
	if (!file) {
		fprintf(stderr, "%s: %s: %s\n", b->host->command, name, strerror(errno));
		return false;
	}
	buf_add_stream(&b->tokens, file);
	if (!standard)
		fclose(file);
	return true;
}

static bool ask_for_tokens(struct bench *b)
{
	unsigned users = b->options.users, most = 0;
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (b->options.wanted[i] && bench_connections(&b->options, i) > most)
			most = bench_connections(&b->options, i);
	if (!users)
		users = (most + CONNECTIONS_A_USER - 1) / CONNECTIONS_A_USER;
	return b->host->tokens(b->host->context, users, &b->tokens);
}

static bool get_tokens(struct bench *b)
{
	if (b->options.no_auth || (!b->options.tokens && !b->host->tokens))
		return true;
	if (!(b->options.tokens ? read_tokens(b) : ask_for_tokens(b)))
		return false;
	size_t lines = 1;
	for (size_t i = 0; i < b->tokens.n; i++)
		lines += b->tokens.p[i] == '\n';
	b->token = mem_alloc(lines * sizeof(*b->token));
	char *p = b->tokens.p, *end = p + b->tokens.n;
	while (p && p < end) {
		size_t n = strcspn(p, "\r\n");
		if (n)
			b->token[b->token_count++] = p;
		p[n] = 0;
		p += n + 1;
	}
	if (!b->token_count)
		fprintf(stderr, "%s: there is no token in %s\n", b->host->command,
			b->options.tokens ? b->options.tokens : "what the service gave");
	return b->token_count;
}

/* ---- all of it ---- */

static bool run(struct bench *b)
{
	static bool (*const runs[SCENARIOS])(struct bench *) = {
		[SCENARIO_FANOUT] = bench_fanout,
		[SCENARIO_SIGNAL] = bench_signal,
		[SCENARIO_HANDSHAKE] = bench_handshake,
		[SCENARIO_IDLE] = bench_idle,
		[SCENARIO_JOIN] = bench_join,
	};
	const struct bench_options all = b->options;
	bool fine = true;
	for (unsigned i = 0; i < SCENARIOS; i++)
		if (all.wanted[i]) {
			b->options = options_of(&all, i);
			fine = runs[i](b) && fine;
			b->options = all;
		}
	return fine;
}

static bool prepare(const struct bench *b)
{
	const struct bench_options *o = &b->options;
	signal(SIGPIPE, SIG_IGN);
	if (o->cores && !process_pin(o->cores)) {
		fprintf(stderr, "%s: %s is no list of cores that there are\n", b->host->command,
			o->cores);
		return false;
	}
	if (o->pid && !process_memory(o->pid)) {
		fprintf(stderr, "%s: there is no process %d\n", b->host->command, o->pid);
		return false;
	}
	return true;
}

int bench_main(int argc, char **argv, const struct dialect *dialect, const struct bench_host *host)
{
	struct bench b = {.dialect = dialect, .host = host, .tokens = BUF_INIT(TOKENS_MAX)};
	if (!bench_read(host, dialect, argc, argv, &b.options))
		return USAGE;
	if (b.options.help) {
		bench_usage(host, dialect, stdout);
		return DONE;
	}
	bool fine = prepare(&b) && get_tokens(&b) && run(&b);
	free(b.token);
	buf_free(&b.tokens);
	return fine ? DONE : FAILED;
}
