#include "service/cli.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/nearest.h"
#include "service/cli_lan.h"
#include "service/config.h"
#include "service/control.h"
#include "service/listener.h"
#include "service/notify.h"
#include "service/reload.h"
#include "service/serve.h"
#include "service/tls_tickets.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

static int serve(int argc, char **argv);
static int config(int argc, char **argv);
static int version(int argc, char **argv);
static int help(int argc, char **argv);

static const struct {
	const char *words, *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"serve", "run the service", serve},
	{"config", "check, show or explain the configuration", config},
	{"token inspect", "show what a token says, without checking it", cli_token_inspect},
	{"jws verify", "check a signature against a file of keys (--jwks FILE)", cli_jws_verify},
	{"bench", "measure a running service: signalbox bench URL", cli_bench},
	{"version", "say which version this is", version},
	{"--version", NULL, version},
	{"help", NULL, help},
	{"--help", NULL, help},
	{"-h", NULL, help},
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static int version(int argc, char **argv)
{
	if (argc > 1) {
		bool asked = strcmp(argv[1], "--help") == 0;
		fprintf(asked ? stdout : stderr, "usage: signalbox version\n");
		return asked ? EXIT_DONE : EXIT_USAGE;
	}
	printf("signalbox %s\n", SIGNALBOX_VERSION);
	return EXIT_DONE;
}

static int help(int argc, char **argv)
{
	(void)argc, (void)argv;
	printf("signalbox: realtime service for signaling, rooms and datasets\n\n"
	       "usage: signalbox COMMAND [OPTION...]\n\n");
	for (unsigned i = 0; i < COMMANDS; i++)
		if (commands[i].summary)
			printf("  %-18s %s\n", commands[i].words, commands[i].summary);
	cli_admin_list();
	printf("\nEvery command has --help. `signalbox serve` alone is enough to begin.\n");
	return EXIT_DONE;
}

static int config(int argc, char **argv)
{
	return config_command(argc - 1, argv + 1, environ, stdout, stderr);
}

/* ---- serve ---- */

static void serve_help(void)
{
	printf("usage: signalbox serve [--config FILE] [--data DIR] [--listen ADDR:PORT] "
	       "[--workers N]\n"
	       "                       [--lan[=ADDRESS[:PORT]]] [--take-over] "
	       "[--SECTION.KEY=VALUE...]\n\n"
	       "Runs the service until SIGTERM or SIGINT. With no option: data in "
	       "./signalbox-data,\n"
	       "listening on 127.0.0.1:8080 and [::1]:8080, with its own issuer and the demo.\n"
	       "--lan: for the other devices in this network, with a certificate that is made for "
	       "it.\n"
	       "--take-over: from the service that runs on these data, whose clients then go on "
	       "with "
	       "this one.\n"
	       "`signalbox config reference` explains every key.\n");
}

static void greet(const struct config *config, const struct lan *lan)
{
	const char *url;
	for (size_t i = 0; (url = listener_url(i)); i++)
		log_info("listening", LOG_TEXT("url", url));
	if (!config->server.demo)
		return;
	if (lan) {
		lan_greet(lan, config);
		return;
	}
	const char *scheme = config->tls.certificate[0] ? "https" : "http";
	printf("\nSignalbox %s is ready. Open the demo in two windows:\n\n    "
	       "%s://localhost:%u/\n\n",
		SIGNALBOX_VERSION, scheme, listener_port());
	fflush(stdout);
}

static void look_after(void)
{
	mem_settle();
	tls_tickets_turn(clock_steady_ms());
}

/* Signals are waited for, not handled: blocked before any thread starts, so in all of them. */
static void wait_for_end(
	const sigset_t *set, struct config *config, const struct config_input *input)
{
	static const struct timespec a_while = {.tv_sec = MEM_SETTLE_S};
	int number;
	while ((number = sigtimedwait(set, NULL, &a_while)) < 0 || number == SIGHUP)
		if (number == SIGHUP)
			reload(config, input);
		else
			look_after();
	if (number ==
		SIGUSR2) /* a successor's wish; an operator's SIGTERM beside it is met by it */
		return;
	log_info("stopping", LOG_TEXT("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
	sigset_t again = *set;
	sigdelset(&again, SIGHUP);
	sigdelset(&again,
		SIGUSR2); /* a successor that comes now waits for what is under way already */
	pthread_sigmask(SIG_UNBLOCK, &again, NULL); /* a second one ends the process at once */
}

/* What the command line of `serve` says beside the configuration. */
struct serve_words {
	bool help, take_over, for_lan;
	const char *lan_address;
	struct lan *lan;
};

static int run_service(
	struct config *config, const struct config_input *input, const struct serve_words *words)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_DFL); /* ignored since the start of the command */
	struct buf why = BUF_INIT(16384);
	struct serve_options options = {
		.config = config, .listen = true, .take_over = words->take_over};
	enum err err = serve_start(&options, &why);
	if (err)
		fprintf(stderr, "signalbox: %s", why.p ? why.p : "it failed\n");
	buf_free(&why);
	if (err)
		return EXIT_REFUSED;
	greet(config, words->lan);
	notify_ready();
	wait_for_end(&set, config, input);
	notify_stopping();
	serve_stop(config);
	log_info("stopped");
	return EXIT_DONE;
}

/* Takes the words that are not the configuration's out of argv, and returns how many are left. */
static int take_words(int argc, char **argv, struct serve_words *ret)
{
	for (int i = 0; i < argc;) {
		int words = config_option_words(argc - i, argv + i);
		bool taken = false;
		if (!words && strcmp(argv[i], "--take-over") == 0)
			ret->take_over = taken = true;
		else if (!words && lan_option(argv[i], &ret->lan_address))
			ret->for_lan = taken = true;
		else if (!words && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
			ret->help = true;
		if (taken) {
			memmove(argv + i, argv + i + 1, (size_t)(argc - i) * sizeof(*argv));
			argc--;
		} else
			i += words ? words : 1;
	}
	return argc;
}

static int serve_with(struct config_input *input, struct serve_words *words)
{
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	enum err err = ERR_OK;
	if (words->for_lan)
		err = lan_prepare(words->lan_address, input, &words->lan, &errors);
	if (!err)
		err = config_load(input, &config, &errors);
	if (err) {
		fprintf(stderr, "%s", errors.p ? errors.p : "");
		buf_free(&errors);
		return err == ERR_REQUEST ? EXIT_USAGE : EXIT_REFUSED;
	}
	serve_configure_log(config);
	int code = run_service(config, input, words);
	config_free(&config);
	return code;
}

static int serve(int argc, char **argv)
{
	signal(SIGHUP, SIG_IGN); /* until it can be heeded: the configuration is read below */
	struct serve_words words = {0};
	argc = take_words(argc - 1, argv + 1, &words);
	if (words.help) {
		serve_help();
		return EXIT_DONE;
	}
	struct config_input input = {.environment = environ, .argv = argv + 1, .argc = argc};
	int code = serve_with(&input, &words);
	lan_free(&words.lan);
	return code;
}

/* ---- finding the command ---- */

static bool is_command(const char *words, int argc, char **argv)
{
	const char *space = strchr(words, ' ');
	struct str first = {words, space ? (size_t)(space - words) : strlen(words)};
	if (argc < 1 || !str_is(first, argv[0]))
		return false;
	return !space || (argc > 1 && strcmp(space + 1, argv[1]) == 0);
}

static int unknown(int argc, char **argv)
{
	char typed[NEAREST_MAX + 1];
	snprintf(typed, sizeof(typed), "%s%s%s", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
		argc > 1 && argv[1][0] != '-' ? argv[1] : "");
	struct nearest n = nearest_to(str_of(typed));
	const char *words;
	for (unsigned i = 0; i < COMMANDS; i++)
		nearest_try(&n, str_of(commands[i].words));
	for (unsigned i = 0; (words = cli_admin_words(i)); i++)
		nearest_try(&n, str_of(words));
	fprintf(stderr, "signalbox: there is no command `%s`", typed);
	if (n.word.n)
		fprintf(stderr, "; did you mean `" STR_FMT "`?", STR_ARG(n.word));
	fprintf(stderr, "\n`signalbox help` lists them all.\n");
	return EXIT_USAGE;
}

int cli_main(int argc, char **argv)
{
	if (argc < 2) {
		help(argc, argv);
		return EXIT_USAGE;
	}
	argc--, argv++;
	for (unsigned i = 0; i < COMMANDS; i++)
		if (is_command(commands[i].words, argc, argv))
			return commands[i].run(argc, argv);
	int code = cli_admin(argc, argv);
	return code >= 0 ? code : unknown(argc, argv);
}

/* Text may hold NUL: a cell of a dataset does. */
json_t *cli_call(int fd, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:s, s:i, s:s, s:O}", "jsonrpc", "2.0", "id", 1, "method",
		method, "params", params);
	char *line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	char *answer = control_ask(fd, str_of(line));
	free(line);
	json_t *response = answer ? json_loads(answer, JSON_ALLOW_NUL, NULL) : NULL;
	free(answer);
	return response;
}

char *cli_read_input(unsigned long max)
{
	struct buf b = BUF_INIT(max + 1);
	buf_add_stream(&b, stdin);
	while (b.n && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
		b.p[--b.n] = 0;
	if (!b.err && !ferror(stdin))
		return buf_take(&b);
	fprintf(stderr, "signalbox: standard input is too large (at most %lu bytes)\n", max);
	buf_free(&b);
	return NULL;
}
