/* dataset.add, dataset.drop, dataset.show, dataset.verify: for administrators. */
#include "dataset/catalog_parts.h"

#include "auth/claims_kept.h"
#include "core/mem.h"
#include "core/pool.h"

#include "dataset/catalog_shown.h"
#include "dataset/definition_check.h"
#include "dataset/leftovers.h"
#include "store/store.h"

#include <time.h>

enum { DEFINITION_BYTES_MAX = 128 * 1024 };

struct named_params {
	struct str dataset;
};

static const struct field named_fields[] = {
	FIELD(struct named_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	{0},
};

/* The dataset as it is now. False: there is none, and the call has been refused. */
static bool find_listed(struct call *c, struct str name, struct listed *ret)
{
	bool there = catalog_listed(name, ret);
	if (!there)
		call_refuse(c, ERR_NOT_FOUND, .reason = "no_such_dataset",
			.message = "There is no such dataset.", .field = STR("dataset"));
	return there;
}

/* A command's own service asks nothing of the files until it is told to. */
static void when_awake(struct call *c, void (*then)(struct call *c))
{
	const struct named_params *p = c->params;
	if (catalog_awake()) {
		then(c);
		return;
	}
	catalog_wake();
	catalog_when_settled(c, p->dataset, then);
}

/* ---- dataset.add ---- */

static const struct field add_fields[] = {DEFINITION_FIELDS, {0}};

struct adding {
	struct job job;
	struct call *call;
	struct definition *definition;
	struct definition_problem problem;
	enum err err;
};

static void free_adding(struct adding *a)
{
	definition_unref(&a->definition);
	free(a);
}

static bool is_rule(const char *field)
{
	for (int i = 0; i < RULES; i++)
		if (strcmp(field, rule_word((enum rule_of)i)) == 0)
			return true;
	return false;
}

static void refuse_definition(struct call *c, const struct definition_problem *p)
{
	call_refuse(c, ERR_PARAMS, .reason = is_rule(p->field) ? "bad_rule" : "bad_table",
		.message = p->why, .field = str_of(p->field));
}

static void refuse_name(struct call *c, enum err err)
{
	if (err == ERR_CONFLICT)
		call_refuse(c, err, .reason = "dataset_exists",
			.message = "There is a dataset of this name: drop that first, or take "
				   "another name.",
			.field = STR("dataset"));
	else
		call_refuse(c, err, .reason = err == ERR_FULL ? "too_many_datasets" : NULL,
			.limit = err == ERR_FULL ? DATASETS_MAX : 0);
}

static void reply_added(struct call *c)
{
	const struct definition_words *words = c->params;
	struct listed l;
	if (!find_listed(c, words->dataset, &l))
		return;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_str(o, "dataset", words->dataset);
	shown_state(o, &l.status, true);
	json_close(o, '}');
	definition_unref(&l.definition);
	call_reply(c);
}

static void on_stored(struct store_op *op)
{
	struct adding *a = op->context;
	struct call *c = a->call;
	struct str name = ((const struct definition_words *)c->params)->dataset;
	if (op->err) {
		catalog_put(name, &(struct definition *){NULL});
		refuse_name(c, op->err);
	} else {
		catalog_put(name, &a->definition);
		catalog_wake();
		catalog_when_settled(c, name, reply_added);
	}
	free_adding(a);
}

static void store_definition(struct adding *a)
{
	struct buf text = BUF_INIT(DEFINITION_BYTES_MAX);
	struct json_out o = JSON_OUT(&text);
	json_open(&o, NULL, '{');
	definition_write(&o, a->definition);
	json_close(&o, '}');
	store_ask(STORE_DATASET_ADD, on_stored, a, STORE_TEXT(a->definition->name),
		STORE_TEXT(buf_str(&text)), STORE_INT(time(NULL)), STORE_END);
	buf_free(&text);
}

static void run_check(struct job *j)
{
	struct adding *a = (struct adding *)(void *)j;
	a->err = definition_check(a->definition, &a->problem);
}

static void on_checked(struct job *j)
{
	struct adding *a = (struct adding *)(void *)j;
	if (!a->err) {
		store_definition(a);
		return;
	}
	catalog_put(a->definition->name, &(struct definition *){NULL});
	refuse_definition(a->call, &a->problem);
	free_adding(a);
}

static void add_now(struct call *c)
{
	struct definition_problem problem;
	struct definition *d = NULL;
	if (definition_read(c->params, &d, &problem)) {
		refuse_definition(c, &problem);
		return;
	}
	enum err err = catalog_reserve(d->name);
	if (err) {
		definition_unref(&d);
		refuse_name(c, err);
		return;
	}
	if (catalog_too_many_claims(d)) {
		catalog_put(d->name, &(struct definition *){NULL});
		definition_unref(&d);
		call_refuse(c, ERR_FULL, .reason = "too_many_claims", .limit = CLAIMS_KEPT_MAX);
		return;
	}
	struct adding *a = mem_new(struct adding);
	a->job.run = run_check;
	a->job.done = on_checked;
	a->call = c;
	a->definition = d;
	if (!pool_run(catalog_pool(), &a->job))
		return;
	catalog_put(d->name, &(struct definition *){NULL});
	free_adding(a);
	call_refuse(c, ERR_OVERLOADED, .retry_after = OVERLOADED_RETRY_S);
}

/* One of this name that is just going is waited for. */
static void run_add(struct call *c)
{
	catalog_when_settled(c, ((const struct definition_words *)c->params)->dataset, add_now);
}

/* ---- dataset.drop ---- */

/* Behind the detaching, which takes out what it can: whatever kept it from that, the file is looked at once more. */
struct dropping {
	struct job job;
	struct call *call;
	struct definition *definition;
	bool clean;
	char why[LEFTOVERS_WHY_MAX];
};

static void free_dropping(struct dropping *d)
{
	definition_unref(&d->definition);
	free(d);
}

static void run_cleaning(struct job *j)
{
	struct dropping *d = (struct dropping *)(void *)j;
	d->clean = leftovers_take(d->definition->database, d->why);
}

static void reply_dropped(struct dropping *d)
{
	struct json_out *o = call_result(d->call);
	json_open(o, NULL, '{');
	if (!d->clean)
		json_text(o, "left", d->why);
	json_close(o, '}');
	call_reply(d->call);
	free_dropping(d);
}

static void on_cleaned(struct job *j)
{
	reply_dropped((struct dropping *)(void *)j);
}

static void clean(struct call *c)
{
	struct dropping *d = c->state;
	c->state = NULL;
	d->job.run = run_cleaning;
	d->job.done = on_cleaned;
	if (!pool_run(catalog_pool(), &d->job))
		return;
	snprintf(d->why, sizeof(d->why), "too much else is to be done just now");
	reply_dropped(d);
}

static void on_dropped(struct store_op *op)
{
	struct call *c = op->context;
	struct str name = ((const struct named_params *)c->params)->dataset;
	if (op->err && op->err != ERR_NOT_FOUND) {
		free_dropping(c->state);
		c->state = NULL;
		call_refuse(c, op->err);
		return;
	}
	bool configured, stored;
	if (catalog_kinds(name, &configured, &stored) && stored)
		catalog_put(name, &(struct definition *){NULL});
	catalog_when_settled(c, name, clean);
}

static void drop_now(struct call *c)
{
	const struct named_params *p = c->params;
	bool configured = false, stored = false;
	struct listed l;
	if (!find_listed(c, p->dataset, &l))
		return;
	catalog_kinds(p->dataset, &configured, &stored);
	if (!stored) {
		definition_unref(&l.definition);
		call_refuse(c, ERR_CONFLICT, .reason = "dataset_configured",
			.message = "The dataset is of the configuration: take it out there, and "
				   "send SIGHUP.",
			.field = STR("dataset"));
		return;
	}
	struct dropping *d = mem_new(struct dropping);
	d->call = c;
	d->definition = l.definition;
	c->state = d;
	store_ask(STORE_DATASET_DROP, on_dropped, c, STORE_TEXT(p->dataset), STORE_END);
}

static void run_drop(struct call *c)
{
	when_awake(c, drop_now);
}

/* ---- dataset.show ---- */

static void show_now(struct call *c)
{
	struct listed l;
	if (!find_listed(c, ((const struct named_params *)c->params)->dataset, &l))
		return;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	shown_in_full(o, &l);
	json_close(o, '}');
	definition_unref(&l.definition);
	call_reply(c);
}

static void run_show(struct call *c)
{
	when_awake(c, show_now);
}

/* ---- dataset.verify ---- */

struct verifying {
	struct job job;
	struct call *call;
	struct definition *definition;
	int64_t changes, rows;
	char why[CAPTURE_WHY_MAX];
	enum err err;
};

static void run_verifying(struct job *j)
{
	struct verifying *v = (struct verifying *)(void *)j;
	v->err = definition_verify(v->definition, &v->changes, &v->rows, v->why);
}

static void on_verified(struct job *j)
{
	struct verifying *v = (struct verifying *)(void *)j;
	struct call *c = v->call;
	if (v->err && v->err != ERR_CONFLICT) {
		call_refuse(c, ERR_OVERLOADED, .reason = "dataset_unavailable", .message = v->why);
	} else {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_bool(o, "ok", !v->err);
		json_int(o, "changes", v->changes);
		json_int(o, "rows", v->rows);
		if (v->err)
			json_text(o, "problem", v->why);
		json_close(o, '}');
		call_reply(c);
	}
	definition_unref(&v->definition);
	free(v);
}

static void verify_now(struct call *c)
{
	struct listed l;
	if (!find_listed(c, ((const struct named_params *)c->params)->dataset, &l))
		return;
	struct verifying *v = mem_new(struct verifying);
	*v = (struct verifying){.job = {.run = run_verifying, .done = on_verified},
		.call = c,
		.definition = l.definition};
	if (!pool_run(catalog_pool(), &v->job))
		return;
	definition_unref(&v->definition);
	free(v);
	call_refuse(c, ERR_OVERLOADED, .retry_after = OVERLOADED_RETRY_S);
}

static void run_verify(struct call *c)
{
	when_awake(c, verify_now);
}

const struct method catalog_admin_methods[] = {
	{"dataset.add", SCOPE_ADMIN, HOME_NAME, 0, add_fields, sizeof(struct definition_words),
		run_add},
	{"dataset.drop", SCOPE_ADMIN, HOME_NAME, 0, named_fields, sizeof(struct named_params),
		run_drop},
	{"dataset.show", SCOPE_ADMIN, HOME_NAME, METHOD_READS, named_fields,
		sizeof(struct named_params), run_show},
	{"dataset.verify", SCOPE_ADMIN, HOME_NAME, METHOD_READS, named_fields,
		sizeof(struct named_params), run_verify},
	{0},
};
