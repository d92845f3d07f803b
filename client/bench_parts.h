/* bench_parts.h: what the files of client/bench_*.c share. */
#pragma once

#include "client/bench.h"
#include "client/histogram.h"
#include "client/load.h"

/* How long after the end of the window messages that were due within it may still be sent. */
#define CATCH_UP_NS ((uint64_t)5 * SECOND_NS)

enum {
	OUTSTANDING_MAX = 16, /* values of one command line */
	CONNECTIONS_MAX = 1000000,
	SCENARIOS = 5,
	PAYLOAD_MIN = 16, /* MARK and a number have to fit */
	TURN_NS = 100000000,
	SECOND_NS = 1000000000,
};

struct bench_options {
	struct load_target target;
	bool wanted[SCENARIOS];
	unsigned members, rooms, publishers, bytes, pairs, rate, connections, users;
	unsigned outstanding[OUTSTANDING_MAX], outstandings;
	double seconds, warm, hold, patience;
	bool no_batch, json, no_auth, help;
	const char *tokens, *cores;
	int pid;
};

struct bench {
	struct bench_options options;
	const struct dialect *dialect;
	const struct bench_host *host;
	struct buf tokens; /* lines, each ended by NUL */
	const char **token;
	unsigned token_count;
	enum scenario titled; /* whose columns were named last */
	bool any_title;
};

/* What one measured run came to. What a scenario has nothing of stays 0. */
struct result {
	enum scenario scenario;
	unsigned members, rooms, publishers, outstanding, bytes, rate, connections, pairs;
	bool batch, tls;
	uint64_t messages, deliveries, handshakes, resumed;
	uint64_t in_all; /* the same, with what was before and behind the window */
	double seconds;
	uint64_t cpu_ns;
	uint64_t lost, wrong, late; /* late: could not even be sent in time, or at all */
	uint64_t rss_before, rss_joined, rss_held;
	double all_joined_s;
	struct histogram latency;
};

/* ---- bench_args.c ---- */
extern const char *const scenario_names[SCENARIOS];
/* False: a usage error, which has been said. */
bool bench_read(const struct bench_host *host, const struct dialect *dialect, int argc, char **argv,
	struct bench_options *ret);
void bench_usage(const struct bench_host *host, const struct dialect *dialect, FILE *out);

/* ---- bench_report.c ---- */
/* Prints one run; false: something was lost or wrong. */
bool bench_report(struct bench *b, const struct result *r);

/* ---- bench.c ---- */
/* How many a scenario opens. */
unsigned bench_connections(const struct bench_options *all, enum scenario scenario);
const char *bench_token(const struct bench *b, unsigned index); /* NULL: none is needed */
/* Milliseconds for which nothing may be answered while links are opened. */
int bench_patience(const struct bench *b);
/* Says why a run ended; always false. */
bool bench_failed(const struct bench *b, const struct load *load);
/* Turns until nothing is under way, or nothing more comes of it for a quarter of the patience: the rest is
 * lost. False: at fault. */
bool bench_drain(const struct bench *b, struct load *load,
	uint64_t (*under_way)(const void *context), const void *context);

/* ---- bench_fanout.c, bench_signal.c, bench_shake.c, bench_idle.c: false: it failed, and has been said ---- */
bool bench_fanout(struct bench *b);
bool bench_signal(struct bench *b);
bool bench_handshake(struct bench *b);
bool bench_idle(struct bench *b);
bool bench_join(struct bench *b);

/* ---- bench_window.c: the part of a run that is measured ---- */
struct window {
	uint64_t begins, ends; /* by the clock of load.h */
	uint64_t cpu_before, cpu_after, real_begin, real_end;
	bool open, over;
	int pid;
};
void window_plan(struct window *w, const struct bench *b);
/* Opens and closes it as time goes by. True while it is open; counts made meanwhile are of the window. */
bool window_look(struct window *w);
void window_tell(const struct window *w, struct result *r);
/* How long a turn may wait for what is due then. */
int64_t window_wait(uint64_t due);
/* Until it is over: has r->rate a second begin, each when it is due. begin() returns false when there is no place for
 * it. Those that were due within the window and found none go out afterwards, or count as late. False: at fault. */
bool window_pace(struct window *w, struct load *load, struct result *r,
	bool (*begin)(void *context, uint64_t due, bool measured), void *context);

/* MARK and eight hexadecimal digits. */
void payload_number(char *payload, uint32_t number);
bool payload_read(const char *payload, size_t n, uint32_t *ret);
