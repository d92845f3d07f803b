/* `signalbox config check|show|reference`. */
#include "service/config_parts.h"

static const char usage[] =
	"Usage: signalbox config check|show|reference [--config FILE] [--SECTION.KEY=VALUE]…\n"
	"\n"
	"  check      says what is wrong in the configuration, or that nothing is\n"
	"  show       prints the configuration in force, and where each value comes from\n"
	"  reference  prints every key with its default and meaning\n";

enum { DONE, REFUSED, USAGE };

static int misuse(FILE *errors, const char *word)
{
	static const char *const words[] = {"check", "show", "reference"};
	struct nearest n = nearest_to(str_of(word));
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		nearest_try(&n, str_of(words[i]));
	if (*word)
		fprintf(errors, "signalbox config: there is no command `%s`\n",
			config_quote(str_of(word)).text);
	if (n.word.n)
		fprintf(errors, "  did you mean `" STR_FMT "`?\n", STR_ARG(n.word));
	fputs(usage, errors);
	return USAGE;
}

static bool asks_for_usage(int argc, char *const *argv)
{
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

/* The configuration, or NULL with the exit code. */
static struct config *load(
	const struct config_input *input, bool files, FILE *errors, int *ret_code)
{
	struct config *config = NULL;
	struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
	enum err err = config_load_with(input, files, &config, &text);
	if (err)
		*ret_code = err == ERR_REQUEST ? USAGE : REFUSED;
	fwrite(buf_str(&text).p, 1, text.n, errors);
	buf_free(&text);
	return config;
}

static int check(const struct config_input *input, FILE *out, FILE *errors)
{
	int code = DONE;
	struct config *config = load(input, true, errors, &code);
	const char *file = config_file_name(input);
	if (config)
		fprintf(out, "%s: nothing wrong\n", file ? file : "configuration without a file");
	config_free(&config);
	return code;
}

static int show(const struct config_input *input, FILE *out, FILE *errors)
{
	int code = DONE;
	struct config *config = load(input, false, errors, &code);
	if (config)
		config_show(config, out);
	config_free(&config);
	return code;
}

int config_command(int argc, char *const *argv, char *const *environment, FILE *out, FILE *errors)
{
	if (asks_for_usage(argc, argv)) {
		fputs(usage, out);
		return DONE;
	}
	const char *word = argc > 0 ? argv[0] : "";
	struct config_input input = {.environment = environment};
	if (argc > 1) {
		input.argc = argc - 1;
		input.argv = argv + 1;
	}
	if (!strcmp(word, "check"))
		return check(&input, out, errors);
	if (!strcmp(word, "show"))
		return show(&input, out, errors);
	if (!strcmp(word, "reference")) { /* the same whatever the configuration */
		config_reference(out);
		return DONE;
	}
	return misuse(errors, word);
}
