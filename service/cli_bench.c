#include "service/cli.h"

#include "client/bench.h"
#include "core/mem.h"
#include "service/config.h"
#include "service/control.h"
#include "service/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

/* `signalbox bench`: the load generator, with accounts and tokens that the running service gives by its control
 * socket. The accounts (bench-00001, …) stay: the next measurement uses them again. */

struct givers {
	int fd;
	bool told;        /* that accounts are made, which takes its time */
	const char *path; /* of the control socket */
};

/* The result of one call; NULL: refused, with *ret_code; or nobody answered. */
static json_t *ask(int fd, const char *method, json_t *params, json_int_t *ret_code)
{
	json_t *response = cli_call(fd, method, params);
	json_decref(params);
	json_t *result = json_incref(json_object_get(response, "result"));
	json_t *code = json_object_get(json_object_get(response, "error"), "code");
	*ret_code = json_integer_value(code);
	if (!result && *ret_code != err_info(ERR_CONFLICT)->code &&
		*ret_code != err_info(ERR_NOT_FOUND)->code) {
		const char *message = json_string_value(
			json_object_get(json_object_get(response, "error"), "message"));
		fprintf(stderr, "signalbox bench: %s: %s\n", method,
			message ? message : "the service did not answer");
	}
	json_decref(response);
	return result;
}

/* A token of the account, which is made if there is none of the name. */
static json_t *token_of(struct givers *g, const char *name)
{
	int fd = g->fd;
	json_int_t code = 0;
	json_t *result = ask(
		fd, "token.mint", json_pack("{s:s, s:i}", "user", name, "expires", 3600), &code);
	if (result || code != err_info(ERR_NOT_FOUND)->code)
		return result;
	if (!g->told && isatty(STDERR_FILENO))
		fprintf(stderr, "making accounts, %s and so on: once, as each has a password\n",
			name);
	g->told = true;
	json_decref(ask(fd, "user.add", json_pack("{s:s}", "name", name), &code));
	return ask(fd, "token.mint", json_pack("{s:s, s:i}", "user", name, "expires", 3600), &code);
}

static bool tokens(void *context, unsigned users, struct buf *to)
{
	struct givers *g = context;
	if (g->fd < 0) {
		fprintf(stderr,
			"signalbox bench: there are no tokens: no service listens at %s. Give the "
			"--data DIR of the service, a file of tokens with --tokens FILE, or "
			"--no-auth.\n",
			g->path);
		return false;
	}
	for (unsigned i = 1; i <= users; i++) {
		char name[32];
		snprintf(name, sizeof(name), "bench-%05u", i);
		json_t *result = token_of(g, name);
		const char *token = json_string_value(json_object_get(result, "token"));
		if (token)
			buf_addf(to, "%s\n", token);
		json_decref(result);
		if (!token)
			return false;
	}
	return true;
}

/* Who listens there, if it is of this machine's kernel that we know it from. */
static int pid_of(int fd)
{
	struct ucred who = {0};
	socklen_t size = sizeof(who);
	return fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) ? who.pid : 0;
}

static int run(const struct config *config, int argc, char **argv)
{
	char *path = serve_control_path(config, true);
	struct givers g = {.fd = control_connect(path), .path = path};
	struct bench_host host = {.command = "signalbox bench",
		.usage = "  --data DIR             of the service, which gives the tokens "
			 "(./signalbox-data)\n"
			 "  --config FILE          its configuration\n",
		.pid = pid_of(g.fd),
		.tokens = tokens,
		.context = &g};
	int code = bench_main(argc, argv, &dialect_signalbox, &host);
	if (g.fd >= 0)
		close(g.fd);
	free(path);
	return code;
}

int cli_bench(int argc, char **argv)
{
	char **ours = mem_alloc((size_t)argc * 2 * sizeof(*ours)), **theirs = ours + argc;
	int our_count = 0, their_count = 0;
	for (int i = 1, used; i < argc; i += used) {
		used = config_option_words(argc - i, argv + i);
		for (int k = 0; k < used && i + k < argc; k++)
			theirs[their_count++] = argv[i + k];
		if (!used) {
			ours[our_count++] = argv[i];
			used = 1;
		}
	}
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	struct config_input input = {.environment = environ, .argv = theirs, .argc = their_count};
	enum err err = config_load(&input, &config, &errors);
	int code = err == ERR_REQUEST ? EXIT_USAGE : EXIT_REFUSED;
	if (err)
		fprintf(stderr, "%s", errors.p ? errors.p : "");
	else
		code = run(config, our_count, ours);
	buf_free(&errors);
	config_free(&config);
	free(ours);
	return code;
}
