#include "signaling/call_hand_over.h"

#include "core/clock.h"
#include "core/mem.h"
#include "signaling/calls.h"

enum {
	RECORD_MAX_BYTES = 64 * 1024,
	RINGS_MAX_MS = 120000,
};

/* ---- saving ---- */

/* What an invitation said is for sessions that are opened later: it is what can be done without, when there
 * is little room. */
static void save(struct buf *out, const struct live_call *l)
{
	struct buf one = BUF_INIT(RECORD_MAX_BYTES);
	uint64_t now = worker_now_ms();
	uint64_t left = l->d.deadline_ms > now ? l->d.deadline_ms - now : 0;
	bool room = out->max - out->n > out->max / 2;
	record_put_str(&one, str_of(l->id));
	record_put_int(&one, l->d.state == DIALOG_TALKING);
	addr_put(&one, l->d.caller);
	addr_put(&one, l->d.state == DIALOG_TALKING ? l->d.callee : (struct addr){0});
	record_put_int(&one, (uint64_t)clock_unix_ms() + left);
	record_put_str(&one, l->room);
	record_put_str(&one, l->caller);
	record_put_str(&one, l->caller_name);
	record_put_str(&one, l->callee);
	record_put_str(&one, l->callee_name);
	record_put_str(&one, room ? l->data : (struct str){0});
	record_put_int(&one, (uint64_t)l->started_at);
	record_put_int(&one, (uint64_t)l->expires_at);
	record_put_int(&one, (uint64_t)l->answered_at);
	record_put_str(out, buf_str(&one));
	buf_free(&one);
}

void calls_save(struct buf *out)
{
	struct live_call *l;
	for (size_t i = 0; (l = calls_next(&i));)
		if (l->d.state != DIALOG_WRITING)
			save(out, l);
}

/* ---- loading ---- */

static struct addr find(struct addr old, const struct chapter_lookup *lookup)
{
	struct addr now = {0};
	const struct principal *who;
	lookup->find(lookup->context, old, &now, &who);
	return now;
}

static uint64_t ms_left(uint64_t until)
{
	uint64_t now = (uint64_t)clock_unix_ms(), left = until > now ? until - now : 0;
	return left < RINGS_MAX_MS ? left : RINGS_MAX_MS;
}

void calls_load(struct record_reader *r, const struct chapter_lookup *lookup)
{
	struct live_call l = {0};
	record_text(r, l.id, sizeof(l.id));
	l.d.state = record_int(r, 1) ? DIALOG_TALKING : DIALOG_RINGING;
	l.d.caller = addr_read(r);
	l.d.callee = addr_read(r);
	uint64_t until = record_int(r, INT64_MAX);
	l.room = record_str(r, NAME_MAX_BYTES);
	l.caller = record_str(r, CALL_USER_MAX);
	l.caller_name = record_str(r, SIZE_MAX);
	l.callee = record_str(r, CALL_USER_MAX);
	l.callee_name = record_str(r, SIZE_MAX);
	l.data = record_str(r, CALL_DATA_CEILING);
	l.started_at = (int64_t)record_int(r, INT64_MAX);
	l.expires_at = (int64_t)record_int(r, INT64_MAX);
	l.answered_at = (int64_t)record_int(r, INT64_MAX);
	if (r->bad || call_home(str_of(l.id)) != worker_home(l.callee)) {
		r->bad = true;
		return;
	}
	l.d.caller = find(l.d.caller, lookup);
	l.d.callee = find(l.d.callee, lookup);
	calls_adopt(&l, ms_left(until));
}
