/* config.h: what the operator decided, as typed fields. The table service/config_keys.def says
 * which keys there are, with type, default, range and meaning: the key `limits.message` is
 * config->limits.message, and issuers are config->issuers.items[i].alias.
 *
 * A value comes from the command line (--limits.message=64KiB), else from the environment
 * (SIGNALBOX_LIMITS_MESSAGE), else from the file (YAML), else it is the default.
 * Units: DURATION fields are milliseconds, SIZE fields bytes. Texts are never NULL.
 * Thread: made and freed by main, changed by it while no other thread runs (service/reload.h);
 * otherwise it is read-only, for any thread. */
#pragma once

#include "core/buf.h"

#include <stdint.h>
#include <stdio.h>

struct config_list {
	char **items;
	size_t count;
};

/* The C type of each type of key. */
#define CONFIG_AS_BOOL bool
#define CONFIG_AS_INT unsigned
#define CONFIG_AS_DURATION int64_t
#define CONFIG_AS_SIZE size_t
#define CONFIG_AS_WORD int /* the word's place in the row; see the enums below */
#define CONFIG_AS_TEXT const char *
#define CONFIG_AS_SECRET const char *
#define CONFIG_AS_NAME const char *
#define CONFIG_AS_PATH const char *
#define CONFIG_AS_DIRECTORY const char *
#define CONFIG_AS_ADDRESS const char *
#define CONFIG_AS_URL const char *
#define CONFIG_AS_ASK_URL const char *
#define CONFIG_AS_CLAIM const char *
#define CONFIG_AS_TEXTS struct config_list
#define CONFIG_AS_CLAIMS struct config_list
#define CONFIG_AS_ROLES struct config_list
#define CONFIG_AS_WORDS struct config_list
#define CONFIG_AS_ADDRESSES struct config_list
#define CONFIG_AS_NETWORKS struct config_list
#define CONFIG_AS_ORIGINS struct config_list
#define CONFIG_AS_ICE_URLS struct config_list

/* clang-format off */
struct config {
#define SECTION(name, meaning) struct {
#define KEY(section, name, type, ...) CONFIG_AS_##type name;
#define END_SECTION(name) } name;
#define RECORDS(name, tag, max, meaning) struct { struct tag {
#define FIELD(records, name, type, ...) CONFIG_AS_##type name;
#define END_RECORDS(name) } *items; size_t count; } name;
#include "service/config_keys.def"
#undef SECTION
#undef KEY
#undef END_SECTION
#undef RECORDS
#undef FIELD
#undef END_RECORDS
	struct config_origins *origins; /* where each value came from, for `config show` */
};
/* clang-format on */

enum config_sign_up {
	CONFIG_SIGN_UP_OPEN,
	CONFIG_SIGN_UP_INVITATION,
	CONFIG_SIGN_UP_CLOSED
}; /* issuer.sign_up */
/* room_templates.visibility; create and maker_role are read by service/serve.c */
enum config_visibility { CONFIG_VISIBILITY_PUBLIC, CONFIG_VISIBILITY_PRIVATE };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON }; /* log.format */
enum config_presence_visible {
	CONFIG_PRESENCE_ANYONE,
	CONFIG_PRESENCE_NOBODY
};                                                                 /* presence.visible */
enum config_calls_busy { CONFIG_CALLS_REFUSE, CONFIG_CALLS_RING }; /* calls.busy */
/* log.level is an enum log_level (core/log.h). */

enum {
	CONFIG_FILE_MAX = 256 * 1024,
	CONFIG_ERRORS_MAX = 20,        /* told one by one; of more only how many */
	CONFIG_TEXT_MAX = 1024 * 1024, /* room that error text needs at most: BUF_INIT(…) */
};

struct config_input {
	char *const *environment; /* as environ, NULL at its end; or NULL for none */
	char *const *argv;        /* configuration options and nothing else (config_option_words) */
	int argc;
	const struct str *text; /* instead of reading the file --config names: its bytes. Or NULL */
};

/* Reads everything: the file that --config or SIGNALBOX_CONFIG names, if one does, environment and
 * options. On ERR_OK the caller owns *ret_config. Else *errors holds, for a person, what is wrong
 * and where, with the nearest right word: ERR_REQUEST when the command line is at fault, ERR_PARAMS
 * otherwise. */
enum err config_load(
	const struct config_input *input, struct config **ret_config, struct buf *errors);
void config_free(struct config **config);

/* The items as spans of the list's bytes; the array is the caller's to free. */
struct str *config_spans(const struct config_list *list);

/* Tells of each key that differs between the two, a list of records by its name. at_start: it cannot
 * change while the service runs. */
#define CONFIG_NEEDS_RESTART "needs a restart"
typedef void config_difference(void *context, const char *path, bool at_start);
void config_compare(const struct config *running, const struct config *fresh,
	config_difference *tell, void *context);
/* Puts the values of fresh that can change in force into running, and those they replace into fresh:
 * what points to one of these is good until fresh is freed, what points to any other stays good. */
void config_exchange(struct config *running, struct config *fresh);

/* How many of these arguments make one configuration option: 2 (`--data DIR`), 1
 * (`--log.level=debug`, or what should have had a value), 0 when argv[0] is not one. A command with
 * options of its own sorts its arguments with this and passes those of the configuration on. */
int config_option_words(int argc, char *const *argv);

/* Tries the names of all configuration options, for an option that nobody knows. */
struct nearest;
void config_option_nearest(struct nearest *n);

/* The configuration in force as YAML, each value with where it came from; secrets as "***". */
void config_show(const struct config *config, FILE *out);

/* Every key with its meaning, range and default, as YAML that is itself a configuration. */
void config_reference(FILE *out);

/* `signalbox config check|show|reference …`: argv are the words after `config`. The exit code:
 * 0 done, 1 refused, 2 usage. */
int config_command(int argc, char *const *argv, char *const *environment, FILE *out, FILE *errors);
