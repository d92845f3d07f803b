/* Sessions from one process to the next: sessions_save(), sessions_leave() and sessions_load(). All
 * records of a hand-over are one behind the other, each as bytes of their own (core/record.h). */
#include "service/session_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "service/authn.h"
#include "service/quota.h"
#include "signaling/people.h"

enum {
	RECORD_MAX_BYTES =
		128 << 20, /* of one session; what it keeps is bounded by configuration */
	MESSAGES_MAX = 1 << 20,
};

/* ---- saving ---- */

/* Its end is written as a time of the wall clock: the one that both processes have. */
static void put_session(struct buf *b, const struct session *s)
{
	uint64_t now = worker_now_ms(), left_ms = s->lost_at_ms > now ? s->lost_at_ms - now : 0;
	record_put_str(b, str_of(s->handle));
	record_put_int(b, (uint64_t)s->opened_at);
	addr_put(b, s->caller.endpoint.addr);
	principal_put(b, s->caller.who);
	record_put_int(b, (uint64_t)clock_unix_ms() + left_ms);
	record_put_int(b, s->told_expiring);
	record_put_int(b, s->posts);
	record_put_int(b, s->received);
	record_put_int(b, s->sent);
	record_put_int(b, s->kept.count);
	for (uint32_t i = 0; i < s->kept.count; i++)
		record_put_str(b, frame_str(kept_at(&s->kept, i)));
}

/* An answer that is still on its way would never come: its client had better begin anew, and learn
 * that nobody knows what became of the request. */
static bool save(struct buf *out, const struct session *s)
{
	struct buf one = BUF_INIT(RECORD_MAX_BYTES);
	put_session(&one, s);
	size_t room = out->max - out->n;
	bool fits = !one.err && one.n + 16 < room && !s->caller.in_flight;
	if (fits)
		record_put_str(out, buf_str(&one));
	buf_free(&one);
	return fits;
}

size_t sessions_save(struct buf *out)
{
	size_t left_out = 0;
	for (struct session *s = sessions_first(); s; s = s->next)
		if (!save(out, s))
			left_out++;
	sessions_seal();
	return left_out;
}

void sessions_leave(struct worker *w, void *context)
{
	(void)w, (void)context;
	sessions_seal();
	for (struct session *s = sessions_first(); s; s = s->next) {
		if (s->carrier)
			carrier_close(s->carrier, 1001, "going away");
		s->carrier = NULL;
	}
}

/* ---- loading ---- */

static void read_kept(struct record_reader *r, struct session *s)
{
	const struct session_options *limits = session_limits();
	uint64_t count = record_int(r, MESSAGES_MAX);
	if (count > s->sent)
		r->bad = true;
	s->kept.first = s->sent - count + 1;
	for (uint64_t i = 0; i < count && !r->bad; i++) {
		struct buf b = frame_buf();
		buf_adds(&b, record_str(r, FRAME_MAX_BYTES));
		struct frame *f = frame_take(&b);
		kept_add(&s->kept, f, limits->kept_messages, limits->kept_bytes);
		frame_unref(&f);
	}
}

/* What the session has left of its window; a wall clock that was put back gives nobody more than the
 * longest there is. */
static uint64_t window_left(uint64_t ends_at)
{
	uint64_t now = (uint64_t)clock_unix_ms(), left = ends_at > now ? ends_at - now : 0;
	uint64_t most =
		(uint64_t)(session_limits()->resume_window_ms + session_limits()->drain_spread_ms);
	return left < most ? left : most;
}

/* The rest of a record into a session; false: it is damaged. */
static bool read_session(struct record_reader *r, struct session *s)
{
	s->lost_at_ms = worker_now_ms() + window_left(record_int(r, INT64_MAX));
	s->told_expiring = record_int(r, 1);
	s->posts = record_int(r, 1);
	s->received = s->received_told = record_int(r, INT64_MAX);
	s->sent = record_int(r, INT64_MAX);
	read_kept(r, s);
	return !r->bad && r->p == r->end;
}

static enum err load(struct record_reader *r, const char *handle, struct session_moved *ret_moved)
{
	int64_t opened_at = (int64_t)record_int(r, INT64_MAX);
	struct addr old = addr_read(r);
	struct principal *who = principal_read(r);
	if (!who || session_find_handle(handle)) {
		principal_unref(&who);
		return ERR_PARSE;
	}
	struct session *s = session_new(who);
	principal_unref(&who);
	snprintf(s->handle, sizeof(s->handle), "%s", handle);
	s->opened_at = opened_at;
	enum withdrawal_kind kind;
	bool whole = read_session(r, s), welcome = !withdrawals_fit(s->caller.who, &kind);
	if (!whole || !welcome) {
		session_free(s, false);
		return whole ? ERR_FORBIDDEN : ERR_PARSE;
	}
	s->caller.endpoint.workers_called = UINT64_MAX; /* it may be in rooms of any of them */
	quota_session_kept(s->caller.who->user);
	session_enter(s);
	people_kept(&s->caller.endpoint, s->caller.who->user);
	*ret_moved = (struct session_moved){old, s->caller.endpoint.addr, s->caller.who};
	return ERR_OK;
}

enum err sessions_load(struct str records, struct session_moved **ret_list, size_t *ret_count)
{
	struct session_moved *list = NULL;
	size_t count = 0, room = 0;
	enum err err = ERR_OK;
	struct record_reader all = record_of(records);
	while (err != ERR_PARSE && record_more(&all)) {
		struct record_reader one = record_of(record_str(&all, RECORD_MAX_BYTES));
		char handle[SESSION_HANDLE_MAX];
		record_text(&one, handle, sizeof(handle));
		if (!one.bad && session_home(handle) != worker_self())
			continue;
		if (count == room) {
			room = room ? room * 2 : 64;
			list = mem_resize(list, room, sizeof(*list));
		}
		err = one.bad ? ERR_PARSE : load(&one, handle, &list[count]);
		count += !err;
	}
	*ret_list = list;
	*ret_count = count;
	return all.bad ? ERR_PARSE : err;
}
