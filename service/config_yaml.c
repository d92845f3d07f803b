/* Reads YAML into the configuration: the events of libyaml, walked by the table. Each read_
 * function is called with the first event of its node at hand and leaves with the last one at hand.
 * What is not understood is told and passed over, so that one reading finds all faults; only when
 * the text is no YAML at all it ends there.
 *
 * Of YAML itself only what a configuration needs is taken: no aliases, anchors, tags or second
 * documents, and no depth but what the table has. So nothing can grow past the text. */
#include "core/mem.h"
#include "service/config_parts.h"

#include <stdlib.h>
#include <yaml.h>

enum { DEPTH_MAX = 8 };

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the one at hand */
	bool held;          /* there is one, to be deleted */
	bool dead;          /* no more events: the text is no YAML, or ended */
	unsigned depth;
	struct config_loader *l;
	const struct config_source *source;
};

/* The place of the event at hand. */
static struct config_origin here(const struct reader *r)
{
	const yaml_mark_t *from = &r->event.start_mark, *to = &r->event.end_mark;
	size_t width =
		from->line == to->line && to->column > from->column ? to->column - from->column : 1;
	return (struct config_origin){.source = r->source,
		.line = (unsigned)from->line + 1,
		.column = (unsigned)from->column + 1,
		.width = (unsigned)width};
}

static void fault(struct reader *r, const char *about, const char *text)
{
	if (r->event.type == YAML_ALIAS_EVENT && *about)
		return; /* refuse_extras told of it */
	struct config_origin at = here(r);
	struct config_why why = {0};
	config_refuse(&why, "%s", text);
	config_fault(r->l, &at, about, &why);
}

/* What a person most likely did when libyaml gives up. */
static const char *likely(const struct reader *r, const yaml_mark_t *mark)
{
	const char *context = r->parser.context ? r->parser.context : "";
	struct str line = config_line(r->source->text, (unsigned)mark->line + 1);
	if (strstr(context, "alias"))
		return "; a text that begins with * stands in quotes";
	if (memmem(line.p, line.n, "[:", 2) || memmem(line.p, line.n, "]:", 2))
		return "; an address with brackets stands in quotes, as in \"[::1]:8080\"";
	if (memchr(line.p, '\t', line.n))
		return "; YAML is indented with spaces, not with tabs";
	return "";
}

static void fault_of_parser(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	/* At the end of the text there is nothing to point at: what was not ended is better. */
	bool at_end = !config_line(r->source->text, (unsigned)p->problem_mark.line + 1).n;
	const yaml_mark_t *mark = at_end && p->context ? &p->context_mark : &p->problem_mark;
	struct config_origin at = {.source = r->source,
		.line = (unsigned)mark->line + 1,
		.column = (unsigned)mark->column + 1,
		.width = 1};
	struct config_why why = {0};
	config_refuse(&why, "this is not YAML: %s%s%s%s", p->context ? p->context : "",
		p->context ? ", " : "", p->problem ? p->problem : "it cannot be read",
		likely(r, mark));
	config_fault(r->l, &at, "", &why);
}

/* Anchors and tags mean nothing here, and an alias would repeat what is elsewhere. */
static void refuse_extras(struct reader *r)
{
	const yaml_event_t *e = &r->event;
	const void *anchor = NULL, *tag = NULL;
	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	} else if (e->type == YAML_ALIAS_EVENT) {
		fault(r, "", "aliases are not taken; a text that begins with * stands in quotes");
	}
	if (anchor)
		fault(r, "", "anchors are not taken; a text that begins with & stands in quotes");
	if (tag)
		fault(r, "", "tags are not taken; a text that begins with ! stands in quotes");
}

/* Brings the next event to hand. False when there is none. */
static bool next(struct reader *r)
{
	if (r->held)
		yaml_event_delete(&r->event);
	r->held = false;
	if (r->dead)
		return false;
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		fault_of_parser(r);
		r->dead = true;
		return false;
	}
	r->held = true;
	yaml_event_type_t type = r->event.type;
	if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
		r->depth++;
	if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
		r->depth--;
	if (r->depth > DEPTH_MAX) {
		fault(r, "", "this is nested deeper than any configuration");
		r->dead = true;
		return false;
	}
	refuse_extras(r);
	return true;
}

/* Passes over the node at hand. */
static void skip(struct reader *r)
{
	yaml_event_type_t type = r->event.type;
	if (type != YAML_MAPPING_START_EVENT && type != YAML_SEQUENCE_START_EVENT)
		return;
	for (unsigned around = r->depth - 1; r->depth > around;)
		if (!next(r))
			return;
}

static bool is_scalar(const struct reader *r)
{
	return r->event.type == YAML_SCALAR_EVENT;
}

static struct str scalar(const struct reader *r)
{
	return (struct str){(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
}

/* Nothing was written: `key:` or one of YAML's words for nothing. */
static bool is_nothing(const struct reader *r)
{
	if (!is_scalar(r) || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	struct str text = scalar(r);
	return !text.n || str_is(text, "~") || str_is(text, "null") || str_is(text, "Null") ||
		str_is(text, "NULL");
}

static void read_list(struct reader *r, const struct config_key *key, void *slot)
{
	struct config_list list = {0};
	struct config_origin at = here(r);
	unsigned before = r->l->faults;
	while (next(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		struct config_origin item = here(r);
		struct config_why why = {0};
		if (!is_scalar(r) || is_nothing(r)) {
			fault(r, key->path,
				"an item of this list is a text, in quotes when it has brackets");
			skip(r);
		} else if (!config_parse(key, scalar(r), &list, &why)) {
			config_fault(r->l, &item, key->path, &why);
		}
	}
	struct config_why why = {0};
	if (r->l->faults == before && !config_count(key, &list, &why))
		config_fault(r->l, &at, key->path, &why);
	config_clear(key, slot);
	memcpy(slot, &list, sizeof list);
}

static void read_value(struct reader *r, const struct config_key *key, void *slot)
{
	struct config_why why = {0};
	struct config_origin at = here(r);
	if (is_nothing(r)) {
		fault(r, key->path,
			config_is_list(key) ? "there is no value; an empty list is written []"
					    : "there is no value; leave the key out instead");
	} else if (config_is_list(key)) {
		if (r->event.type == YAML_SEQUENCE_START_EVENT) {
			read_list(r, key, slot);
			return;
		}
		fault(r, key->path, "this is a list: write [A, B], or a line with `- A` for each");
		skip(r);
	} else if (!is_scalar(r)) {
		fault(r, key->path, "this takes one value, not a list or a mapping");
		skip(r);
	} else if (!config_parse(key, scalar(r), slot, &why)) {
		config_fault(r->l, &at, key->path, &why);
	}
}

/* The key at hand, when it is one; otherwise told, and passed over with its value. */
static bool take_key(struct reader *r, struct str *ret_name, struct config_origin *ret_at)
{
	if (is_scalar(r)) {
		*ret_name = scalar(r);
		*ret_at = here(r);
		return true;
	}
	fault(r, "", "a key is a word");
	skip(r);
	if (next(r))
		skip(r);
	return false;
}

/* Tells of a key that stands there twice, and passes over its value. */
static void refuse_double(struct reader *r, const struct config_origin *at,
	const struct config_origin *first, const char *about)
{
	struct config_why why = {0};
	config_refuse(&why, "this stands here a second time; the first is in line %u", first->line);
	config_fault(r->l, at, about, &why);
	if (next(r))
		skip(r);
}

/* The keys of one section or record. origins has a place for each. */
static void read_keys(struct reader *r, const struct config_section *section, void *base,
	struct config_origin *origins)
{
	while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		struct str name;
		struct config_origin at;
		if (!take_key(r, &name, &at))
			continue;
		const struct config_key *key = config_key_named(section, name);
		if (!key) {
			config_unknown(r->l, &at, CONFIG_SPELL_YAML, section, name);
			if (next(r))
				skip(r);
			continue;
		}
		struct config_origin *origin = origins + (key - config_keys - (long)section->first);
		if (origin->source == r->source) {
			refuse_double(r, &at, origin, key->path);
			continue;
		}
		if (!next(r))
			return;
		*origin = config_is_list(key) ? at : here(r);
		read_value(r, key, config_slot(base, key));
	}
}

/* A record with all defaults at the end of the list, and places for its origins. */
static void *add_record(struct config_loader *l, const struct config_section *section)
{
	struct config_records *records = config_records_of(l->config, section);
	struct config_records_origin *origin =
		l->config->origins->records + (section - config_sections);
	size_t size = section->record_size, fields = section->count;
	records->items = mem_resize(records->items, records->count + 1, size);
	origin->fields =
		mem_resize(origin->fields, (records->count + 1) * fields, sizeof *origin->fields);
	memset(origin->fields + records->count * fields, 0, fields * sizeof *origin->fields);
	void *record = (char *)records->items + records->count++ * size;
	memset(record, 0, size);
	config_set_defaults(section, record);
	return record;
}

static void read_record(struct reader *r, const struct config_section *section)
{
	struct config_origin at = here(r);
	void *record = add_record(r->l, section);
	struct config_records *records = config_records_of(r->l->config, section);
	struct config_origin *origins =
		r->l->config->origins->records[section - config_sections].fields +
		(records->count - 1) * section->count;
	read_keys(r, section, record, origins);
	for (const struct config_key *key = config_first(section); key < config_end(section);
		key++) {
		struct config_why why = {0};
		if (key->text || origins[key - config_keys - (long)section->first].source ||
			r->dead)
			continue;
		config_refuse(&why, "this record needs `%s`", key->name);
		config_fault(r->l, &at, section->name, &why);
	}
}

static void read_record_list(struct reader *r, const struct config_section *section)
{
	if (r->event.type != YAML_SEQUENCE_START_EVENT) {
		fault(r, section->name,
			"this is a list of records: each begins with `- ` and its first key");
		skip(r);
		return;
	}
	config_clear_records(r->l->config, section);
	r->l->config->origins->records[section - config_sections].list = here(r);
	while (next(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		bool full = config_records_of(r->l->config, section)->count == section->max;
		if (r->event.type == YAML_MAPPING_START_EVENT && !full) {
			read_record(r, section);
			continue;
		}
		fault(r, section->name,
			full ? "there are too many records" : "a record has keys with values");
		skip(r);
	}
}

/* The value of a section at hand. */
static void read_section(struct reader *r, const struct config_section *section)
{
	struct config *config = r->l->config;
	if (is_nothing(r)) /* all that is below it is comments */
		return;
	if (section->record_size) {
		read_record_list(r, section);
	} else if (r->event.type == YAML_MAPPING_START_EVENT) {
		read_keys(r, section, config, config->origins->keys + section->first);
	} else {
		fault(r, section->name, "this is a section: its keys stand below it, indented");
		skip(r);
	}
}

static void read_sections(struct reader *r)
{
	struct config_origin *seen = mem_alloc(config_section_count * sizeof(struct config_origin));
	while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		struct str name;
		struct config_origin at;
		if (!take_key(r, &name, &at))
			continue;
		const struct config_section *section = config_section_named(name);
		struct config_origin *first = section ? seen + (section - config_sections) : NULL;
		if (!section) {
			config_unknown(r->l, &at, CONFIG_SPELL_YAML, NULL, name);
			if (next(r))
				skip(r);
		} else if (first->line) {
			refuse_double(r, &at, first, section->name);
		} else if (next(r)) {
			*first = at;
			read_section(r, section);
		}
	}
	free(seen);
}

/* All of it: only the sections when list is NULL, else the records of that list. */
static void read_documents(struct reader *r, const struct config_section *list)
{
	bool first = true;
	while (next(r) && r->event.type != YAML_STREAM_END_EVENT) {
		yaml_event_type_t type = r->event.type;
		if (type == YAML_DOCUMENT_START_EVENT && !first) {
			fault(r, "", "a second document begins here; a configuration is one");
			return;
		}
		if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
			type == YAML_DOCUMENT_END_EVENT)
			continue;
		first = false;
		if (list) {
			read_record_list(r, list);
		} else if (type == YAML_MAPPING_START_EVENT) {
			read_sections(r);
		} else if (!is_nothing(r)) {
			fault(r, "", "a configuration has sections (`server:`) with keys below");
			skip(r);
		}
	}
}

static void read_all(struct config_loader *l, const struct config_section *list,
	const struct config_source *source)
{
	struct reader r = {.l = l, .source = source};
	if (!config_readable(l, source))
		return;
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&r.parser, (const unsigned char *)source->text.p, source->text.n);
	read_documents(&r, list);
	if (r.held)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
}

void config_read_yaml(struct config_loader *l, const struct config_source *source)
{
	read_all(l, NULL, source);
}

void config_read_records(struct config_loader *l, const struct config_section *section,
	const struct config_source *source)
{
	read_all(l, section, source);
}
