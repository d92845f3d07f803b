/* call_records.h: what is kept of calls: who rang whom, and what came of it. The record is written before
 * anybody is rung, so that a call that the process did not see the end of can be told as lost, and to who
 * was rung for nothing as missed.
 *
 * Thread: any worker. */
#pragma once

#include "core/call.h"
#include "signaling/calls.h"
#include "store/store.h"

struct call_list_params {
	struct str cursor;
	struct param_int limit;
};

struct call_seen_params {
	struct str calls;
	struct param_bool all;
};

enum { CALLS_SEEN_MAX = 100 };

/* done as of store_ask(), with the call as its context. */
void call_record_begin(struct live_call *l, void (*done)(struct store_op *op));
void call_record_answered(struct live_call *l);
void call_record_end(struct live_call *l, void (*done)(struct store_op *op));

/* That it was missed, as an event. */
struct frame *call_missed_event(const struct live_call *l);

/* Tells a session that was opened what its user has missed and not seen. */
void call_records_tell_missed(struct str user, struct addr session);

void call_history_run(struct call *c);
void call_seen_run(struct call *c);

/* The ids of all calls that live here, as elements of an array (outbox_begin() of store/outbox.h). */
void call_records_live(struct json_out *o);

/* Questions to the store that have not been answered, on this worker. */
int call_records_asked(void);

/* Looks after what is too old. */
void call_records_start(struct worker *w);
void call_records_drain(struct worker *w);
void call_records_stop(struct worker *w);

/* On the main thread, once, before anybody is let in: what was going on in the process before, and was not
 * handed over, is lost. */
void call_records_begin(void);
