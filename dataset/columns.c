#include "dataset/columns.h"

#include "dataset/caller.h"
#include "dataset/definition_text.h"

void columns_write(struct json_out *o, const struct definition *d, const struct layout *l,
	const struct principal *who)
{
	bool visible[LAYOUT_COLUMNS_MAX];
	caller_columns(d, l, who, visible);
	json_open(o, "columns", '[');
	for (size_t i = 0; i < l->count; i++) {
		const struct column *c = &l->columns[i];
		if (!visible[i])
			continue;
		json_open(o, NULL, '{');
		json_str(o, "name", c->name);
		json_str(o, "type", c->type);
		json_int(o, "key", c->key);
		json_bool(o, "required", c->required);
		json_close(o, '}');
	}
	json_close(o, ']');
}

void may_write(struct json_out *o, const struct definition *d, const struct principal *who)
{
	json_open(o, "may", '[');
	for (int i = 0; i < RULES; i++) {
		uint32_t scope = i == RULE_READ ? SCOPE_DATASETS_READ : SCOPE_DATASETS_WRITE;
		if (d->rules[i].n && who->scopes & scope)
			json_text(o, NULL, rule_word((enum rule_of)i));
	}
	json_close(o, ']');
}
