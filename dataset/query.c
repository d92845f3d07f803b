#include "dataset/query.h"

#include "core/clock.h"
#include "core/mem.h"
#include "dataset/catalog.h"

#include <stdlib.h>

/* For its turn: whoever asks has mostly gone then, and those behind it wait as well. */
enum { QUERY_WAIT_MS = 3000 };

struct query_params {
	struct str dataset, where, columns, order, cursor, ranges;
	struct param_int limit;
	struct param_bool count;
};

struct query_call {
	struct read_job job;
	struct call *call;
	struct definition *definition;
	int64_t asked_at;
	struct query_answer answer;
};

/* In the pool. */
static void run(struct read_job *job, struct reading *r)
{
	struct query_call *q = (struct query_call *)job;
	const struct query_params *p = q->call->params;
	if (clock_steady_ms() - q->asked_at > QUERY_WAIT_MS) {
		job->err = wish_refuse(&q->answer.problem, ERR_OVERLOADED, "dataset_unavailable",
			"", "too many queries wait");
		return;
	}
	struct query_wish wish = {
		.shape = {.where = p->where, .columns = p->columns, .order = p->order},
		.cursor = p->cursor,
		.ranges = p->ranges,
		.limit = p->limit.given ? p->limit.n : QUERY_ROWS,
		.count = p->count.yes,
	};
	job->err = query_run(r, q->definition, job->layout, q->call->who, &wish, &q->answer);
}

static void done(struct read_job *job)
{
	struct query_call *q = (struct query_call *)job;
	struct call *c = q->call;
	if (!job->err) {
		json_raw(call_result(c), NULL, buf_str(&q->answer.result));
		call_reply(c);
	} else if (q->answer.problem.why.message) {
		if (job->err == ERR_OVERLOADED)
			q->answer.problem.why.retry_after = OVERLOADED_RETRY_S;
		call_fail(c, job->err, &q->answer.problem.why);
	} else {
		catalog_unavailable(c);
	}
	buf_free(&q->answer.result);
	definition_unref(&q->definition);
	free(q);
}

static void dataset_query(struct call *c)
{
	struct query_params *p = c->params;
	struct attached *attached;
	struct definition *d;
	if (catalog_named(c, p->dataset, &d, &attached) != ERR_OK)
		return;
	struct query_call *q = mem_new(struct query_call);
	q->job.attached = attached;
	q->job.run = run;
	q->job.done = done;
	q->call = c;
	q->definition = d;
	q->asked_at = clock_steady_ms();
	if (database_read(&q->job) == ERR_OK)
		return;
	catalog_unavailable(c);
	definition_unref(&d);
	free(q);
}

static const struct field query_fields[] = {
	FIELD(struct query_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	FIELD(struct query_params, where, ARRAY, false, 0, 16 * 1024), /* where.c says it better */
	FIELD(struct query_params, columns, ARRAY, false, 0, 16 * 1024),
	FIELD(struct query_params, order, ARRAY, false, 0, 16 * 1024),
	FIELD(struct query_params, limit, INT, false, 1, QUERY_ROWS_MAX),
	FIELD(struct query_params, cursor, STRING, false, 1, QUERY_CURSOR_MAX),
	FIELD(struct query_params, count, BOOL, false, 0, 0),
	FIELD(struct query_params, ranges, OBJECT, false, 0, 16 * 1024),
	{0},
};

const struct method query_methods[] = {
	{"dataset.query", SCOPE_DATASETS_READ, HOME_NAME, METHOD_READS, query_fields,
		sizeof(struct query_params), dataset_query},
	{0},
};
