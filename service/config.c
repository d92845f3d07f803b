/* Loading: defaults, file, environment, command line, then the rules between keys. */
#include "service/config.h"

#include "core/mem.h"
#include "service/config_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void config_set_defaults(const struct config_section *section, void *base)
{
	for (const struct config_key *key = config_first(section); key < config_end(section);
		key++) {
		struct config_why why = {0};
		struct str item, rest = str_of(key->text ? key->text : "");
		void *slot = config_slot(base, key);
		bool sound = true;
		if (!config_is_list(key) && !rest.n) {
			*(const char **)slot = mem_copy(rest); /* a text that is not set */
		} else if (!config_is_list(key)) {
			sound = config_parse(key, rest, slot, &why);
		} else {
			while (rest.n && config_next_item(&rest, &item))
				sound = config_parse(key, item, slot, &why) && sound;
		}
		assert(sound);
		(void)sound;
	}
}

static void clear_keys(const struct config_section *section, void *base)
{
	for (const struct config_key *key = config_first(section); key < config_end(section); key++)
		config_clear(key, config_slot(base, key));
}

void config_clear_records(struct config *config, const struct config_section *section)
{
	struct config_records *records = config_records_of(config, section);
	struct config_records_origin *origin =
		config->origins->records + (section - config_sections);
	for (size_t i = 0; i < records->count; i++)
		clear_keys(section, (char *)records->items + i * section->record_size);
	free(records->items);
	free(origin->fields);
	*records = (struct config_records){0};
	*origin = (struct config_records_origin){0};
}

static struct config *config_new(void)
{
	struct config *config = mem_new(struct config);
	config->origins = mem_new(struct config_origins);
	config->origins->keys = mem_alloc(config_key_count * sizeof(struct config_origin));
	config->origins->records =
		mem_alloc(config_section_count * sizeof(struct config_records_origin));
	for (const struct config_section *section = config_sections; section->name; section++)
		if (!section->record_size)
			config_set_defaults(section, config);
	return config;
}

void config_free(struct config **config)
{
	if (!*config)
		return;
	for (const struct config_section *section = config_sections; section->name; section++) {
		if (section->record_size)
			config_clear_records(*config, section);
		else
			clear_keys(section, *config);
	}
	struct config_origins *origins = (*config)->origins;
	for (struct config_source *s = origins->sources, *following; s; s = following) {
		following = s->next;
		free(s->name);
		free(s);
	}
	free(origins->keys);
	free(origins->records);
	free(origins);
	free(*config);
	*config = NULL;
}

/* Tells of a place in a source, by the index of its byte. */
static void fault_at(
	struct config_loader *l, const struct config_source *source, size_t byte, const char *text)
{
	struct config_origin at = {.source = source, .line = 1, .column = 1, .width = 1};
	struct config_why why = {0};
	for (size_t i = 0; i < byte; i++) {
		char c = source->text.p[i];
		if (c == '\n' || (c == '\r' && source->text.p[i + 1] != '\n')) {
			at.line++;
			at.column = 1;
		} else if (((unsigned char)c & 0xc0) != 0x80) {
			at.column++;
		}
	}
	config_refuse(&why, "%s", text);
	config_fault(l, &at, "", &why);
}

/* Characters that no configuration needs: controls but tab and line ends, and Unicode's own ends of
 * lines, which YAML would count as lines and editors do not. */
static bool is_strange(struct str rest)
{
	unsigned char c = (unsigned char)rest.p[0];
	if (c == '\t' || c == '\n' || c == '\r')
		return false;
	return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)rest.p[1] < 0xa0) ||
		str_starts(rest, STR("\xe2\x80\xa8")) || str_starts(rest, STR("\xe2\x80\xa9")) ||
		str_starts(rest, STR("\xef\xbb\xbf"));
}

/* The index of the first byte that is not UTF-8. */
static size_t first_invalid(struct str text)
{
	size_t i = 0;
	while (i < text.n) {
		unsigned char lead = (unsigned char)text.p[i];
		size_t step = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
		if (step > text.n - i || !str_utf8_valid((struct str){text.p + i, step}))
			break;
		i += step;
	}
	return i;
}

bool config_readable(struct config_loader *l, const struct config_source *source)
{
	struct str text = source->text;
	struct config_origin at = {.source = source};
	struct config_why why = {0};
	if (text.n > CONFIG_FILE_MAX) {
		config_refuse(&why, "this is longer than any configuration (%d KiB)",
			CONFIG_FILE_MAX / 1024);
		config_fault(l, &at, "", &why);
		return false;
	}
	if (!str_utf8_valid(text)) {
		fault_at(l, source, first_invalid(text), "this is not UTF-8");
		return false;
	}
	for (size_t i = 0; i < text.n; i++) {
		if (is_strange((struct str){text.p + i, text.n - i})) {
			fault_at(l, source, i, "there is a control character here");
			return false;
		}
	}
	return true;
}

/* Reads up to one byte more than is allowed; false with errno. */
static bool read_file(const char *name, struct buf *into)
{
	char part[16384];
	ssize_t n = 0;
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (!into->err && into->n <= CONFIG_FILE_MAX && (n = read(fd, part, sizeof part)) > 0)
		buf_add(into, part, (size_t)n);
	int error = errno;
	close(fd);
	errno = error;
	return n >= 0;
}

static void load_file(struct config_loader *l, const struct config_input *input, struct buf *text)
{
	const char *name = config_file_name(input);
	if (!name && !input->text)
		return;
	struct config_source *source = (void *)(uintptr_t)config_source_add(
		l, CONFIG_FROM_FILE, name ? name : "configuration", (struct str){"", 0});
	if (!input->text && !read_file(name, text)) {
		struct config_origin at = {.source = source};
		struct config_why why = {0};
		config_refuse(&why, "cannot be read: %s", strerror(errno));
		config_fault(l, &at, "", &why);
		return;
	}
	source->text = input->text ? *input->text : buf_str(text);
	if (str_starts(source->text, STR("\xef\xbb\xbf")))
		source->text = (struct str){source->text.p + 3, source->text.n - 3};
	config_read_yaml(l, source);
}

enum err config_load_with(const struct config_input *input, bool files, struct config **ret_config,
	struct buf *errors)
{
	struct config *config = config_new();
	struct config_loader l = {.config = config, .errors = errors};
	struct buf text = BUF_INIT(CONFIG_FILE_MAX + 65536);
	load_file(&l, input, &text);
	config_read_environment(&l, input->environment);
	config_read_options(&l, input->argc, input->argv);
	if (!l.faults) {
		config_rules(&l);
		if (files)
			config_rules_of_files(&l);
	}
	config_faults_end(&l);
	buf_free(&text);
	for (struct config_source *s = config->origins->sources; s; s = s->next)
		s->text = (struct str){"", 0};
	if (l.faults) {
		config_free(&config);
		return l.usage ? ERR_REQUEST : ERR_PARAMS;
	}
	*ret_config = config;
	return ERR_OK;
}

struct str *config_spans(const struct config_list *list)
{
	struct str *out = mem_alloc((list->count + 1) * sizeof(*out));
	for (size_t i = 0; i < list->count; i++)
		out[i] = str_of(list->items[i]);
	return out;
}

enum err config_load(
	const struct config_input *input, struct config **ret_config, struct buf *errors)
{
	return config_load_with(input, false, ret_config, errors);
}
