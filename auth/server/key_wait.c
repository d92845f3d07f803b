#include "auth/server/key_wait.h"

#include "auth/server/key_rotation.h"
#include "auth/server/keys.h"
#include "core/json_out.h"
#include "core/mem.h"

enum { ERROR_MAX = 512 };

struct waiter {
	struct waiter *next;
	struct http_exchange *x;
	void (*serve)(struct http_exchange *x);
};

static _Thread_local struct waiter *waiters; /* in no order */
static _Thread_local bool draining;

static void refuse(struct http_exchange *x)
{
	struct buf b = BUF_INIT(ERROR_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_text(&o, "error", "temporarily_unavailable");
	json_text(&o, "error_description",
		"The service is making its keys. Try again in a few seconds.");
	json_close(&o, '}');
	http_header(x, "Retry-After", STR("5"));
	http_reply_json(x, 503, &b);
}

static void end_all(bool served)
{
	struct waiter *all = waiters, *next;
	waiters = NULL;
	for (struct waiter *w = all; w; w = next) {
		next = w->next;
		if (served)
			w->serve(w->x);
		else
			refuse(w->x);
		free(w);
	}
}

void keys_needed(struct http_exchange *x, void (*serve)(struct http_exchange *x))
{
	if (keys_complete()) {
		serve(x);
	} else if (draining) {
		refuse(x);
	} else {
		struct waiter *w = mem_new(struct waiter);
		*w = (struct waiter){.next = waiters, .x = x, .serve = serve};
		waiters = w;
		rotation_wanted();
	}
}

void key_waiters_settle(void)
{
	if (keys_complete())
		end_all(true);
}

void key_waiters_refuse(void)
{
	end_all(false);
}

void key_waiters_drain(void)
{
	draining = true;
	end_all(false);
}
