/* Where values come from, and how a fault in one is told:
 *
 *   signalbox.yaml:4:12: limits.batch: `many` is not a whole number
 *       4 |   batch: many
 *         |          ^~~~
 *     did you mean `…`? */
#include "core/mem.h"
#include "service/config_parts.h"

enum { SHOWN_MAX = 96 }; /* characters of a line */

const struct config_source *config_source_add(
	struct config_loader *l, enum config_source_kind kind, const char *name, struct str text)
{
	struct config_source *source = mem_new(struct config_source);
	source->kind = kind;
	source->name = mem_copy(str_of(name));
	config_plain(source->name, strlen(source->name)); /* it stands in lines for people */
	source->text = text;
	source->next = l->config->origins->sources;
	l->config->origins->sources = source;
	return source;
}

struct str config_line(struct str text, unsigned number)
{
	size_t i = 0;
	for (unsigned line = 1; line < number && i < text.n; i++) {
		if (text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n')
			continue;
		line += text.p[i] == '\n' || text.p[i] == '\r';
	}
	struct str line = {text.p + i, 0};
	while (i + line.n < text.n && line.p[line.n] != '\n' && line.p[line.n] != '\r')
		line.n++;
	return line;
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* The byte at which character number n (from 0) begins, or the end. */
static size_t byte_of(struct str line, size_t n)
{
	size_t i = 0;
	for (; i < line.n; i++)
		if (begins_character(line.p[i]) && n-- == 0)
			break;
	return i;
}

/* Where in the line a secret begins: behind the name of a secret key and its colon. */
static size_t secret_in(struct str line)
{
	size_t first = line.n;
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = config_keys + i;
		const char *at = config_is_secret(key)
			? memmem(line.p, line.n, key->name, strlen(key->name))
			: NULL;
		if (!at)
			continue;
		size_t behind = (size_t)(at - line.p) + strlen(key->name);
		behind += behind < line.n && (line.p[behind] == '"' || line.p[behind] == '\'');
		while (behind < line.n && line.p[behind] == ' ')
			behind++;
		if (behind < line.n && line.p[behind] == ':' && behind + 1 < first)
			first = behind + 1;
	}
	return first;
}

static void add_shown(struct buf *out, struct str part)
{
	size_t before = out->n;
	buf_adds(out, part);
	if (!out->err)
		config_plain(out->p + before, part.n);
}

/* The line with a caret below. A long line is shown around the place; no secret is shown. */
static void add_excerpt(struct buf *out, const struct config_origin *at)
{
	struct str line = config_line(at->source->text, at->line);
	struct str open = {line.p, secret_in(line)};
	size_t behind = byte_of(line, at->column - 1 + at->width);
	behind += behind < line.n && line.p[behind] == ':';
	if (at->hide && behind < open.n)
		open.n = behind;
	size_t place = byte_of(open, at->column - 1);
	size_t column = 0, from = 0;
	for (size_t i = 0; i < place; i++)
		column += begins_character(line.p[i]);
	if (column >= SHOWN_MAX - 16) {
		from = byte_of(open, column - SHOWN_MAX / 2);
		column = SHOWN_MAX / 2;
	}
	struct str shown = {line.p + from, open.n - from};
	size_t cut = byte_of(shown, SHOWN_MAX);
	bool cut_off = cut < shown.n;
	shown.n = cut;
	buf_addf(out, "  %5u | %s", at->line, from ? "…" : "");
	add_shown(out, shown);
	buf_addf(out, "%s\n        | ", cut_off ? "…" : open.n < line.n ? " ***" : "");
	for (size_t i = 0; i < column + (from > 0); i++)
		buf_addc(out, ' ');
	buf_addc(out, '^');
	for (unsigned i = 1; i < at->width && column + i < SHOWN_MAX && place + i < open.n; i++)
		buf_addc(out, '~');
	buf_addc(out, '\n');
}

bool config_fault_is_told(const struct config_loader *l)
{
	return l->faults < CONFIG_ERRORS_MAX;
}

void config_fault(struct config_loader *l, const struct config_origin *at, const char *about,
	const struct config_why *why)
{
	const struct config_source *source = at->source;
	bool told = config_fault_is_told(l);
	l->faults++;
	l->usage |= source && source->kind == CONFIG_FROM_OPTION;
	if (!told)
		return;
	if (source && at->line)
		buf_addf(l->errors, "%s:%u:%u: ", source->name, at->line, at->column);
	else if (source)
		buf_addf(l->errors, "%s: ", source->name);
	/* A variable or option names its key itself. */
	if (*about && (!source || source->kind == CONFIG_FROM_FILE || at->line))
		buf_addf(l->errors, "%s: ", about);
	buf_addf(l->errors, "%s\n", why->text);
	if (source && at->line)
		add_excerpt(l->errors, at);
	if (*why->instead)
		buf_addf(l->errors, "  did you mean `%s`?\n", why->instead);
}

void config_faults_end(struct config_loader *l)
{
	if (l->faults > CONFIG_ERRORS_MAX)
		buf_addf(l->errors, "and %u more\n", l->faults - CONFIG_ERRORS_MAX);
}

void config_origin_print(const struct config_origin *at, struct buf *out)
{
	if (!at->source) {
		buf_addf(out, "default");
		return;
	}
	buf_addf(out, "%s", at->source->name);
	if (at->source->kind == CONFIG_FROM_FILE && at->line)
		buf_addf(out, ":%u", at->line);
}

/* The first key of any section with this name: `listen` is meant as server.listen. */
static const struct config_key *key_anywhere(struct str name)
{
	for (const struct config_section *section = config_sections; section->name; section++)
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (!section->record_size && nearest_distance(name, str_of(key->name)) == 0)
				return key;
	return NULL;
}

static void spell(struct config_why *why, enum config_spelling spelling, const char *path)
{
	char variable[CONFIG_VARIABLE_MAX];
	config_variable(path, variable);
	config_instead(why, "%s%s", spelling == CONFIG_SPELL_OPTION ? "--" : "",
		spelling == CONFIG_SPELL_VARIABLE ? variable : path);
}

/* The nearest path (of keys of sections, and of lists of records). */
static struct nearest nearest_path(struct str name)
{
	struct nearest n = nearest_to(name);
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size)
			nearest_try(&n, str_of(section->name));
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			if (!section->record_size)
				nearest_try(&n, str_of(key->path));
	}
	return n;
}

static void suggest(struct config_why *why, enum config_spelling spelling,
	const struct config_section *scope, struct str name)
{
	struct nearest n = nearest_to(name);
	if (name.n > NEAREST_MAX)
		return;
	if (scope) {
		for (const struct config_key *key = config_first(scope); key < config_end(scope);
			key++)
			nearest_try(&n, str_of(key->name));
	} else if (spelling == CONFIG_SPELL_YAML) {
		for (const struct config_section *section = config_sections; section->name;
			section++)
			nearest_try(&n, str_of(section->name));
	} else {
		n = nearest_path(name);
	}
	const struct config_key *elsewhere = n.word.n ? NULL : key_anywhere(name);
	if (n.word.n && spelling == CONFIG_SPELL_YAML)
		config_instead(why, STR_FMT, STR_ARG(n.word));
	else if (n.word.n)
		spell(why, spelling, n.word.p); /* a whole path of the table: it is terminated */
	else if (elsewhere)
		spell(why, spelling, elsewhere->path);
}

void config_unknown(struct config_loader *l, const struct config_origin *place,
	enum config_spelling spelling, const struct config_section *scope, struct str name)
{
	static const char *const nouns[] = {"section", "variable", "option"};
	struct config_why why = {0};
	struct config_origin at = *place;
	if (scope)
		for (const struct config_key *key = config_first(scope); key < config_end(scope);
			key++)
			at.hide |= config_is_secret(key); /* this may be one, misspelt */
	if (scope)
		config_refuse(
			&why, "there is no key `%s` in `%s`", config_quote(name).text, scope->name);
	else if (spelling == CONFIG_SPELL_YAML)
		config_refuse(
			&why, "there is no %s `%s`", nouns[spelling], config_quote(name).text);
	else
		config_refuse(&why, "there is no such %s", nouns[spelling]);
	if (config_fault_is_told(l))
		suggest(&why, spelling, scope, name);
	config_fault(l, &at, "", &why);
}
