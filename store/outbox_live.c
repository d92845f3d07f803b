/* What a process before this one has left: that which lived in it and is not among what was handed over
 * has ended with it, and webhooks are told so. */
#include "store/outbox.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

enum { LIVE_BYTES_MAX = 64 << 20 };

struct live {
	void (*write)(struct json_out *o);
	struct buf ids[WORKERS_MAX];
};

static void collect(struct worker *w, void *context)
{
	struct live *live = context;
	struct json_out o = JSON_OUT(&live->ids[w->index]);
	json_open(&o, NULL, '[');
	live->write(&o);
	json_close(&o, ']');
}

static enum err ask_now(enum store_verb verb, const struct store_value *args)
{
	struct store_op *op = store_submit_now(verb, args);
	enum err err = op->err;
	store_op_free(&op);
	return err;
}

#define ask(verb, ...) ask_now(verb, (const struct store_value[]){__VA_ARGS__, STORE_END})

static enum err keep_live(void (*write)(struct json_out *o))
{
	struct live live = {.write = write};
	enum err err = ERR_OK;
	for (int i = 0; i < workers_count(); i++)
		live.ids[i] = BUF_INIT(LIVE_BYTES_MAX);
	workers_each(collect, &live);
	for (int i = 0; i < workers_count(); i++) {
		err = err ? err : live.ids[i].err;
		if (!err)
			err = ask(STORE_LIVE_KEEP, STORE_TEXT(buf_str(&live.ids[i])));
		buf_free(&live.ids[i]);
	}
	return err;
}

void outbox_begin(void (*write)(struct json_out *o))
{
	enum err err = ask(STORE_LIVE_GONE, STORE_NULL);
	bool none = err == ERR_NOT_FOUND;
	if (!err)
		err = keep_live(write);
	if (!err)
		err = ask(STORE_LIVE_ENDED, STORE_TEXT(outbox_receivers(HOOK_CALL_ENDED)),
			STORE_TEXT(outbox_receivers(HOOK_CALL_MISSED)),
			STORE_TEXT(outbox_receivers(HOOK_ROOM_LEFT)),
			STORE_TEXT(outbox_receivers(HOOK_ROOM_VACATED)),
			STORE_TEXT(outbox_receivers(HOOK_SESSION_CLOSED)),
			STORE_INT(clock_unix_ms()));
	if (err && !none)
		log_error("webhooks are not told of what ended with the process before: the next "
			  "start tries it again",
			LOG_TEXT("why", err_info(err)->reason));
	struct store_op *op = store_ask_now(STORE_OUTBOX_COUNT, STORE_END);
	if (!op->err)
		metric_add(METRIC_HOOKS_WAITING, store_int(op, 0, 0));
	store_op_free(&op);
}
