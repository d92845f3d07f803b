#include "signaling/calls.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "signaling/access.h"
#include "signaling/call_records.h"
#include "signaling/meeting.h"
#include "signaling/options.h"
#include "store/outbox.h"

#include <assert.h>

enum { HASH_DIGITS = 16, AGAIN_MS = 1000 };

static _Thread_local struct {
	struct map by_id;                /* all that are not over */
	struct map by_caller, by_callee; /* the sessions that have them */
	struct live_call *ended;         /* over, and not written down yet */
	int storing;                     /* operations of the store that have not come back */
	bool draining;
} here;

static int64_t now_s(void)
{
	return clock_unix_ms() / 1000;
}

struct worker *call_home(struct str id)
{
	unsigned long long hash = 0;
	if (id.n != CALL_ID_CHARS)
		return NULL;
	for (size_t i = CALL_ID_CHARS - HASH_DIGITS; i < id.n; i++) {
		char c = id.p[i];
		int digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f'   ? c - 'a' + 10
						 : -1;
		if (digit < 0)
			return NULL;
		hash = hash << 4 | (unsigned)digit;
	}
	return worker_of_hash(hash);
}

/* ---- the calls of this worker ---- */

static struct str copy(struct str s)
{
	return s.n ? (struct str){mem_copy(s), s.n} : (struct str){0};
}

static struct live_call *new_call(const char *id, struct str callee)
{
	struct live_call *l = mem_new(struct live_call);
	struct line *line = line_find_or_make(callee);
	memcpy(l->id, id, sizeof(l->id));
	l->callee = copy(callee);
	l->behind = &l->waiting;
	l->timer.data = l;
	uv_timer_init(&worker_self()->loop, &l->timer);
	map_put(&here.by_id, (struct str){l->id, CALL_ID_CHARS}, l);
	l->next = line->rung;
	l->back = &line->rung;
	if (l->next)
		l->next->back = &l->next;
	line->rung = l;
	line->rung_count++;
	metric_add(METRIC_USER_CALLS, 1);
	return l;
}

static void unlink_from(struct live_call *l)
{
	*l->back = l->next;
	if (l->next)
		l->next->back = l->back;
}

/* It can be found no more, by nobody. */
static void take_out(struct live_call *l)
{
	struct line *line = line_find(l->callee);
	map_remove(&here.by_id, (struct str){l->id, CALL_ID_CHARS});
	addr_link_remove(&here.by_caller, &l->caller_link);
	addr_link_remove(&here.by_callee, &l->callee_link);
	unlink_from(l);
	line->rung_count--;
	line_settle(line);
	metric_add(METRIC_USER_CALLS, -1);
}

static void on_closed(uv_handle_t *timer)
{
	struct live_call *l = timer->data;
	struct str *const own[] = {
		&l->room, &l->data, &l->caller, &l->caller_name, &l->callee, &l->callee_name};
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		free((char *)(uintptr_t)own[i]->p);
	free(l);
}

/* One that is in no list any more. */
static void free_call(struct live_call *l)
{
	assert(!l->inviting && !l->waiting);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}

struct live_call *calls_next(size_t *i)
{
	return map_next(&here.by_id, i);
}

/* ---- what waits for another state ---- */

static void wait_for(struct live_call *l, struct call *c)
{
	c->post.next = NULL;
	*l->behind = &c->post;
	l->behind = &c->post.next;
}

static void ask_again(struct live_call *l)
{
	struct post *p = l->waiting, *next;
	l->waiting = NULL;
	l->behind = &l->waiting;
	for (; p; p = next) {
		const struct call_params *in = ((struct call *)p)->params;
		next = p->next;
		p->run = in->word == CALL_INVITE ? calls_place : calls_ask;
		worker_post(worker_self(), p);
	}
}

/* ---- what the sessions are told ---- */

static struct frame *incoming(const struct live_call *l)
{
	struct event e;
	event_begin(&e, "call.incoming");
	json_text(&e.params, "call", l->id);
	json_str(&e.params, "room", l->room);
	json_open(&e.params, "from", '{');
	json_str(&e.params, "user", l->caller);
	json_str(&e.params, "name", l->caller_name);
	json_close(&e.params, '}');
	json_raw(&e.params, "data", l->data.n ? l->data : STR("null"));
	json_int(&e.params, "expires_at", l->expires_at);
	return event_take(&e);
}

static struct frame *ended(const struct live_call *l, const char *reason)
{
	struct event e;
	event_begin(&e, "call.ended");
	json_text(&e.params, "call", l->id);
	json_str(&e.params, "room", l->room);
	json_text(&e.params, "reason", reason);
	if (l->ended_at && l->answered_at)
		json_int(&e.params, "duration", l->ended_at - l->answered_at);
	return event_take(&e);
}

static void tell_callee(const struct live_call *l, struct addr but, struct frame *f)
{
	const struct person *p = person_find(l->callee);
	if (p)
		person_send(p, but, f);
	else
		frame_unref(&f);
}

static void tell_ended(const struct live_call *l)
{
	struct frame *f = ended(l, dialog_end_word(l->d.end));
	if (l->answered_at)
		addr_send(l->d.callee, frame_ref(f));
	else
		tell_callee(l, (struct addr){0}, frame_ref(f));
	addr_send(l->d.caller, f);
}

/* ---- the end ---- */

static void kept(struct store_op *op);

static void keep(struct live_call *l)
{
	here.storing++;
	call_record_end(l, kept);
}

static void keep_again(uv_timer_t *timer)
{
	keep(timer->data);
}

/* A store in trouble is asked until it has it: else the call would seem to go on for ever. */
static void kept(struct store_op *op)
{
	struct live_call *l = op->context;
	here.storing--;
	if (op->err == ERR_OVERLOADED && !here.draining) {
		uv_timer_start(&l->timer, keep_again, AGAIN_MS, 0);
		return;
	}
	if (dialog_missed(&l->d))
		tell_callee(l, (struct addr){0}, call_missed_event(l));
	unlink_from(l);
	free_call(l);
}

static void news_over(const struct call_news *n)
{
	line_over(n->text, n->id);
}

static void news_answered(const struct call_news *n)
{
	line_answered(n->text, n->id);
}

/* Its other homes forget it. */
static void tell_homes(const struct live_call *l)
{
	call_news_send(
		worker_home(l->caller), (struct call_news){.run = news_over}, l->id, l->caller);
	meeting_over(l->room, l->id);
}

static void over(struct live_call *l)
{
	assert(l->d.state == DIALOG_OVER);
	l->ended_at = now_s();
	uv_timer_stop(&l->timer);
	take_out(l);
	tell_ended(l);
	tell_homes(l);
	ask_again(l);
	l->next = here.ended;
	l->back = &here.ended;
	if (l->next)
		l->next->back = &l->next;
	here.ended = l;
	keep(l);
}

static void on_late(uv_timer_t *timer)
{
	struct live_call *l = timer->data;
	dialog_late(&l->d, worker_now_ms());
	if (l->d.state == DIALOG_OVER)
		over(l);
}

static void start_timer(struct live_call *l)
{
	uint64_t now = worker_now_ms();
	if (!here.draining)
		uv_timer_start(
			&l->timer, on_late, l->d.deadline_ms > now ? l->d.deadline_ms - now : 0, 0);
}

/* ---- the invitation: at the home of the callee ---- */

static bool talks(const struct line *line)
{
	for (const struct live_call *l = line->rung; l; l = l->next)
		if (l->d.state == DIALOG_TALKING)
			return true;
	return line_talks(line);
}

static enum dialog_end why_not(const struct live_call *l)
{
	const struct line *line = line_find(l->callee);
	const struct person *p = person_find(l->callee);
	if (line->rung_count > LINE_RUNG_MAX || (!options()->calls_busy_ring && talks(line)))
		return DIALOG_END_BUSY;
	if ((!p || !p->count) && !hook_wanted(HOOK_CALL_INVITED))
		return DIALOG_END_UNREACHABLE;
	return DIALOG_END_NONE;
}

static void answer_invitation(struct call *c, const struct live_call *l)
{
	const struct person *p = person_find(l->callee);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "call", l->id);
	json_str(o, "room", l->room);
	json_int(o, "ringing", l->d.state == DIALOG_RINGING && p ? (int64_t)p->count : 0);
	json_close(o, '}');
	call_reply(c);
}

static void not_written(struct live_call *l, struct call *c, enum err err)
{
	call_refuse(c, err);
	take_out(l);
	tell_homes(l);
	ask_again(l);
	free_call(l);
}

static void written(struct store_op *op)
{
	struct live_call *l = op->context;
	struct call *c = l->inviting;
	l->inviting = NULL;
	here.storing--;
	if (op->err) {
		not_written(l, c, op->err);
		return;
	}
	metric_add(METRIC_USER_CALLS_INVITED, 1);
	l->expires_at = now_s() + l->timeout_s;
	dialog_written(&l->d, why_not(l), worker_now_ms() + UINT64_C(1000) * l->timeout_s);
	answer_invitation(c, l);
	if (l->d.state == DIALOG_OVER) {
		over(l);
		return;
	}
	start_timer(l);
	tell_callee(l, (struct addr){0}, incoming(l));
	ask_again(l);
}

/* On the worker of the session that invited. */
static void news_look(const struct call_news *n)
{
	if (!addr_find(n->addr))
		calls_left(n->id, n->addr);
}

/* The invitation came here by other workers, so the end of its session can have been here before it: then
 * that is told once more. */
static void look_after_caller(const struct live_call *l)
{
	call_news_send(worker_at(l->d.caller.worker),
		(struct call_news){.run = news_look, .addr = l->d.caller}, l->id, (struct str){0});
}

static void begin(struct call *c)
{
	const struct call_params *in = c->params;
	struct live_call *l = new_call(in->id, in->user);
	l->d = dialog_new(c->from);
	l->room = copy(in->room);
	l->data = copy(in->data);
	l->caller = copy(c->who->user);
	l->caller_name = copy(c->who->name);
	l->own_room = in->own_room;
	l->timeout_s = (unsigned)in->timeout.n;
	l->started_at = now_s();
	l->expires_at = l->started_at + l->timeout_s;
	l->inviting = c;
	addr_link_put(&here.by_caller, &l->caller_link, c->from);
	look_after_caller(l);
	here.storing++;
	call_record_begin(l, written);
}

static void arrive(struct post *p)
{
	struct call *c = (struct call *)p;
	const struct call_params *in = c->params;
	if (!line_rings_before(line_find(in->user), c->who->user, in->id)) {
		begin(c);
		return;
	}
	c->post.run = calls_place;
	worker_post(worker_home(c->who->user), &c->post);
}

/* ---- the invitation: at the home of the caller ---- */

/* Who accepts goes into the room, by the worker of its session. */
static void send_in(const struct live_call *l, struct call *c)
{
	struct call_params *in = c->params;
	memcpy(in->id, l->id, sizeof(in->id));
	memcpy(in->room_name, l->room.p, l->room.n);
	in->room = (struct str){in->room_name, l->room.n};
	in->own_room = l->own_room;
	in->has_place = in->asked = false;
	c->post.run = meeting_enter;
	worker_post(worker_at(c->from.worker), &c->post);
}

/* A call that rings the caller, from whom the caller rings. */
static struct live_call *coming_from(struct str user, struct str caller)
{
	const struct line *line = line_find(user);
	struct live_call *l = line ? line->rung : NULL, *found = NULL;
	for (; l; l = l->next)
		if (str_eq(l->caller, caller) && l->d.state != DIALOG_TALKING &&
			(!found || l->d.state == DIALOG_RINGING))
			found = l;
	return found;
}

/* The one that rings already is accepted, and there is no other. */
static void cross(struct live_call *l, struct call *c)
{
	struct call_params *in = c->params;
	if (dialog_accept(&l->d, SIDE_CALLEE, c->from) == DIALOG_WAIT) {
		wait_for(l, c);
		return;
	}
	meeting_over(in->room, in->id);
	in->crossed = true;
	send_in(l, c);
}

static void refuse_place(struct call *c, enum err err, int64_t wait_ms)
{
	const struct call_params *in = c->params;
	meeting_over(in->room, in->id);
	if (err == ERR_FULL)
		deny(c, DENIAL_TOO_MANY_CALLS, LINE_RINGING_MAX);
	else
		call_refuse(c, err, .reason = "calling_too_often",
			.retry_after = (wait_ms + 999) / 1000,
			.message = "This user rings others more often than is allowed.");
}

void calls_place(struct post *p)
{
	struct call *c = (struct call *)p;
	struct call_params *in = c->params;
	struct str user = c->who->user;
	line_over(user, in->id); /* if it has come back */
	struct live_call *other = coming_from(user, in->user);
	if (other) {
		cross(other, c);
		return;
	}
	struct line *line = line_find_or_make(user);
	int64_t wait_ms = 0;
	enum err err = in->counted ? ERR_OK : line_may_place(line, &wait_ms);
	if (err) {
		refuse_place(c, err, wait_ms);
		line_settle(line);
		return;
	}
	if (!in->counted)
		line_count(line);
	in->counted = true;
	line_place(line, in->id, in->user);
	c->post.run = arrive;
	worker_post(worker_home(in->user), &c->post);
}

/* ---- what the two ask ---- */

static enum dialog_side side_of(const struct live_call *l, const struct call *c)
{
	if (addr_eq(c->from, l->d.caller))
		return SIDE_CALLER;
	return str_eq(c->who->user, l->callee) ? SIDE_CALLEE : SIDE_NONE;
}

static enum dialog_verdict judge(struct live_call *l, const struct call *c)
{
	const struct call_params *in = c->params;
	enum dialog_side side = side_of(l, c);
	if (in->word == CALL_ACCEPT)
		return dialog_accept(&l->d, side, c->from);
	if ((in->word == CALL_DECLINE && side != SIDE_CALLEE) ||
		(in->word == CALL_CANCEL && side != SIDE_CALLER))
		return DIALOG_UNKNOWN;
	return dialog_stop(&l->d, side, c->from);
}

void calls_ask(struct post *p)
{
	struct call *c = (struct call *)p;
	const struct call_params *in = c->params;
	struct live_call *l = map_get(&here.by_id, in->call);
	switch (l ? judge(l, c) : DIALOG_UNKNOWN) {
	case DIALOG_WAIT:
		wait_for(l, c);
		break;
	case DIALOG_UNKNOWN:
		deny(c, DENIAL_NO_CALL, 0);
		break;
	case DIALOG_ELSEWHERE:
		deny(c, DENIAL_ELSEWHERE, 0);
		break;
	case DIALOG_DONE:
		if (l->d.state == DIALOG_ANSWERING) {
			send_in(l, c);
		} else {
			over(l);
			call_reply_empty(c);
		}
	}
}

/* ---- what the home of the room says ---- */

static void answered(struct live_call *l, struct str callee_name)
{
	l->answered_at = now_s();
	l->callee_name = copy(callee_name);
	uv_timer_stop(&l->timer);
	tell_callee(l, l->d.callee, ended(l, "answered_elsewhere"));
	if (l->d.state == DIALOG_OVER)
		return; /* and is written down as that */
	addr_link_put(&here.by_callee, &l->callee_link, l->d.callee);
	call_news_send(
		worker_home(l->caller), (struct call_news){.run = news_answered}, l->id, l->caller);
	call_record_answered(l);
}

static void news_outcome(const struct call_news *n)
{
	struct live_call *l = map_get(&here.by_id, (struct str){n->id, CALL_ID_CHARS});
	if (!l || l->d.state != DIALOG_ANSWERING)
		return;
	dialog_answered(&l->d, (enum dialog_outcome)n->what, worker_now_ms());
	if (n->what == OUTCOME_JOINED)
		answered(l, n->text);
	if (l->d.state == DIALOG_OVER)
		over(l);
	else
		ask_again(l);
}

void calls_answered(const char *id, enum dialog_outcome outcome, struct str callee_name)
{
	call_news_send(call_home((struct str){id, CALL_ID_CHARS}),
		(struct call_news){.run = news_outcome, .what = (int)outcome}, id, callee_name);
}

static void lose(struct live_call *l, struct addr session)
{
	dialog_gone(&l->d, session);
	if (l->d.state == DIALOG_OVER)
		over(l);
}

static void news_left(const struct call_news *n)
{
	struct live_call *l = map_get(&here.by_id, (struct str){n->id, CALL_ID_CHARS});
	if (l)
		lose(l, n->addr);
}

void calls_left(const char *id, struct addr session)
{
	call_news_send(call_home((struct str){id, CALL_ID_CHARS}),
		(struct call_news){.run = news_left, .addr = session}, id, (struct str){0});
}

/* ---- sessions come and go ---- */

static void opened(struct person_session *s)
{
	const struct line *line = line_find(s->person->user);
	for (const struct live_call *l = line ? line->rung : NULL; l; l = l->next)
		if (l->d.state == DIALOG_RINGING || l->d.state == DIALOG_ANSWERING)
			addr_send(s->addr, incoming(l));
	call_records_tell_missed(s->person->user, s->addr);
}

const struct people_listener calls_listener = {.opened = opened};

static void gone(struct addr endpoint, bool clean)
{
	(void)clean;
	struct addr_link *link = addr_link_first(&here.by_caller, endpoint), *next;
	for (; link; link = next) {
		next = link->next;
		lose((struct live_call *)(void *)((char *)link -
			     offsetof(struct live_call, caller_link)),
			endpoint);
	}
	for (link = addr_link_first(&here.by_callee, endpoint); link; link = next) {
		next = link->next;
		lose((struct live_call *)(void *)((char *)link -
			     offsetof(struct live_call, callee_link)),
			endpoint);
	}
}

/* ---- from before ---- */

static void adopt_placed(const struct live_call *from)
{
	struct line *line = line_find_or_make(from->caller);
	line_place(line, from->id, from->callee);
	if (from->d.state == DIALOG_TALKING)
		line_answered(from->caller, from->id);
}

static void adopt_call(const struct live_call *from, uint64_t late_ms)
{
	struct live_call *l = new_call(from->id, from->callee);
	l->d = from->d;
	l->room = copy(from->room);
	l->data = copy(from->data);
	l->caller = copy(from->caller);
	l->caller_name = copy(from->caller_name);
	l->callee_name = copy(from->callee_name);
	l->own_room = from->own_room;
	l->timeout_s = from->timeout_s;
	l->started_at = from->started_at;
	l->expires_at = from->expires_at;
	l->answered_at = from->answered_at;
	l->d.deadline_ms = worker_now_ms() + late_ms;
	bool talks = l->d.state == DIALOG_TALKING;
	if (l->d.caller.generation)
		addr_link_put(&here.by_caller, &l->caller_link, l->d.caller);
	if (talks && l->d.callee.generation)
		addr_link_put(&here.by_callee, &l->callee_link, l->d.callee);
	if (!talks)
		start_timer(l);
	if (!l->d.caller.generation || (talks && !l->d.callee.generation))
		lose(l, (struct addr){0});
}

void calls_adopt(const struct live_call *from, uint64_t late_ms)
{
	struct str id = {from->id, CALL_ID_CHARS};
	if (worker_home(from->caller) == worker_self())
		adopt_placed(from);
	if (worker_home(from->callee) != worker_self() || map_get(&here.by_id, id))
		return;
	adopt_call(from, late_ms);
}

/* ---- life of the worker ---- */

static enum err start(struct worker *w)
{
	lines_start(w);
	call_records_start(w);
	return ERR_OK;
}

/* What rings rings on in the next process. */
static void drain(struct worker *w)
{
	struct live_call *l;
	here.draining = true;
	for (size_t i = 0; (l = calls_next(&i));)
		uv_timer_stop(&l->timer);
	call_records_drain(w);
}

static bool drained(struct worker *w)
{
	(void)w;
	return !here.storing && !call_records_asked();
}

static void free_waiting(struct live_call *l)
{
	while (l->waiting) {
		struct call *c = (struct call *)l->waiting;
		l->waiting = l->waiting->next;
		call_free(&c);
	}
	call_free(&l->inviting);
}

static void stop(struct worker *w)
{
	struct live_call *l;
	for (size_t i = 0; (l = calls_next(&i));) {
		free_waiting(l);
		metric_add(METRIC_USER_CALLS, -1);
		free_call(l);
	}
	while ((l = here.ended)) {
		unlink_from(l);
		free_call(l);
	}
	free(here.by_id.slots);
	free(here.by_caller.slots);
	free(here.by_callee.slots);
	here.by_id = here.by_caller = here.by_callee = (struct map){0};
	here.draining = false;
	lines_stop();
	call_records_stop(w);
}

const struct worker_part calls_part = {.name = "calls",
	.start = start,
	.drain = drain,
	.drained = drained,
	.stop = stop,
	.gone = gone};
