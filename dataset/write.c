#include "dataset/write.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "dataset/caller.h"
#include "dataset/catalog.h"

/* ---- on the thread that writes ---- */

struct write_params {
	struct str dataset, mutation, ops;
	struct param_bool atomic;
};

struct write_call {
	struct write_job job;
	struct call *call;
	struct definition *definition;
	struct written written;
};

static void forget_rights(struct write_rights *rights)
{
	for (size_t i = 0; i < RULES; i++)
		free((void *)(uintptr_t)rights->rulings[i]);
}

/* ERR_OVERLOADED: a rule does not fit the table any more. */
static enum err find_rights(
	struct write_call *w, const struct layout *l, struct write_rights *ret_rights)
{
	enum err err = ERR_OK;
	for (size_t i = 0; !err && i < RULES; i++) {
		struct ruling *ruling = NULL;
		err = ruling_new(w->definition, (enum rule_of)i, l, w->call->who, &ruling);
		ret_rights->rulings[i] = ruling;
		if (err == ERR_FORBIDDEN) /* nobody may */
			err = ERR_OK;
	}
	caller_columns(w->definition, l, w->call->who, ret_rights->visible);
	return err;
}

static void run(struct write_job *job, sqlite3 *db, const struct layout *l)
{
	struct write_call *w = (struct write_call *)job;
	struct write_params *p = w->call->params;
	struct write_rights rights = {0};
	struct write_wish wish = {
		.dataset = p->dataset,
		.user = w->call->who->user,
		.mutation = p->mutation,
		.ops = p->ops,
		.atomic = !p->atomic.given || p->atomic.yes,
		.now_ms = clock_unix_ms(),
		.limit_ms = WRITE_LIMIT_MS,
	};
	job->err = find_rights(w, l, &rights);
	if (!job->err)
		write_run(db, l, &rights, &wish, &w->written);
	forget_rights(&rights);
}

/* ---- at home ---- */

static void answer(struct call *c, struct write_call *w)
{
	if (w->job.err)
		catalog_unavailable(c);
	else if (w->written.err)
		call_fail(c, w->written.err, &w->written.problem.why);
	else {
		json_raw(call_result(c), NULL, buf_str(&w->written.result));
		call_reply(c);
	}
}

static void write_free(struct write_call **write)
{
	struct write_call *w = *write;
	*write = NULL;
	written_free(&w->written);
	definition_unref(&w->definition);
	free(w);
}

static void done(struct write_job *job)
{
	struct write_call *w = (struct write_call *)job;
	metric_add(METRIC_DATASET_WRITES, w->written.done);
	metric_add(METRIC_DATASET_WRITE_CONFLICTS, w->written.conflicts);
	answer(w->call, w);
	write_free(&w);
}

static void dataset_write(struct call *c)
{
	struct write_params *p = c->params;
	struct attached *attached;
	struct definition *d;
	if (catalog_named(c, p->dataset, &d, &attached))
		return;
	struct write_call *w = mem_new(struct write_call);
	*w = (struct write_call){.job = {.attached = attached, .run = run, .done = done},
		.call = c,
		.definition = d};
	if (database_write(&w->job)) {
		catalog_unavailable(c);
		write_free(&w);
	}
}

static const struct field write_fields[] = {
	FIELD(struct write_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	FIELD(struct write_params, mutation, STRING, true, 1, WRITE_MUTATION_MAX),
	FIELD(struct write_params, atomic, BOOL, false, 0, 0),
	FIELD(struct write_params, ops, ARRAY, true, 0, WRITE_BYTES_MAX),
	{0},
};

const struct method write_methods[] = {
	{"dataset.write", SCOPE_DATASETS_WRITE, HOME_NAME, 0, write_fields,
		sizeof(struct write_params), dataset_write},
	{0},
};
