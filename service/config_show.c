/* The configuration as text: in force (`config show`), and explained (`config reference`). */
#include "core/json_out.h"
#include "service/config_parts.h"

#include <stdio.h>

enum { WRAP = 96, RENDER_MAX = 4 * 1024 * 1024 };

static void print_value(const struct config_key *key, const void *slot, struct buf *out)
{
	if (config_is_secret(key) && **(const char *const *)slot)
		buf_addf(out, "\"***\"");
	else
		config_print(key, slot, out);
}

static void print_line(const char *indent, const struct config_key *key, const void *base,
	const struct config_origin *at, struct buf *out)
{
	buf_addf(out, "%s%s: ", indent, key->name);
	print_value(key, (const char *)base + key->offset, out);
	if (at) {
		buf_addf(out, "  # ");
		config_origin_print(at, out);
	}
	buf_addc(out, '\n');
}

static void render_records(const struct config *config, const struct config_section *section,
	bool with_origins, struct buf *out)
{
	const struct config_records *records = config_records_of(config, section);
	const struct config_records_origin *origin =
		config->origins->records + (section - config_sections);
	buf_addf(out, "%s:%s", section->name, records->count ? "" : " []");
	if (with_origins) {
		buf_addf(out, "  # ");
		config_origin_print(&origin->list, out);
	}
	buf_addc(out, '\n');
	for (size_t i = 0; i < records->count; i++) {
		const char *base = (const char *)records->items + i * section->record_size;
		const struct config_origin *at = origin->fields + i * section->count;
		const char *indent = "  - ";
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++) {
			print_line(indent, key, base, with_origins ? at : NULL, out);
			indent = "    ";
			at++;
		}
	}
}

void config_render(const struct config *config, bool with_origins, struct buf *out)
{
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size) {
			render_records(config, section, with_origins, out);
			continue;
		}
		buf_addf(out, "%s:\n", section->name);
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++)
			print_line("  ", key, config,
				with_origins ? config->origins->keys + (key - config_keys) : NULL,
				out);
	}
}

/* The text as lines of a comment. */
static void print_comment(const char *begin, struct str text, struct buf *out)
{
	size_t room = WRAP - strlen(begin) - 2;
	while (text.n) {
		size_t n = text.n;
		if (n > room) {
			n = room;
			while (n > 1 && text.p[n] != ' ')
				n--;
		}
		buf_addf(out, "%s# " STR_FMT "\n", begin, (int)n, text.p);
		n += n < text.n; /* the space */
		text = (struct str){text.p + n, text.n - n};
	}
}

static void explain(const char *begin, const struct config_key *key, struct buf *out)
{
	struct buf text = BUF_INIT(4096);
	buf_addf(&text, "%s (", key->meaning);
	config_describe(key, &text);
	config_print_range(key, &text);
	if (!key->text)
		buf_addf(&text, "; needed");
	if (key->at_start)
		buf_addf(&text, "; a change " CONFIG_NEEDS_RESTART);
	buf_addc(&text, ')');
	print_comment(begin, buf_str(&text), out);
	buf_free(&text);
}

/* The default as YAML; for a field that has none, or an empty one, the example of its row. */
static void print_default(const struct config_key *key, struct buf *out)
{
	const char *text = key->text ? key->text : "";
	bool words = key->type == CONFIG_WORD || key->type == CONFIG_WORDS;
	struct str item, rest = str_of(!*text && !words ? key->of : text);
	bool bare = key->type <= CONFIG_WORD;
	if (!config_is_list(key)) {
		bare ? buf_adds(out, rest) : json_add_string(out, rest);
		buf_addc(out, '\n');
		return;
	}
	buf_addc(out, '[');
	for (bool first = true; rest.n && config_next_item(&rest, &item); first = false) {
		buf_addf(out, "%s", first ? "" : ", ");
		json_add_string(out, item);
	}
	buf_addf(out, "]\n");
}

static void render_example(const struct config_section *section, struct buf *out)
{
	const char *indent = "#   - ";
	buf_addf(out, "%s: []\n# One record, with all that it can have:\n#\n# %s:\n", section->name,
		section->name);
	for (const struct config_key *key = config_first(section); key < config_end(section);
		key++) {
		explain("#     ", key, out);
		buf_addf(out, "%s%s: ", indent, key->name);
		print_default(key, out);
		indent = "#     ";
	}
}

static const char introduction[] =
	"Every key of the configuration, with its default. The key server.listen is also the "
	"variable SIGNALBOX_SERVER_LISTEN and the option --server.listen=VALUE; the option wins "
	"over the variable, the variable over this file. There, lists are written A,B and lists "
	"of records as YAML in one line: [{key: value}]. The variable SIGNALBOX_CONFIG and the "
	"option --config name the file; --data, --listen and --workers are short for "
	"--data.directory, --server.listen and --server.workers. Durations have a unit: ms, s, m, "
	"h, d. Sizes: B, KiB, MiB, GiB. Files and directories are looked up from where the "
	"program is started.";

void config_render_reference(struct buf *out)
{
	print_comment("", str_of(introduction), out);
	for (const struct config_section *section = config_sections; section->name; section++) {
		buf_addc(out, '\n');
		struct buf meaning = BUF_INIT(1024);
		buf_addf(&meaning, "%s%s", section->meaning,
			section->at_start ? " A change " CONFIG_NEEDS_RESTART "." : "");
		print_comment("", buf_str(&meaning), out);
		buf_free(&meaning);
		if (section->record_size) {
			render_example(section, out);
			continue;
		}
		buf_addf(out, "%s:\n", section->name);
		for (const struct config_key *key = config_first(section);
			key < config_end(section); key++) {
			explain("  ", key, out);
			buf_addf(out, "  %s: ", key->name);
			print_default(key, out);
		}
	}
}

static void flush(struct buf *text, FILE *out)
{
	fwrite(buf_str(text).p, 1, text->n, out);
	buf_free(text);
}

void config_show(const struct config *config, FILE *out)
{
	struct buf text = BUF_INIT(RENDER_MAX);
	config_render(config, true, &text);
	flush(&text, out);
}

void config_reference(FILE *out)
{
	struct buf text = BUF_INIT(RENDER_MAX);
	config_render_reference(&text);
	flush(&text, out);
}
