/* cli.h: the command line. Exit codes: 0 done, 1 refused or failed, 2 usage.
 * Thread: main. */
#pragma once

#include <jansson.h>

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

int cli_main(int argc, char **argv);

/* Commands that are carried out by the service (user, client, room, token): cli_admin.c. argv begins
 * with the command's own words. -1: no such command. */
int cli_admin(int argc, char **argv);
void cli_admin_list(void);                   /* a line each, for --help */
const char *cli_admin_words(unsigned index); /* "user add", …; NULL: no more */

/* Commands that look at what they are given: cli_look.c. */
int cli_token_inspect(int argc, char **argv);
int cli_jws_verify(int argc, char **argv);

/* The load generator (client/bench.h) against a service: cli_bench.c. */
int cli_bench(int argc, char **argv);

/* The result of token.verify {explain: true}, for people. */
void cli_print_steps(const json_t *result);

/* `dataset tail`, over the control socket; params: dataset, since?, follow? (no: ends at the newest change). cli_tail.c */
int cli_tail(int fd, json_t *params);

/* Calls a method of the service that fd leads to (service/control.h); params stay the caller's. The response, which the
 * caller frees; NULL: none came. cli.c */
json_t *cli_call(int fd, const char *method, json_t *params);

/* All of standard input but the newline at its end, at most max bytes; the caller frees it. NULL:
 * it is larger, or cannot be read; that has been said. */
char *cli_read_input(unsigned long max);

/* What is answered, for people: an array of objects with a column for each member (of those named in only, with spaces
 * between them; NULL: all), aligned; or the members of one object, a line each. Members named "…_at" are times.
 * cli_print.c */
void cli_print_table(const json_t *rows, const char *only);
void cli_print_members(json_t *object);
