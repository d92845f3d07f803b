#include "service/withdrawn.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/authn.h"
#include "service/opening.h"
#include "service/session.h"
#include "store/store.h"

#include <time.h>

enum { PURGE_MS = 3600 * 1000, PURGE_SLICE = 1000 };

static _Thread_local uv_timer_t purger; /* worker 0's */

struct notice {
	struct post post;
	enum withdrawal_kind kind;
	size_t n;
	char value[];
};

/* Who was let in before the table knew has become a session or an opening of this worker before this
 * runs, and so is found; who comes later is refused by the table. */
static void run_notice(struct post *p)
{
	struct notice *n = (struct notice *)p;
	struct str value = {n->value, n->n};
	authn_forget(n->kind, value);
	sessions_withdraw(n->kind, value);
	openings_withdraw();
	free(n);
}

void withdrawn_add(enum withdrawal_kind kind, struct str value)
{
	metric_add(METRIC_WITHDRAWALS, 1);
	for (int i = 0; i < workers_count(); i++) {
		struct notice *n = mem_alloc(sizeof(*n) + value.n);
		*n = (struct notice){.post = {.run = run_notice}, .kind = kind, .n = value.n};
		if (value.n)
			memcpy(n->value, value.p, value.n);
		worker_post(worker_at(i), &n->post);
	}
}

void withdrawn_at(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until)
{
	withdrawals_note(kind, value, at, until);
	withdrawn_add(kind, value);
}

/* ---- what no living token can fit any more ---- */

static void purge_slice(void);

static void purged(struct store_op *op)
{
	if (op->err)
		log_warn("withdrawals that are over were not taken out",
			LOG_TEXT("why", err_info(op->err)->reason));
	else if (op->rows == PURGE_SLICE)
		purge_slice(); /* what others have asked meanwhile comes first */
}

static void purge_slice(void)
{
	store_ask(STORE_WITHDRAWALS_PURGE, purged, NULL, STORE_INT(time(NULL)),
		STORE_INT(PURGE_SLICE), STORE_END);
}

static void on_purge(uv_timer_t *timer)
{
	(void)timer;
	withdrawals_purge((int64_t)time(NULL));
	purge_slice();
}

static enum err start(struct worker *w)
{
	if (w->index)
		return ERR_OK;
	uv_timer_init(&w->loop, &purger);
	uv_timer_start(&purger, on_purge, PURGE_MS, PURGE_MS);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	if (!w->index)
		uv_timer_stop(&purger);
}

static void stop(struct worker *w)
{
	if (!w->index)
		uv_close((uv_handle_t *)&purger, NULL);
}

const struct worker_part withdrawn_part = {
	.name = "withdrawals", .start = start, .drain = drain, .stop = stop};
