/* One value of a key: from text, to text, freed. Reading and printing agree: what is printed reads
 * as the same value. */
#include "core/json_out.h"
#include "core/mem.h"
#include "service/config_parts.h"

#include <stdio.h>
#include <stdlib.h>

struct unit {
	const char *name;
	int64_t times;
};

static const struct unit durations[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
static const struct unit sizes[] = {
	{"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {0}};

static const struct unit *units_of(const struct config_key *key)
{
	return key->type == CONFIG_DURATION ? durations : key->type == CONFIG_SIZE ? sizes : NULL;
}

/* A quantity in its largest whole unit. */
static void print_quantity(const struct config_key *key, int64_t n, struct buf *out)
{
	const struct unit *units = units_of(key);
	const struct unit *best = units;
	for (const struct unit *u = units; n && u && u->name; u++)
		if (n % u->times == 0)
			best = u;
	if (units && n == 0 && key->type == CONFIG_DURATION)
		best = units + 1;
	buf_addf(out, "%lld%s", (long long)(best ? n / best->times : n), best ? best->name : "");
}

void config_print_range(const struct config_key *key, struct buf *out)
{
	bool list = config_is_list(key);
	bool number = key->type == CONFIG_INT || units_of(key);
	if (!list && !number)
		return;
	buf_addf(out, list ? ", " : " from ");
	if (list)
		buf_addf(out, "%lld", (long long)key->min);
	else
		print_quantity(key, key->min, out);
	buf_addf(out, " to ");
	if (list)
		buf_addf(out, "%lld", (long long)key->max);
	else
		print_quantity(key, key->max, out);
	if (key->type == CONFIG_INT)
		buf_addf(out, " %s", key->of);
}

/* The digits in front of the text; how many, or 0 when there are none, they begin with a needless
 * zero, or the number is past all reason. */
static size_t take_digits(struct str text, int64_t *ret_n)
{
	int64_t n = 0;
	size_t i = 0;
	for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, text.p[i] - '0', &n))
			return 0;
	if (i > 1 && text.p[0] == '0')
		return 0;
	*ret_n = n;
	return i;
}

/* What units people write (all with spaces around), and mean. */
static const char *meant_unit(const struct config_key *key, struct str unit)
{
	static const struct {
		enum config_type type;
		const char *right, *wrong;
	} meant[] = {
		{CONFIG_SIZE, "B", " b bytes byte "},
		{CONFIG_SIZE, "KiB", " k kb kib ki "},
		{CONFIG_SIZE, "MiB", " m mb mib mi "},
		{CONFIG_SIZE, "GiB", " g gb gib gi "},
		{CONFIG_DURATION, "ms", " ms msec "},
		{CONFIG_DURATION, "s", "  s sec secs second seconds "},
		{CONFIG_DURATION, "m", " m min mins minute minutes "},
		{CONFIG_DURATION, "h", " h hr hour hours "},
		{CONFIG_DURATION, "d", " d day days "},
	};
	char spaced[12];
	if (unit.n > sizeof spaced - 3)
		return NULL;
	snprintf(spaced, sizeof spaced, " " STR_FMT " ", STR_ARG(unit));
	for (size_t i = 0; i < sizeof meant / sizeof *meant; i++)
		if (meant[i].type == key->type && strcasestr(meant[i].wrong, spaced))
			return meant[i].right;
	return NULL;
}

/* The factor of the unit, or 0. Sizes without one are bytes. */
static int64_t unit_times(const struct config_key *key, struct str unit)
{
	const struct unit *units = units_of(key);
	if (!unit.n)
		return key->type == CONFIG_DURATION ? 0 : 1;
	for (const struct unit *u = units; u && u->name; u++)
		if (str_is(unit, u->name))
			return u->times;
	return 0;
}

static bool refuse_quantity(const struct config_key *key, struct str text, struct config_why *why)
{
	static const char *const words[CONFIG_TYPES] = {
		[CONFIG_INT] = "a whole number",
		[CONFIG_DURATION] = "a duration: write a number and ms, s, m, h or d, as in 30s",
		[CONFIG_SIZE] = "a size: write a number and B, KiB, MiB or GiB, as in 128KiB",
	};
	int64_t n = 0;
	size_t digits = take_digits(text, &n);
	struct str unit = {text.p + digits, text.n - digits};
	while (unit.n && unit.p[0] == ' ')
		unit = (struct str){unit.p + 1, unit.n - 1};
	const char *right = unit_times(key, unit) && unit.n ? NULL : meant_unit(key, unit);
	if (digits && right)
		config_instead(why, "%lld%s", (long long)n, right);
	else if (digits && unit.n && unit_times(key, unit))
		config_instead(why, "%lld" STR_FMT, (long long)n, STR_ARG(unit));
	struct buf range = BUF_INIT(128);
	if (key->type == CONFIG_INT)
		config_print_range(key, &range);
	config_refuse(why, "`%s` is not %s%s", config_quote(text).text, words[key->type],
		buf_str(&range).p);
	buf_free(&range);
	return false;
}

static bool parse_quantity(
	const struct config_key *key, struct str text, int64_t *ret_n, struct config_why *why)
{
	int64_t n = 0;
	size_t digits = take_digits(text, &n);
	int64_t times = unit_times(key, (struct str){text.p + digits, text.n - digits});
	if (!digits || !times)
		return refuse_quantity(key, text, why);
	if (__builtin_mul_overflow(n, times, &n) || n < key->min || n > key->max) {
		struct buf range = BUF_INIT(128);
		config_print_range(key, &range);
		config_refuse(why, "`%s` is out of range: it goes%s", config_quote(text).text,
			buf_str(&range).p);
		buf_free(&range);
		return false;
	}
	*ret_n = n;
	return true;
}

static bool parse_bool(struct str text, bool *ret_yes, struct config_why *why)
{
	static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"},
		{"0", "1"}, {"n", "y"}, {"f", "t"}};
	for (int yes = 0; yes < 2; yes++) {
		if (str_is(text, words[0][yes])) {
			*ret_yes = yes;
			return true;
		}
		for (size_t i = 0; i < sizeof words / sizeof *words; i++)
			if (strlen(words[i][yes]) == text.n &&
				nearest_distance(text, str_of(words[i][yes])) == 0)
				config_instead(why, "%s", words[0][yes]);
	}
	struct nearest n = nearest_to(text);
	nearest_try(&n, STR("true"));
	nearest_try(&n, STR("false"));
	if (n.word.n)
		config_instead(why, STR_FMT, STR_ARG(n.word));
	return config_refuse(why, "`%s` is neither true nor false", config_quote(text).text);
}

static int word_place(const struct config_key *key, struct str text)
{
	struct str word;
	int place = 0;
	for (const char *words = key->of; config_next_word(&words, &word); place++)
		if (str_eq(word, text))
			break;
	return place;
}

static void set_text(struct str text, const char **slot)
{
	free((void *)(uintptr_t)*slot);
	*slot = mem_copy(text);
}

static void add_item(struct str text, struct config_list *list)
{
	/* Room grows by doubling: it is full whenever the count is a power of two. */
	if ((list->count & (list->count - 1)) == 0)
		list->items = mem_resize(
			list->items, list->count ? list->count * 2 : 1, sizeof *list->items);
	list->items[list->count++] = mem_copy(text);
}

static void set_number(const struct config_key *key, int64_t n, void *slot)
{
	if (key->type == CONFIG_INT)
		*(unsigned *)slot = (unsigned)n;
	else if (key->type == CONFIG_SIZE)
		*(size_t *)slot = (size_t)n;
	else
		*(int64_t *)slot = n;
}

bool config_parse(const struct config_key *key, struct str text, void *slot, struct config_why *why)
{
	int64_t n;
	if (key->type == CONFIG_BOOL)
		return parse_bool(text, slot, why);
	if (key->type == CONFIG_INT || units_of(key)) {
		if (!parse_quantity(key, text, &n, why))
			return false;
		set_number(key, n, slot);
		return true;
	}
	if (!config_check_text(key, text, why))
		return false;
	if (key->type == CONFIG_WORD)
		*(int *)slot = word_place(key, text);
	else if (config_is_list(key))
		add_item(text, slot);
	else
		set_text(text, slot);
	return true;
}

bool config_count(const struct config_key *key, const void *slot, struct config_why *why)
{
	const struct config_list *list = slot;
	if ((int64_t)list->count >= key->min && (int64_t)list->count <= key->max)
		return true;
	return config_refuse(why, "the list has %zu items; it takes %lld to %lld", list->count,
		(long long)key->min, (long long)key->max);
}

void config_clear(const struct config_key *key, void *slot)
{
	if (config_is_list(key)) {
		struct config_list *list = slot;
		for (size_t i = 0; i < list->count; i++)
			free(list->items[i]);
		free(list->items);
		*list = (struct config_list){0};
	} else if (key->type >= CONFIG_TEXT) {
		free((void *)(uintptr_t) * (const char **)slot);
		*(const char **)slot = NULL;
	}
}

static void print_list(const struct config_list *list, struct buf *out)
{
	buf_addc(out, '[');
	for (size_t i = 0; i < list->count; i++) {
		buf_addf(out, "%s", i ? ", " : "");
		json_add_string(out, str_of(list->items[i]));
	}
	buf_addc(out, ']');
}

static void print_word(const struct config_key *key, int place, struct buf *out)
{
	struct str word = {"", 0};
	const char *words = key->of;
	for (int i = 0; i <= place && config_next_word(&words, &word); i++)
		;
	buf_adds(out, word);
}

/* A JSON string is a YAML string, too. */
void config_print(const struct config_key *key, const void *slot, struct buf *out)
{
	if (key->type == CONFIG_BOOL)
		buf_addf(out, "%s", *(const bool *)slot ? "true" : "false");
	else if (key->type == CONFIG_INT)
		buf_addf(out, "%u", *(const unsigned *)slot);
	else if (key->type == CONFIG_DURATION)
		print_quantity(key, *(const int64_t *)slot, out);
	else if (key->type == CONFIG_SIZE)
		print_quantity(key, (int64_t) * (const size_t *)slot, out);
	else if (key->type == CONFIG_WORD)
		print_word(key, *(const int *)slot, out);
	else if (config_is_list(key))
		print_list(slot, out);
	else
		json_add_string(out, str_of(*(const char *const *)slot));
}

bool config_next_item(struct str *rest, struct str *ret_item)
{
	if (!rest->p)
		return false;
	const char *comma = memchr(rest->p, ',', rest->n);
	struct str item = {rest->p, comma ? (size_t)(comma - rest->p) : rest->n};
	*rest = comma ? (struct str){comma + 1, rest->n - item.n - 1} : (struct str){NULL, 0};
	while (item.n && (item.p[0] == ' ' || item.p[0] == '\t'))
		item = (struct str){item.p + 1, item.n - 1};
	while (item.n && (item.p[item.n - 1] == ' ' || item.p[item.n - 1] == '\t'))
		item.n--;
	*ret_item = item;
	return true;
}
