#include "signaling/dialog.h"

#include <assert.h>

const char *dialog_end_word(enum dialog_end end)
{
	static const char *const words[] = {NULL,
#define DIALOG_END(name, word) word,
		DIALOG_ENDS(DIALOG_END)
#undef DIALOG_END
	};
	return words[end];
}

struct dialog dialog_new(struct addr caller)
{
	return (struct dialog){.state = DIALOG_WRITING, .caller = caller};
}

static void finish(struct dialog *d, enum dialog_end end)
{
	assert(d->state != DIALOG_OVER && end);
	d->state = DIALOG_OVER;
	d->end = end;
}

void dialog_written(struct dialog *d, enum dialog_end cannot, uint64_t deadline_ms)
{
	assert(d->state == DIALOG_WRITING);
	d->deadline_ms = deadline_ms;
	d->state = DIALOG_RINGING;
	if (cannot)
		finish(d, cannot);
	else if (d->caller_gone)
		finish(d, DIALOG_END_CANCELLED);
}

static bool unsettled(const struct dialog *d)
{
	return d->state == DIALOG_WRITING || d->state == DIALOG_ANSWERING;
}

enum dialog_verdict dialog_accept(struct dialog *d, enum dialog_side side, struct addr session)
{
	if (side != SIDE_CALLEE || d->state == DIALOG_OVER)
		return DIALOG_UNKNOWN;
	if (unsettled(d))
		return DIALOG_WAIT;
	if (d->state == DIALOG_TALKING)
		return DIALOG_ELSEWHERE;
	d->state = DIALOG_ANSWERING;
	d->callee = session;
	return DIALOG_DONE;
}

void dialog_answered(struct dialog *d, enum dialog_outcome outcome, uint64_t now_ms)
{
	assert(d->state == DIALOG_ANSWERING);
	if (outcome == OUTCOME_JOINED) {
		d->state = DIALOG_TALKING;
		if (d->caller_gone)
			finish(d, DIALOG_END_HANGUP);
		return;
	}
	d->callee = (struct addr){0};
	d->state = DIALOG_RINGING;
	if (outcome == OUTCOME_ALONE || d->caller_gone)
		finish(d, DIALOG_END_CANCELLED);
	else if (outcome == OUTCOME_REFUSED)
		finish(d, DIALOG_END_UNREACHABLE);
	else
		dialog_late(d, now_ms);
}

enum dialog_verdict dialog_stop(struct dialog *d, enum dialog_side side, struct addr session)
{
	if (side == SIDE_NONE || d->state == DIALOG_OVER)
		return DIALOG_UNKNOWN;
	if (unsettled(d))
		return DIALOG_WAIT;
	if (d->state == DIALOG_RINGING)
		finish(d, side == SIDE_CALLER ? DIALOG_END_CANCELLED : DIALOG_END_DECLINED);
	else if (side == SIDE_CALLEE && !addr_eq(session, d->callee))
		return DIALOG_ELSEWHERE;
	else
		finish(d, DIALOG_END_HANGUP);
	return DIALOG_DONE;
}

/* Of the callee's sessions that it only rings at any may end: another one may be opened, or come back. */
void dialog_gone(struct dialog *d, struct addr session)
{
	bool caller = addr_eq(session, d->caller);
	if (d->state == DIALOG_OVER)
		return;
	d->caller_gone |= caller;
	if (d->state == DIALOG_RINGING && caller)
		finish(d, DIALOG_END_CANCELLED);
	else if (d->state == DIALOG_TALKING && (caller || addr_eq(session, d->callee)))
		finish(d, DIALOG_END_HANGUP);
}

void dialog_late(struct dialog *d, uint64_t now_ms)
{
	if (d->state == DIALOG_RINGING && now_ms >= d->deadline_ms)
		finish(d, DIALOG_END_TIMEOUT);
}

bool dialog_missed(const struct dialog *d)
{
	return d->end == DIALOG_END_TIMEOUT || d->end == DIALOG_END_CANCELLED ||
		d->end == DIALOG_END_UNREACHABLE || d->end == DIALOG_END_BUSY;
}
