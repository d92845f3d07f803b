/* bench.h: the scenarios of the load generator, and its command line: `signalbox bench`, and the
 * programs that speak other dialects (tests/bench). Each measured run checks what it counts: a message
 * that was lost, doubled or out of its sender's order makes it fail.
 * Thread: main. */
#pragma once

#include "client/dialect.h"

struct bench_host {
	const char *command; /* "signalbox bench", for what is said to people */
	const char *usage;   /* further options, as lines of --help; NULL: none */
	int pid;             /* of the server, when it is known without --pid; 0: it is not */
	/* Adds tokens of so many users, a line each: asked for when there is no --tokens FILE. NULL: links have none. False:
	 * that failed, and has been said. */
	bool (*tokens)(void *context, unsigned users, struct buf *tokens);
	void *context;
};

/* argv: URL, then scenarios and options. Returns the exit code: 0 done, 1 it failed or something was lost or wrong, 2
 * usage. */
int bench_main(int argc, char **argv, const struct dialect *dialect, const struct bench_host *host);

extern const struct dialect dialect_signalbox;
