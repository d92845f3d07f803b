/* What a command answers, for a person at a terminal or as JSON. */
#include "service/cli.h"

#include "core/buf.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WORDS_MAX = 64 * 1024 };

/* An array of texts without spaces (names, addresses) is read more easily as words. */
static bool all_words(const json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach(value, i, item)
	{
		if (!json_is_string(item) || strchr(json_string_value(item), ' '))
			return false;
	}
	return json_is_array(value);
}

static char *words_text(const json_t *value)
{
	struct buf b = BUF_INIT(WORDS_MAX);
	for (size_t i = 0; i < json_array_size(value); i++)
		buf_addf(&b, "%s%s", i ? " " : "", json_string_value(json_array_get(value, i)));
	return b.n ? buf_take(&b) : mem_copy(STR(""));
}

/* What is wrong and what to do, in a sentence. */
static char *trouble_text(const json_t *value)
{
	const char *what = json_string_value(json_object_get(value, "what"));
	const char *remedy = json_string_value(json_object_get(value, "remedy"));
	if (!what || !remedy)
		return NULL;
	struct buf b = BUF_INIT(WORDS_MAX);
	buf_addf(&b, "%s; %s", what, remedy);
	return buf_take(&b);
}

/* What stands in a cell; the caller frees it. */
static char *cell_text(const char *key, const json_t *value)
{
	size_t n = strlen(key);
	if (json_is_integer(value) && n > 3 && strcmp(key + n - 3, "_at") == 0) {
		time_t when = (time_t)json_integer_value(value);
		struct tm tm;
		char text[32];
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", gmtime_r(&when, &tm));
		return mem_copy(str_of(text));
	}
	if (json_is_string(value))
		return mem_copy(str_of(json_string_value(value)));
	if (!value || json_is_null(value))
		return mem_copy(STR(""));
	if (all_words(value))
		return words_text(value);
	char *trouble = trouble_text(value);
	if (trouble)
		return trouble;
	return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* How many characters of a terminal's line it takes, as far as one is one column wide. */
static int columns_of(const char *text)
{
	int count = 0;
	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

/* As wide as the widest text in the column, which is the members of one name. */
static int column_width(const json_t *rows, const char *key)
{
	size_t i;
	json_t *row;
	int widest = columns_of(key);
	json_array_foreach(rows, i, row)
	{
		char *text = cell_text(key, json_object_get(row, key));
		int width = columns_of(text);
		widest = width > widest ? width : widest;
		free(text);
	}
	return widest;
}

struct column {
	const char *key;
	int width;
};

enum { COLUMNS_MAX = 16, COLUMN_GAP = 2 };

/* One line; row NULL: of the names. Nothing stands behind the last text. */
static void print_row(const struct column *columns, size_t count, const json_t *row)
{
	int missing = 0;
	for (size_t i = 0; i < count; i++) {
		const json_t *value = row ? json_object_get(row, columns[i].key) : NULL;
		char *text =
			row ? cell_text(columns[i].key, value) : mem_copy(str_of(columns[i].key));
		if (*text)
			printf("%*s%s", missing, "", text);
		missing = (*text ? 0 : missing) + columns[i].width + COLUMN_GAP - columns_of(text);
		free(text);
	}
	printf("\n");
}

static bool is_among(const char *words, const char *key)
{
	size_t n = strlen(key);
	for (const char *at = words; (at = strstr(at, key)); at += n)
		if ((at == words || at[-1] == ' ') && (!at[n] || at[n] == ' '))
			return true;
	return false;
}

/* The columns are the members that any row has, in the order in which they first appear. */
static size_t find_columns(const json_t *rows, const char *only, struct column *columns)
{
	size_t i, count = 0;
	json_t *row, *value;
	const char *key;
	json_array_foreach(rows, i, row) json_object_foreach(row, key, value)
	{
		size_t k = 0;
		while (k < count && strcmp(columns[k].key, key) != 0)
			k++;
		if (k == count && count < COLUMNS_MAX && (!only || is_among(only, key)))
			columns[count++] = (struct column){key, column_width(rows, key)};
	}
	return count;
}

void cli_print_table(const json_t *rows, const char *only)
{
	struct column columns[COLUMNS_MAX];
	size_t i, count = find_columns(rows, only, columns);
	json_t *row;
	if (!json_array_size(rows)) {
		printf("(none)\n");
		return;
	}
	print_row(columns, count, NULL);
	json_array_foreach(rows, i, row) print_row(columns, count, row);
}

void cli_print_members(json_t *object)
{
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value)
	{
		char *text = cell_text(key, value);
		printf("%s: %s\n", key, text);
		free(text);
	}
}
