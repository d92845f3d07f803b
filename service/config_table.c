/* The rows of config_keys.def as data. */
#include "core/principal.h"
#include "service/config_parts.h"

#define KIB ((int64_t)1024)
#define MIB (1024 * KIB)
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define SCOPE(name, word) "|" word
#define SCOPE_WORDS SCOPES(SCOPE)

#define ROW(section_, name_, type_, text_, min_, max_, of_, meaning_, offset_, at_start_) \
	{.section = #section_, \
		.name = #name_, \
		.path = #section_ "." #name_, \
		.option = "--" #section_ "." #name_, \
		.type = CONFIG_##type_, \
		.text = text_, \
		.min = min_, \
		.max = max_, \
		.of = of_, \
		.meaning = meaning_, \
		.offset = offset_, \
		.size = sizeof(CONFIG_AS_##type_), \
		.at_start = at_start_},
#define ROW_OF_SECTION(section, name, type, text, min, max, of, meaning, at_start) \
	ROW(section, name, type, text, min, max, of, meaning, \
		offsetof(struct config, section.name), at_start)

const struct config_key config_keys[] = {
#define SECTION(name, meaning)
#define KEY(...) ROW_OF_SECTION(__VA_ARGS__, false)
#define KEY_AT_START(...) ROW_OF_SECTION(__VA_ARGS__, true)
#define END_SECTION(name)
#define RECORDS(name, tag, max, meaning)
#define RECORDS_AT_START(name, tag, max, meaning)
#define FIELD(list, name, type, text, min, max, of, meaning) \
	ROW(list, name, type, text, min, max, of, meaning, \
		offsetof(__typeof__(*((struct config *)0)->list.items), name), false)
#define END_RECORDS(name)
#include "service/config_keys.def"
#undef SECTION
#undef KEY
#undef END_SECTION
#undef RECORDS
#undef FIELD
#undef END_RECORDS
};

/* The places of the rows: AT_x_y for each, FIRST_x and END_x around those of a section. */
enum {
#define SECTION(name, meaning) FIRST_##name, BEFORE_##name = FIRST_##name - 1,
#define KEY(section, name, ...) AT_##section##_##name,
#define END_SECTION(name) END_##name, LAST_##name = END_##name - 1,
#define RECORDS(name, tag, max, meaning) SECTION(name, meaning)
#define FIELD(list, name, ...) AT_##list##_##name,
#define END_RECORDS(name) END_SECTION(name)
#include "service/config_keys.def"
#undef SECTION
#undef KEY
#undef END_SECTION
#undef RECORDS
#undef FIELD
#undef END_RECORDS
};

const struct config_section config_sections[] = {
#define SECTION(name_, meaning_) \
	{.name = #name_, \
		.option = "", \
		.meaning = meaning_, \
		.first = FIRST_##name_, \
		.count = END_##name_ - FIRST_##name_},
#define KEY(...)
#define KEY_AT_START(...)
#define END_SECTION(name)
#define SECTION_OF_RECORDS(name_, tag_, max_, meaning_, at_start_) \
	{.name = #name_, \
		.option = "--" #name_, \
		.meaning = meaning_, \
		.first = FIRST_##name_, \
		.count = END_##name_ - FIRST_##name_, \
		.record_size = sizeof(struct tag_), \
		.offset = offsetof(struct config, name_), \
		.max = max_, \
		.at_start = at_start_},
#define RECORDS(...) SECTION_OF_RECORDS(__VA_ARGS__, false)
#define RECORDS_AT_START(...) SECTION_OF_RECORDS(__VA_ARGS__, true)
#define FIELD(...)
#define END_RECORDS(name)
#include "service/config_keys.def"
	{0},
};

const size_t config_key_count = sizeof config_keys / sizeof *config_keys;
const size_t config_section_count = sizeof config_sections / sizeof *config_sections - 1;

const struct config_section *config_section_named(struct str name)
{
	for (const struct config_section *section = config_sections; section->name; section++)
		if (str_is(name, section->name))
			return section;
	return NULL;
}

const struct config_key *config_key_named(const struct config_section *section, struct str name)
{
	for (const struct config_key *key = config_first(section); key < config_end(section); key++)
		if (str_is(name, key->name))
			return key;
	return NULL;
}

void config_variable(const char *path, char out[CONFIG_VARIABLE_MAX])
{
	static const char prefix[] = "SIGNALBOX_";
	size_t n = sizeof prefix - 1;
	memcpy(out, prefix, n);
	for (; *path && n < CONFIG_VARIABLE_MAX - 1; path++, n++) {
		char c = *path;
		out[n] = c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	out[n] = 0;
}
