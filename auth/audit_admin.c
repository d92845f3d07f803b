/* audit.list, and what is too old. */
#include "auth/audit.h"

#include "core/chore.h"
#include "core/log.h"
#include "store/page.h"
#include "store/users.h"

#include <time.h>

enum { ACTION_MAX = 64, CURSOR_MAX = 20 };
enum { SLICE = 1000, SLICE_EVERY_MS = 1000, LOOK_EVERY_MS = 3600 * 1000 };

static int64_t keep; /* seconds */

void audit_configure(int64_t seconds)
{
	keep = seconds;
}

/* ---- audit.list ---- */

struct audit_list {
	struct str user, action, cursor;
	struct param_int since, limit;
};

static const struct field list_fields[] = {
	FIELD(struct audit_list, user, STRING, false, 1, USER_NAME_MAX),
	FIELD(struct audit_list, action, STRING, false, 1, ACTION_MAX),
	FIELD(struct audit_list, since, INT, false, 0, INT64_MAX),
	FIELD(struct audit_list, cursor, STRING, false, 0, CURSOR_MAX),
	FIELD(struct audit_list, limit, INT, false, 1, PAGE_ROWS_MAX),
	{0},
};

static void write_entry(struct json_out *o, const struct store_op *op, size_t row)
{
	json_open(o, NULL, '{');
	json_int(o, "happened_at", store_int(op, row, 1));
	json_str(o, "action", store_str(op, row, 2));
	json_str(o, "outcome", store_str(op, row, 3));
	json_str(o, "actor", store_str(op, row, 4));
	json_str(o, "user", store_str(op, row, 5));
	json_str(o, "client", store_str(op, row, 6));
	json_str(o, "address", store_str(op, row, 7));
	json_str(o, "detail", store_str(op, row, 8));
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	const struct call *c = op->context;
	const struct audit_list *p = c->params;
	page_reply(op, page_rows(p->limit), "entries", write_entry);
}

static void run_list(struct call *c)
{
	const struct audit_list *p = c->params;
	int64_t before = INT64_MAX;
	if (p->cursor.n && (json_decode_int(p->cursor, &before) || before < 0)) {
		call_refuse(c, ERR_PARAMS, .field = STR("cursor"),
			.message = "This cursor comes from no list.");
		return;
	}
	store_ask(p->user.n ? STORE_AUDIT_LIST_USER : STORE_AUDIT_LIST, listed, c,
		STORE_INT(before), STORE_INT(p->since.n),
		STORE_TEXT(p->action.n ? p->action : STR("")), STORE_INT(page_rows(p->limit) + 1),
		STORE_TEXT(p->user.n ? p->user : STR("")), STORE_END);
}

const struct method audit_methods[] = {
	{"audit.list", SCOPE_ADMIN, HOME_CALLER, METHOD_READS, list_fields,
		sizeof(struct audit_list), run_list},
	{0},
};

/* ---- what is too old ---- */

static void look(void);

static struct chore pruning = {.run = look, .first_ms = SLICE_EVERY_MS, .every_ms = LOOK_EVERY_MS};

static void pruned(struct store_op *op)
{
	if (op->rows)
		log_info("audit entries are too old and gone", LOG_INT("entries", op->rows));
	chore_again(&pruning, op->rows == SLICE ? SLICE_EVERY_MS : LOOK_EVERY_MS);
}

static void look(void)
{
	if (keep)
		store_ask(STORE_AUDIT_PRUNE, pruned, NULL, STORE_INT(time(NULL) - keep),
			STORE_INT(SLICE), STORE_END);
}

static enum err start(struct worker *w)
{
	chore_start(&pruning, w);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	chore_drain(&pruning, w);
}

static void stop(struct worker *w)
{
	chore_stop(&pruning, w);
}

const struct worker_part audit_part = {
	.name = "audit", .start = start, .drain = drain, .stop = stop};
