#include "auth/audit.h"

#include "core/bucket.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "store/store.h"

#include <time.h>

static const struct bucket_size refusals_kept = {.tokens = 20, .period_ms = 1000, .burst = 500};
static _Thread_local struct bucket refusals;

static void added(struct store_op *op)
{
	if (op->err)
		log_error("audit entry not kept", LOG_STR("action", op->args[1].bytes),
			LOG_TEXT("why", err_info(op->err)->reason));
}

void audit_write(const struct audit_entry *e)
{
	struct str outcome = e->outcome ? str_of(e->outcome) : STR("ok");
	log_info("audit", LOG_TEXT("action", e->action), LOG_STR("outcome", outcome),
		LOG_STR("actor", e->actor), LOG_STR("user", e->user), LOG_STR("client", e->client),
		LOG_STR("address", e->address), LOG_STR("detail", e->detail));
	if (e->outcome && bucket_take(&refusals, refusals_kept, clock_steady_ms(), 1)) {
		metric_add(METRIC_AUDIT_DROPPED, 1);
		return;
	}
	store_ask(STORE_AUDIT_ADD, added, NULL, STORE_INT(time(NULL)),
		STORE_TEXT(str_of(e->action)), STORE_TEXT(outcome), STORE_TEXT(e->actor),
		STORE_TEXT(e->user), STORE_TEXT(e->client), STORE_TEXT(e->address),
		STORE_TEXT(e->detail), STORE_END);
}
