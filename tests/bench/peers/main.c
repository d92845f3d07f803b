/* main.c: the load generator with the dialects of others: bench_peers DIALECT URL SCENARIO… (client/bench.h
 * has the rest). The servers are those of tests/bench/peers.mjs, set up as that file says. */
#include "client/bench.h"
#include "tests/bench/peers/peers.h"

#include <stdio.h>
#include <string.h>

static const struct dialect *const dialects[] = {
	&dialect_nchan,
	&dialect_mosquitto,
	&dialect_ws,
	&dialect_socketio,
	&dialect_peerjs,
};

int main(int argc, char **argv)
{
	const size_t n = sizeof(dialects) / sizeof(*dialects);
	for (size_t i = 0; argc > 1 && i < n; i++) {
		if (strcmp(argv[1], dialects[i]->name) != 0)
			continue;
		char command[64];
		snprintf(command, sizeof(command), "bench_peers %s", dialects[i]->name);
		const struct bench_host host = {.command = command};
		return bench_main(argc - 2, argv + 2, dialects[i], &host);
	}
	fprintf(stderr, "usage: bench_peers DIALECT URL SCENARIO...; DIALECT is one of");
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %s", dialects[i]->name);
	fprintf(stderr, "\n");
	return 2;
}
