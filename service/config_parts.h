/* config_parts.h: what the files config*.c share, and nobody else includes (tests aside).
 * Thread: the caller's of config.h. Memory: bounded by CONFIG_FILE_MAX and the table's maxima. */
#pragma once

#include "core/nearest.h"
#include "service/config.h"

/* The table (config_table.c). */

enum config_type {
	CONFIG_BOOL,
	CONFIG_INT,
	CONFIG_DURATION,
	CONFIG_SIZE,
	CONFIG_WORD,
	CONFIG_TEXT,
	CONFIG_SECRET,
	CONFIG_NAME,
	CONFIG_PATH,
	CONFIG_DIRECTORY,
	CONFIG_ADDRESS,
	CONFIG_URL,
	CONFIG_ASK_URL,
	CONFIG_CLAIM,
	CONFIG_TEXTS, /* from here on: lists */
	CONFIG_CLAIMS,
	CONFIG_ROLES,
	CONFIG_WORDS,
	CONFIG_ADDRESSES,
	CONFIG_NETWORKS,
	CONFIG_ORIGINS,
	CONFIG_ICE_URLS,
	CONFIG_TYPES
};

struct config_key {
	const char *section;
	const char *name;
	const char *path;   /* "server.listen" */
	const char *option; /* "--server.listen" */
	enum config_type type;
	const char *text; /* the default; NULL: must be given */
	int64_t min, max;
	const char *of;
	const char *meaning;
	size_t offset; /* in struct config, or in the record */
	size_t size;   /* of the value there */
	bool at_start; /* read at the start alone; of fields their section says so */
};

struct config_section {
	const char *name;
	const char *option; /* "--issuers": records only */
	const char *meaning;
	size_t first, count; /* its rows in config_keys */
	size_t record_size;  /* 0: a section and no list of records */
	size_t offset;       /* records: of {items, count} in struct config */
	size_t max;          /* records: how many */
	bool at_start;       /* records: read at the start alone */
};

/* {items, count} of any list of records. */
struct config_records {
	void *items;
	size_t count;
};

extern const struct config_section config_sections[]; /* a NULL name ends it */
extern const size_t config_section_count, config_key_count;
extern const struct config_key config_keys[];

const struct config_section *config_section_named(struct str name);
const struct config_key *config_key_named(const struct config_section *section, struct str name);

/* "SIGNALBOX_SERVER_LISTEN" for "server.listen". */
enum { CONFIG_VARIABLE_MAX = 96 };
void config_variable(const char *path, char out[CONFIG_VARIABLE_MAX]);

/* Types (config_type.c) and values (config_value.c). */

/* Why a value is refused, and what could be written instead (or ""). */
struct config_why {
	char text[512];
	char instead[256];
};
/* Sets the text and returns false. */
bool config_refuse(struct config_why *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void config_instead(struct config_why *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Puts `?` in the place of control characters, and of all beyond ASCII where it is not UTF-8. */
void config_plain(char *text, size_t n);
/* The text as it may be shown: cut after 60 bytes, and made plain. */
struct config_quote {
	char text[80];
};
struct config_quote config_quote(struct str text);

bool config_is_list(const struct config_key *key);
bool config_is_secret(const struct config_key *key);
/* Whether the text will do for the value, or for an item of the list. Types kept as text only. */
bool config_check_text(const struct config_key *key, struct str text, struct config_why *why);
/* What to write: "list of ADDR:PORT", "one of text, json". */
void config_describe(const struct config_key *key, struct buf *out);
/* Takes the next of words with "|" between them; false after the last. */
bool config_next_word(const char **words, struct str *ret_word);

/* Writes the value into the slot, or adds it to the list there; refused, nothing has changed. */
bool config_parse(
	const struct config_key *key, struct str text, void *slot, struct config_why *why);
/* Whether the list has as many items as it must. */
bool config_count(const struct config_key *key, const void *slot, struct config_why *why);
void config_clear(const struct config_key *key, void *slot); /* frees what it holds, sets 0 */
void config_print(const struct config_key *key, const void *slot, struct buf *out); /* as YAML */
/* Its range, as in " from 1KiB to 64KiB" or ", 1 to 16"; nothing for single texts. */
void config_print_range(const struct config_key *key, struct buf *out);
/* Items of a text with commas between; false after the last. */
bool config_next_item(struct str *rest, struct str *ret_item);

/* Where a value comes from, and faults in it (config_fault.c). */

enum config_source_kind {
	CONFIG_FROM_DEFAULT,
	CONFIG_FROM_FILE,
	CONFIG_FROM_ENVIRONMENT,
	CONFIG_FROM_OPTION
};

struct config_source {
	enum config_source_kind kind;
	char *name;      /* of the file, the variable, the option */
	struct str text; /* what lines are shown from, while loading */
	struct config_source *next;
};

struct config_origin {
	const struct config_source *source; /* NULL: the default */
	unsigned line, column;              /* from 1; 0: the source has none */
	unsigned width;                     /* how much the caret underlines */
	bool hide;                          /* what stands behind it in the line may be a secret */
};

struct config_records_origin {
	struct config_origin list;
	struct config_origin *fields; /* count of records times count of fields */
};

struct config_origins {
	struct config_source *sources;
	struct config_origin *keys;            /* as config_keys; of records unused */
	struct config_records_origin *records; /* as config_sections */
};

struct config_loader {
	struct config *config;
	struct buf *errors;
	unsigned faults;
	bool usage; /* a fault lies in the command line */
};

/* The source is the configuration's from here on. */
const struct config_source *config_source_add(
	struct config_loader *l, enum config_source_kind kind, const char *name, struct str text);
/* One fault, at a place. `about` is the key's path, or "" when the text says it all. */
void config_fault(struct config_loader *l, const struct config_origin *at, const char *about,
	const struct config_why *why);
/* Whether a further fault will be told in full: if not, looking for a near word is wasted. */
bool config_fault_is_told(const struct config_loader *l);
/* When more were found than told, says how many. */
void config_faults_end(struct config_loader *l);
/* The line with this number, from 1. LF, CRLF and CR end lines, as libyaml has it. */
struct str config_line(struct str text, unsigned number);
/* "default", "FILE:LINE", "SIGNALBOX_X", "--x". */
void config_origin_print(const struct config_origin *at, struct buf *out);

/* Whether the source is text at all: not too long, UTF-8, no control characters. Tells if not. */
bool config_readable(struct config_loader *l, const struct config_source *source);
/* Writes defaults: into a section (base is the struct config) or a record (base is the record). */
void config_set_defaults(const struct config_section *section, void *base);
void config_clear_records(struct config *config, const struct config_section *section);

/* Reading (config_yaml.c, config_outside.c), and what must hold between keys (config_rules.c). */

void config_read_yaml(struct config_loader *l, const struct config_source *source);
/* The text of one list of records alone, from environment or command line. */
void config_read_records(struct config_loader *l, const struct config_section *section,
	const struct config_source *source);
void config_read_environment(struct config_loader *l, char *const *environment);
void config_read_options(struct config_loader *l, int argc, char *const *argv);
/* The file that options or else the environment name, or NULL. */
const char *config_file_name(const struct config_input *input);
void config_rules(struct config_loader *l);
/* That the files which the configuration names can be read. */
void config_rules_of_files(struct config_loader *l);

/* A key that does not exist: says so, with the nearest. `scope` is the section, or NULL. */
enum config_spelling { CONFIG_SPELL_YAML, CONFIG_SPELL_VARIABLE, CONFIG_SPELL_OPTION };
void config_unknown(struct config_loader *l, const struct config_origin *at,
	enum config_spelling spelling, const struct config_section *scope, struct str name);

/* Loading in full: like config_load, with files looked at too when `files`. */
enum err config_load_with(const struct config_input *input, bool files, struct config **ret_config,
	struct buf *errors);
/* The configuration as YAML; with_origins adds where each value comes from. */
void config_render(const struct config *config, bool with_origins, struct buf *out);
void config_render_reference(struct buf *out);

/* Access by row. */
static inline const struct config_key *config_first(const struct config_section *section)
{
	return config_keys + section->first;
}

static inline const struct config_key *config_end(const struct config_section *section)
{
	return config_keys + section->first + section->count;
}

static inline void *config_slot(void *base, const struct config_key *key)
{
	return (char *)base + key->offset;
}

static inline struct config_records *config_records_of(
	const struct config *config, const struct config_section *section)
{
	return (struct config_records *)(void *)((char *)(uintptr_t)config + section->offset);
}
