#include "dataset/definition_text.h"

#include "core/json_scan.h"
#include "core/mem.h"
#include "dataset/layout.h"

#include <stdarg.h>
#include <strings.h>

static const char *const rule_words[RULES] = {
	[RULE_READ] = "read",
	[RULE_INSERT] = "insert",
	[RULE_UPDATE] = "update",
	[RULE_DELETE] = "delete",
};

const char *rule_word(enum rule_of which)
{
	return rule_words[which];
}

__attribute__((format(printf, 3, 4))) static enum err refuse(
	struct definition_problem *p, const char *field, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(p->why, sizeof(p->why), format, args);
	va_end(args);
	p->field = field;
	return ERR_PARAMS;
}

struct hidden_column hidden_read(struct str text)
{
	static const char between[] = " unless ";
	const size_t n = sizeof(between) - 1;
	for (size_t i = 0; i + n < text.n; i++)
		if (strncasecmp(text.p + i, between, n) == 0)
			return (struct hidden_column){
				{text.p, i}, {text.p + i + n, text.n - i - n}};
	return (struct hidden_column){.column = text};
}

/* ---- whether it is one ---- */

static bool is_name(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
			return false;
	}
	return name.n > 0 && name.n <= DATASET_NAME_MAX;
}

static enum err check_depends(const struct definition *d, struct definition_problem *p)
{
	for (size_t i = 0; i < d->depend_count; i++) {
		struct str name = d->depends[i];
		if (!name.n || name.n > TABLE_NAME_MAX)
			return refuse(
				p, "depends", "A table's name has 1 to %d bytes.", TABLE_NAME_MAX);
		for (size_t k = 0; k < i; k++)
			if (str_eq(name, d->depends[k]))
				return refuse(p, "depends",
					"The table " STR_FMT " stands there twice.", STR_ARG(name));
	}
	return ERR_OK;
}

static enum err check_hidden(const struct definition *d, struct definition_problem *p)
{
	for (size_t i = 0; i < d->hidden_count; i++) {
		struct str name = d->hidden[i].column;
		if (!name.n)
			return refuse(p, "hide",
				"Write a column, or a column and for whom it is there: salary "
				"unless "
				":scope_admin.");
		for (size_t k = 0; k < i; k++)
			if (str_eq(name, d->hidden[k].column))
				return refuse(p, "hide",
					"The column " STR_FMT " stands there twice.",
					STR_ARG(name));
	}
	return ERR_OK;
}

enum err definition_sound(const struct definition *d, struct definition_problem *p)
{
	if (!is_name(d->name))
		return refuse(p, "dataset",
			"A dataset's name has 1 to %d letters, digits, `.`, `_` and `-`.",
			DATASET_NAME_MAX);
	if (!d->database.n || d->database.p[0] != '/')
		return refuse(
			p, "database", "Write the path of the file from the root: /var/lib/…");
	if (d->table.n >= 4 && strncasecmp(d->table.p, "_sb_", 4) == 0)
		return refuse(p, "table", "Tables called _sb_… are Signalbox's own.");
	enum err err = check_depends(d, p);
	return err ? err : check_hidden(d, p);
}

/* ---- reading ---- */

/* The strings of an array, decoded where they stand. */
struct texts {
	struct str *items;
	size_t count;
};

static enum err read_texts(struct str array, const char *field, size_t max, struct texts *ret,
	struct definition_problem *p)
{
	struct str item;
	struct json_walk w = json_walk(array);
	*ret = (struct texts){.items = mem_alloc((max + 1) * sizeof(struct str))};
	while (array.n && json_next(&w, NULL, &item)) {
		size_t n = 0;
		if (ret->count == max)
			return refuse(p, field, "There can be %zu at most.", max);
		char *text = (char *)(uintptr_t)item.p + 1; /* the params are the call's own copy */
		if (json_kind(item) != JSON_STRING || json_decode(item, text, &n) || !n ||
			str_has_control((struct str){text, n}))
			return refuse(p, field, "This is an array of texts.");
		ret->items[ret->count++] = (struct str){text, n};
	}
	return ERR_OK;
}

static enum err put_together(
	const struct definition_words *w, struct definition *d, struct definition_problem *p)
{
	struct texts depends = {0}, key = {0}, hide = {0};
	enum err err = read_texts(w->depends, "depends", DEPENDS_MAX, &depends, p);
	err = err ? err : read_texts(w->key, "key", KEY_COLUMNS_MAX, &key, p);
	err = err ? err : read_texts(w->hide, "hide", HIDDEN_MAX, &hide, p);
	d->depends = depends.items;
	d->depend_count = depends.count;
	d->key = key.items;
	d->key_count = key.count;
	d->hidden = mem_alloc((hide.count + 1) * sizeof(*d->hidden));
	d->hidden_count = hide.count;
	for (size_t i = 0; i < hide.count; i++)
		d->hidden[i] = hidden_read(hide.items[i]);
	free(hide.items);
	return err ? err : definition_sound(d, p);
}

enum err definition_read(const struct definition_words *w, struct definition **ret_definition,
	struct definition_problem *ret_problem)
{
	struct definition d = {.name = w->dataset,
		.database = w->database,
		.table = w->table,
		.rules = {[RULE_READ] = w->read,
			[RULE_INSERT] = w->insert,
			[RULE_UPDATE] = w->update,
			[RULE_DELETE] = w->delete}};
	enum err err = put_together(w, &d, ret_problem);
	if (!err)
		*ret_definition = definition_new(&d);
	free(d.depends);
	free(d.key);
	free(d.hidden);
	return err;
}

/* ---- writing ---- */

static void write_texts(struct json_out *o, const char *key, const struct str *list, size_t count)
{
	if (!count)
		return;
	json_open(o, key, '[');
	for (size_t i = 0; i < count; i++)
		json_str(o, NULL, list[i]);
	json_close(o, ']');
}

static void write_hidden(struct json_out *o, const struct definition *d)
{
	if (!d->hidden_count)
		return;
	json_open(o, "hide", '[');
	for (size_t i = 0; i < d->hidden_count; i++) {
		const struct hidden_column *h = &d->hidden[i];
		struct buf b = BUF_INIT(h->column.n + h->unless.n + 16);
		buf_addf(&b, STR_FMT "%s" STR_FMT, STR_ARG(h->column),
			h->unless.n ? " unless " : "", STR_ARG(h->unless));
		json_str(o, NULL, buf_str(&b));
		buf_free(&b);
	}
	json_close(o, ']');
}

void definition_write(struct json_out *o, const struct definition *d)
{
	json_str(o, "dataset", d->name);
	json_str(o, "database", d->database);
	json_str(o, "table", d->table);
	for (int i = 0; i < RULES; i++)
		if (d->rules[i].n)
			json_str(o, rule_words[i], d->rules[i]);
	write_texts(o, "depends", d->depends, d->depend_count);
	write_hidden(o, d);
	write_texts(o, "key", d->key, d->key_count);
}

bool definition_same(const struct definition *a, const struct definition *b)
{
	struct buf one = BUF_INIT(1 << 20), other = BUF_INIT(1 << 20);
	struct json_out first = JSON_OUT(&one), second = JSON_OUT(&other);
	definition_write(&first, a);
	definition_write(&second, b);
	bool same = str_eq(buf_str(&one), buf_str(&other));
	buf_free(&one);
	buf_free(&other);
	return same;
}
