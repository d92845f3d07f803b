/* dataset.list, dataset.schema: what a caller is told of which datasets there are. */
#include "dataset/catalog_parts.h"

#include "core/mem.h"
#include "dataset/catalog_shown.h"
#include "dataset/columns.h"
#include "store/page.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- how a dataset is shown ---- */

static const char *const states[] = {
	[DATASET_STARTING] = "starting",
	[DATASET_LIVE] = "live",
	[DATASET_TROUBLE] = "trouble",
};

static void write_number(struct json_out *o, const char *key, int64_t n)
{
	char text[24];
	snprintf(text, sizeof(text), "%" PRId64, n);
	json_text(o, key, text);
}

void shown_state(struct json_out *o, const struct dataset_status *s, bool in_full)
{
	json_text(o, "state", states[s->state]);
	if (s->state != DATASET_TROUBLE || !in_full)
		return;
	json_open(o, "trouble", '{');
	json_text(o, "what", s->what);
	json_text(o, "remedy", s->remedy);
	json_close(o, '}');
}

void shown_in_full(struct json_out *o, const struct listed *l)
{
	const struct dataset_status *s = &l->status;
	definition_write(o, l->definition);
	json_bool(o, "configured", l->definition->configured);
	shown_state(o, s, true);
	if (!s->epoch[0])
		return;
	json_text(o, "epoch", s->epoch);
	write_number(o, "seq", s->seq);
	write_number(o, "floor", s->floor);
	json_int(o, "log_rows", s->log_rows);
	json_int(o, "log_bytes", s->log_bytes);
}

/* ---- dataset.list ---- */

struct list_params {
	struct str cursor;
	struct param_int limit;
};

static const struct field list_fields[] = {
	FIELD(struct list_params, cursor, STRING, false, 0, DATASET_NAME_MAX),
	FIELD(struct list_params, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static void write_one(struct json_out *o, const struct listed *l, const struct principal *who)
{
	json_open(o, NULL, '{');
	if (who->scopes & SCOPE_ADMIN) {
		shown_in_full(o, l);
	} else {
		json_str(o, "dataset", l->definition->name);
		shown_state(o, &l->status, false);
	}
	may_write(o, l->definition, who);
	json_close(o, '}');
}

/* The next behind *after that the caller may see; its name is in *after from then on. */
static bool next_seen(char **after, const struct principal *who, struct listed *ret)
{
	while (catalog_list(str_of(*after), ret, 1)) {
		free(*after);
		*after = mem_copy(ret->definition->name);
		if (principal_sees_dataset(who, ret->definition->name))
			return true;
		definition_unref(&ret->definition);
	}
	return false;
}

static void list_now(struct call *c)
{
	const struct list_params *p = c->params;
	size_t rows = page_rows(p->limit), n = 0;
	char *after = mem_copy(p->cursor.p ? p->cursor : STR("")), *last = NULL;
	struct listed one;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "datasets", '[');
	bool more = next_seen(&after, c->who, &one);
	for (; more && n < rows; n++) {
		write_one(o, &one, c->who);
		free(last);
		last = mem_copy(one.definition->name);
		definition_unref(&one.definition);
		more = next_seen(&after, c->who, &one);
	}
	json_close(o, ']');
	if (more) {
		json_text(o, "cursor", last);
		definition_unref(&one.definition);
	}
	json_close(o, '}');
	free(after);
	free(last);
	call_reply(c);
}

static void run_list(struct call *c)
{
	if (catalog_awake()) {
		list_now(c);
		return;
	}
	catalog_wake();
	catalog_when_settled(c, STR(""), list_now);
}

/* ---- dataset.schema ---- */

struct schema_params {
	struct str dataset;
};

static const struct field schema_fields[] = {
	FIELD(struct schema_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	{0},
};

static void run_schema(struct call *c)
{
	const struct schema_params *p = c->params;
	struct attached *attached;
	struct definition *d;
	if (catalog_named(c, p->dataset, &d, &attached))
		return;
	struct layout *l = database_layout(attached);
	if (l) {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_int(o, "schema_version", l->version);
		columns_write(o, d, l, c->who);
		may_write(o, d, c->who);
		json_close(o, '}');
		call_reply(c);
	} else {
		catalog_unavailable(c);
	}
	layout_unref(&l);
	definition_unref(&d);
}

const struct method catalog_methods[] = {
	{"dataset.list", SCOPE_DATASETS_READ, HOME_CALLER, METHOD_READS, list_fields,
		sizeof(struct list_params), run_list},
	{"dataset.schema", SCOPE_DATASETS_READ, HOME_NAME, METHOD_READS, schema_fields,
		sizeof(struct schema_params), run_schema},
	{0},
};
