/* Values from outside the file: environment and command line. Both name keys by their path; lists
 * are texts with commas, lists of records are YAML. */
#include "core/mem.h"
#include "service/config_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define PREFIX "SIGNALBOX_"
#define FILE_VARIABLE PREFIX "CONFIG"

/* The options of the contract that have a short name. An empty path: the file. */
static const struct {
	const char *option, *path;
} short_options[] = {
	{"--config", ""},
	{"--data", "data.directory"},
	{"--listen", "server.listen"},
	{"--workers", "server.workers"},
};
enum { SHORT_OPTIONS = sizeof short_options / sizeof *short_options };

static const struct config_key *key_at(struct str path)
{
	for (const struct config_section *section = config_sections; section->name; section++)
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (!section->record_size && str_is(path, key->path))
				return key;
	return NULL;
}

static const struct config_section *records_named(struct str name)
{
	const struct config_section *section = config_section_named(name);
	return section && section->record_size ? section : NULL;
}

/* Gives the key a value. add: to what is in the list already. */
static void set_value(struct config_loader *l, const struct config_key *key, struct str text,
	const struct config_source *source, bool add)
{
	struct config_origin at = {.source = source};
	struct config_why why = {0};
	void *slot = config_slot(l->config, key);
	l->config->origins->keys[key - config_keys] = at;
	if (!config_is_list(key)) {
		if (!config_parse(key, text, slot, &why))
			config_fault(l, &at, key->path, &why);
		return;
	}
	if (!add)
		config_clear(key, slot);
	struct str item;
	for (struct str rest = text; text.n && config_next_item(&rest, &item);) {
		if (!config_parse(key, item, slot, &why)) {
			config_fault(l, &at, key->path, &why);
			return;
		}
	}
	if (!config_count(key, slot, &why))
		config_fault(l, &at, key->path, &why);
}

/* Variables that begin like ours and are no keys: Kubernetes makes some for a service of our name. */
static bool is_foreign(struct str name)
{
	return str_starts(name, STR(PREFIX "SERVICE_")) || str_is(name, PREFIX "PORT") ||
		str_starts(name, STR(PREFIX "PORT_")) ||
		str_is(name, PREFIX "STORE_FAULT"); /* store/fault.h */
}

/* The key or list of records that the variable names. */
static const struct config_key *key_of_variable(
	struct str name, const struct config_section **ret_records)
{
	char variable[CONFIG_VARIABLE_MAX];
	for (const struct config_section *section = config_sections; section->name; section++) {
		config_variable(section->name, variable);
		if (section->record_size && str_is(name, variable))
			*ret_records = section;
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++) {
			config_variable(key->path, variable);
			if (!section->record_size && str_is(name, variable))
				return key;
		}
	}
	return NULL;
}

static void read_variable(struct config_loader *l, struct str name, struct str value)
{
	const struct config_section *records = NULL;
	const struct config_key *key = key_of_variable(name, &records);
	char *shown = mem_copy((struct str){name.p, name.n < 128 ? name.n : 128});
	const struct config_source *source =
		config_source_add(l, CONFIG_FROM_ENVIRONMENT, shown, value);
	struct config_origin at = {.source = source};
	free(shown);
	if (records)
		config_read_records(l, records, source);
	else if (key)
		set_value(l, key, value, source, false);
	else
		config_unknown(l, &at, CONFIG_SPELL_VARIABLE, NULL,
			(struct str){name.p + sizeof PREFIX - 1, name.n - (sizeof PREFIX - 1)});
}

void config_read_environment(struct config_loader *l, char *const *environment)
{
	for (; environment && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		if (!equals)
			continue;
		struct str name = {*environment, (size_t)(equals - *environment)};
		if (str_starts(name, STR(PREFIX)) && !str_is(name, FILE_VARIABLE) &&
			!is_foreign(name))
			read_variable(l, name, str_of(equals + 1));
	}
}

/* The option's name without its value. */
static struct str option_name(const char *argument)
{
	return (struct str){argument, strcspn(argument, "=")};
}

/* The path that an option means, without dashes; empty for --config; NULL for no option of ours. */
static struct str option_path(struct str option)
{
	struct str none = {NULL, 0};
	for (size_t i = 0; i < SHORT_OPTIONS; i++)
		if (str_is(option, short_options[i].option))
			return str_of(short_options[i].path);
	if (!str_starts(option, STR("--")))
		return none;
	struct str path = {option.p + 2, option.n - 2};
	return memchr(path.p, '.', path.n) || records_named(path) ? path : none;
}

int config_option_words(int argc, char *const *argv)
{
	if (argc < 1 || !option_path(option_name(argv[0])).p)
		return 0;
	return strchr(argv[0], '=') || argc < 2 ? 1 : 2;
}

void config_option_nearest(struct nearest *n)
{
	for (size_t i = 0; i < SHORT_OPTIONS; i++)
		nearest_try(n, str_of(short_options[i].option));
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size)
			nearest_try(n, str_of(section->option));
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (!section->record_size)
				nearest_try(n, str_of(key->option));
	}
}

/* The value of the option in these words, or NULL when there is none. */
static const char *option_value(int words, char *const *argv)
{
	const char *equals = strchr(argv[0], '=');
	return equals ? equals + 1 : words == 2 ? argv[1] : NULL;
}

static const struct config_source *option_source(struct config_loader *l, struct str name)
{
	char *shown = mem_copy((struct str){name.p, name.n < 128 ? name.n : 128});
	const struct config_source *source =
		config_source_add(l, CONFIG_FROM_OPTION, shown, (struct str){"", 0});
	free(shown);
	return source;
}

static void refuse_option(struct config_loader *l, struct str name)
{
	struct config_origin at = {.source = option_source(l, name)};
	struct config_why why = {0};
	struct nearest n = nearest_to(name);
	config_option_nearest(&n);
	if (n.word.n)
		config_instead(&why, STR_FMT, STR_ARG(n.word));
	if (!str_starts(name, STR("-"))) {
		config_refuse(&why, "this word is not expected here");
		config_fault(l, &at, "", &why);
	} else if (n.word.n) {
		config_refuse(&why, "there is no such option");
		config_fault(l, &at, "", &why);
	} else {
		while (name.n && name.p[0] == '-')
			name = (struct str){name.p + 1, name.n - 1};
		config_unknown(l, &at, CONFIG_SPELL_OPTION, NULL, name);
	}
}

static void read_option(struct config_loader *l, struct str name, const char *value)
{
	struct str path = option_path(name);
	const struct config_key *key = key_at(path);
	const struct config_section *records = records_named(path);
	if (path.n && !key && !records) {
		refuse_option(l, name);
		return;
	}
	struct config_source *source = (void *)(uintptr_t)option_source(l, name);
	source->text = str_of(value ? value : "");
	struct config_origin at = {.source = source};
	struct config_why why = {0};
	if (!value) {
		config_refuse(&why, "the value is missing");
		config_fault(l, &at, "", &why);
	} else if (records) {
		config_read_records(l, records, source);
	} else {
		const struct config_source *before =
			l->config->origins->keys[key - config_keys].source;
		set_value(
			l, key, source->text, source, before && before->kind == CONFIG_FROM_OPTION);
	}
}

void config_read_options(struct config_loader *l, int argc, char *const *argv)
{
	for (int i = 0; i < argc;) {
		struct str name = option_name(argv[i]);
		int words = config_option_words(argc - i, argv + i);
		const char *value = words ? option_value(words, argv + i) : NULL;
		if (!words)
			refuse_option(l, name);
		else if (option_path(name).n || !value)
			read_option(l, name, value);
		i += words ? words : 1;
	}
}

const char *config_file_name(const struct config_input *input)
{
	const char *file = NULL;
	static const char variable[] = FILE_VARIABLE "=";
	for (char *const *e = input->environment; e && *e; e++)
		if (!strncmp(*e, variable, sizeof variable - 1) && (*e)[sizeof variable - 1])
			file = *e + sizeof variable - 1;
	for (int i = 0; i < input->argc;) {
		int words = config_option_words(input->argc - i, input->argv + i);
		struct str path =
			words ? option_path(option_name(input->argv[i])) : (struct str){0};
		const char *value = words ? option_value(words, input->argv + i) : NULL;
		if (path.p && !path.n && value)
			file = value;
		i += words ? words : 1;
	}
	return file;
}
