#include "signaling/meeting.h"

#include "core/mem.h"
#include "signaling/announce.h"
#include "signaling/asked.h"
#include "signaling/attendance.h"
#include "signaling/by_addr.h"
#include "signaling/calls.h"
#include "signaling/join.h"
#include "signaling/options.h"
#include "signaling/told.h"

#include <assert.h>

enum { RECORD_MAX_BYTES = 8192 };

/* A room, and what is to happen there. */
struct venue {
	struct meeting *first;
	struct str room;
	char bytes[];
};

struct meeting {
	char id[CALL_ID_CHARS + 1];
	struct venue *venue;
	struct meeting *next; /* in the same room */
	bool own_room;
	/* the session that invited */
	struct addr_link link;
	struct addr caller;
	struct principal *who;
	bool has_place; /* kept for it until it comes in */
	bool connected, gone;
	struct str callee;      /* the user; own copy */
	bool lets_in;           /* the callee is let in for the call alone */
	bool met;               /* both have come in */
	struct addr members[2]; /* of those, who has not left */
};

static _Thread_local struct map venues, by_caller;

/* ---- the meetings of this worker ---- */

static struct meeting *of_link(struct addr_link *l)
{
	return (struct meeting *)(void *)((char *)l - offsetof(struct meeting, link));
}

static struct meeting *find(struct str room, const char *id)
{
	const struct venue *v = map_get(&venues, room);
	struct meeting *m = v ? v->first : NULL;
	while (m && strcmp(m->id, id))
		m = m->next;
	return m;
}

static struct venue *find_or_make_venue(struct str room)
{
	struct venue *v = map_get(&venues, room);
	if (!v) {
		v = mem_alloc(sizeof(*v) + room.n);
		memcpy(v->bytes, room.p, room.n);
		v->room = (struct str){v->bytes, room.n};
		map_put(&venues, v->room, v);
	}
	return v;
}

/* has_place and what follows it is the caller's to set. */
static struct meeting *new_meeting(const char *id, struct str room, struct addr caller,
	const struct principal *who, struct str callee)
{
	struct meeting *m = mem_new(struct meeting);
	memcpy(m->id, id, sizeof(m->id));
	m->venue = find_or_make_venue(room);
	m->next = m->venue->first;
	m->venue->first = m;
	m->own_room = call_owns_room(room);
	m->caller = caller;
	m->who = principal_ref(who);
	m->connected = true;
	m->callee = (struct str){mem_copy(callee), callee.n};
	addr_link_put(&by_caller, &m->link, caller);
	return m;
}

static void take_out(struct meeting *m)
{
	struct venue *v = m->venue;
	struct meeting **at = &v->first;
	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (!v->first) {
		map_remove(&venues, v->room);
		free(v);
	}
}

static void free_meeting(struct meeting *m)
{
	addr_link_remove(&by_caller, &m->link);
	take_out(m);
	principal_unref(&m->who);
	free((char *)(uintptr_t)m->callee.p);
	free(m);
}

/* ---- the invitation ---- */

static void go_on(struct call *c)
{
	c->post.run = calls_place;
	worker_post(worker_home(c->who->user), &c->post);
}

static void begin(struct call *c)
{
	const struct call_params *in = c->params;
	struct meeting *m = new_meeting(in->id, in->room, c->from, c->who, in->user);
	m->has_place = in->has_place;
	go_on(c);
}

static void refuse(struct call *c, enum err err, const char *reason)
{
	const struct call_params *in = c->params;
	if (in->has_place)
		attendance_give_back(c->from);
	call_refuse(c, err, .reason = reason);
}

static void refuse_denied(struct place *p, struct call *c, enum denial why, size_t limit)
{
	const struct call_params *in = c->params;
	if (in->has_place)
		attendance_give_back(c->from);
	deny_for_now(p, c, why, limit);
}

/* Whether the caller may come in, who may be there already. */
static enum denial may_come(struct place *p, const struct principal *who, struct addr session,
	bool has_place, size_t *ret_limit)
{
	if (p->room && room_by_endpoint(p->room, session))
		return DENIAL_NONE;
	enum denial why = access_enter(p, who);
	why = why ? why : access_use(p);
	return why ? why : join_fits(p, has_place, 0, ret_limit);
}

/* The backend is asked about who joins, as by room.join: also about who would not get in but for a role
 * that it gives. False: it need not be. */
static bool asks(struct place *p, struct call *c, enum denial why, asked_then *then)
{
	const struct call_params *in = c->params;
	struct backend_question *q = NULL;
	if (in->asked || !asked_wanted(BACKEND_JOIN, c) || access_member(p, c) ||
		(why && why != DENIAL_PRIVATE && why != DENIAL_LOBBY))
		return false;
	struct json_out *o = asked_begin(p, c, BACKEND_JOIN, &q);
	json_text(o, "role", role_word(p->room ? access_role(p, c->who) : ROLE_MEMBER));
	asked_first(p, c, q, then);
	return true;
}

/* It said yes. */
static void heed(struct place *p, struct call *c, const struct backend_answer *a)
{
	struct call_params *in = c->params;
	in->asked = true;
	asked_heed_role(p, c->who, a);
}

static void refuse_asked(struct call *c, const struct backend_answer *a)
{
	const struct call_params *in = c->params;
	if (in->has_place)
		attendance_give_back(c->from);
	call_fail(c, a->err, &a->why);
}

static void invite_visit(struct place *p, struct call *c);

static void invite_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	if (a->err) {
		refuse_asked(c, a);
		return;
	}
	heed(p, c, a);
	invite_visit(p, c);
}

/* The call's own room is made when the two meet. */
static void invite_visit(struct place *p, struct call *c)
{
	const struct call_params *in = c->params;
	size_t limit = 0;
	enum denial why = DENIAL_NONE;
	if (!in->own_room) {
		join_make(p, c->who);
		why = may_come(p, c->who, c->from, in->has_place, &limit);
	} else if (!principal_sees_room(c->who, in->room)) {
		why = DENIAL_NOT_IN_TOKEN;
	}
	if (asks(p, c, why, invite_asked))
		return;
	if (why)
		refuse_denied(p, c, why, limit);
	else
		begin(c);
}

static void invite_arrive(struct post *p)
{
	rooms_visit_or((struct call *)p, VISIT_LOADED, invite_visit, refuse);
}

/* Its end is told to all homes of the call. */
static void mark(struct endpoint *from, struct str name)
{
	from->workers_called |= UINT64_C(1) << worker_home(name)->index;
}

void meeting_invite(struct call *c)
{
	struct call_params *in = c->params;
	struct endpoint *from = addr_find(c->from);
	mark(from, c->who->user);
	mark(from, in->user);
	in->has_place = attendance_take_place(c->from, options()->rooms_per_session);
	if (in->own_room && !in->has_place) {
		deny(c, DENIAL_TOO_MANY_ROOMS, options()->rooms_per_session);
		return;
	}
	c->post.run = invite_arrive;
	if (call_travel(c, worker_home(in->room)))
		refuse(c, ERR_OVERLOADED, NULL);
}

/* ---- coming in ---- */

static void say(const struct call *c, enum dialog_outcome outcome)
{
	const struct call_params *in = c->params;
	calls_answered(in->id, outcome, c->who->name);
}

static void not_entered(struct call *c, enum err err, const char *reason)
{
	say(c, OUTCOME_REFUSED);
	refuse(c, err, reason);
}

static void not_let_in(
	struct place *p, struct call *c, enum dialog_outcome outcome, enum denial why, size_t limit)
{
	say(c, outcome);
	refuse_denied(p, c, why, limit);
}

static void make_room(struct place *p, const struct meeting *m)
{
	if (m->own_room && !p->room)
		rooms_make_for_call(p, m->who->user, m->callee);
	else
		join_make(p, m->who);
}

/* As access_enter(), with the caller to open the door: whether that is what lets them in. */
static enum denial let_in(
	struct place *p, const struct meeting *m, const struct principal *who, bool *ret_lets_in)
{
	const struct member *caller = room_by_endpoint(p->room, m->caller);
	enum role opens = caller ? caller->role : access_role(p, m->who);
	enum denial why = access_enter(p, who);
	bool closed = p->rules && p->rules->locked;
	*ret_lets_in = (why == DENIAL_PRIVATE || why == DENIAL_LOBBY) && opens >= ROLE_MEMBER;
	if (*ret_lets_in)
		why = closed ? DENIAL_LOCKED : DENIAL_NONE;
	return why == DENIAL_LOCKED && opens >= ROLE_MODERATOR ? DENIAL_NONE : why;
}

/* Whether both may come in. */
static enum denial may_meet(struct place *p, const struct meeting *m, const struct call *c,
	bool *ret_lets_in, size_t *ret_limit)
{
	const struct call_params *in = c->params;
	enum denial why = may_come(p, m->who, m->caller, m->has_place, ret_limit);
	if (why || access_member(p, c))
		return why;
	why = let_in(p, m, c->who, ret_lets_in);
	why = why ? why : access_use(p);
	return why ? why
		   : join_fits(p, in->has_place, !room_by_endpoint(p->room, m->caller), ret_limit);
}

/* What the caller's answer to its invitation left open. */
static void tell_accepted(
	const struct member *member, const struct call_params *in, const struct principal *by)
{
	struct event e;
	event_begin(&e, "call.accepted");
	json_text(&e.params, "call", in->id);
	json_str(&e.params, "room", in->room);
	json_open(&e.params, "by", '{');
	json_str(&e.params, "user", by->user);
	json_str(&e.params, "name", by->name);
	json_close(&e.params, '}');
	join_write(&e.params, "joined", member, NULL);
	struct frame *f = event_take(&e);
	if (f)
		addr_send(member->addr, f);
}

/* Both invited: this one's answer is that of its invitation, and what came of it is told as to the other. */
static void answer_crossed(struct call *c, const struct member *member, const struct principal *by)
{
	const struct call_params *in = c->params;
	struct json_out *o = call_result(c);
	struct call_params kept = *in;
	kept.room = member->room->name; /* the call's own goes with its answer */
	json_open(o, NULL, '{');
	json_text(o, "call", in->id);
	json_str(o, "room", in->room);
	json_int(o, "ringing", 0);
	json_bool(o, "crossed", true);
	json_close(o, '}');
	call_reply(c);
	tell_accepted(member, &kept, by);
}

static void answer(struct call *c, const struct member *member, const struct principal *by)
{
	const struct call_params *in = c->params;
	if (in->crossed) {
		answer_crossed(c, member, by);
		return;
	}
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "call", in->id);
	json_str(o, "room", in->room);
	join_write(o, "joined", member, NULL);
	json_close(o, '}');
	call_reply(c);
}

static struct member *come_in(struct place *p, struct addr session, const struct principal *who,
	bool has_place, const char *peer)
{
	struct member *member = room_by_endpoint(p->room, session);
	if (member)
		join_again(member, has_place, (struct str){0});
	else
		member = join_enter(
			p, who, session, (struct str){0}, (struct str){peer, PEER_CHARS});
	member->calls++;
	return member;
}

/* It has no connection just now: the others are told as of anybody. */
static void go_away(struct member *member)
{
	announce_before(member->room);
	member->connected = false;
	announce_connected(member);
}

/* Only behind what both are told of it: the call can end at once, and that is told from another worker. */
static void answer_and_say(struct call *c, const struct member *member, const struct principal *by)
{
	const struct call_params *in = c->params;
	struct principal *who = principal_ref(c->who);
	char id[sizeof(in->id)];
	memcpy(id, in->id, sizeof(id));
	answer(c, member, by);
	calls_answered(id, OUTCOME_JOINED, who->name);
	principal_unref(&who);
}

/* The caller first, who so is told of the other one as of anybody who joins. */
static void meet(struct place *p, struct meeting *m, struct call *c)
{
	const struct call_params *in = c->params;
	bool is_new = !room_by_endpoint(p->room, m->caller);
	struct member *caller = come_in(p, m->caller, m->who, m->has_place, in->peers[0]);
	m->has_place = false;
	m->met = true;
	m->members[0] = m->caller;
	m->members[1] = c->from;
	tell_accepted(caller, in, c->who);
	struct member *callee = come_in(p, c->from, c->who, in->has_place, in->peers[1]);
	if (is_new && !m->connected)
		go_away(caller);
	answer_and_say(c, callee, m->who);
	if (m->gone)
		rooms_end_membership(caller, "lost");
}

static void meet_told(struct place *p, struct call *c, enum err err)
{
	const struct call_params *in = c->params;
	if (err)
		not_entered(c, err, NULL);
	else
		meet(p, find(in->room, in->id), c);
}

/* Who was not in the room has joined. */
static void meet_first_told(struct place *p, const struct meeting *m, struct call *c)
{
	const struct call_params *in = c->params;
	struct hooks h = {0};
	bool caller = !room_by_endpoint(p->room, m->caller);
	if (caller)
		told_joined(&h, p->room, 0, m->who, (struct str){in->peers[0], PEER_CHARS},
			access_role(p, m->who));
	if (!access_member(p, c))
		told_joined(&h, p->room, caller, c->who, (struct str){in->peers[1], PEER_CHARS},
			access_role(p, c->who));
	if (h.first)
		told_first(p, c, &h, meet_told);
	else
		meet_told(p, c, ERR_OK);
}

/* The callee may be in the room as long as the call goes on. */
static void open_for(struct place *p, struct meeting *m)
{
	m->lets_in = true;
	standing_put(&p->standings, m->callee, true)->called++;
}

static void enter_visit(struct place *p, struct call *c);

static void enter_asked(struct place *p, struct call *c, const struct backend_answer *a)
{
	if (a->err) {
		say(c, OUTCOME_REFUSED);
		refuse_asked(c, a);
		return;
	}
	heed(p, c, a);
	enter_visit(p, c);
}

static void enter_visit(struct place *p, struct call *c)
{
	struct call_params *in = c->params;
	struct meeting *m = find(in->room, in->id);
	size_t limit = 0;
	bool lets_in = false;
	if (!m || m->gone) {
		not_let_in(p, c, OUTCOME_ALONE, DENIAL_NO_CALL, 0);
		return;
	}
	make_room(p, m);
	enum denial why = may_meet(p, m, c, &lets_in, &limit);
	if (asks(p, c, why, enter_asked))
		return;
	if (why) {
		not_let_in(p, c, OUTCOME_REFUSED, why, limit);
		return;
	}
	if (lets_in)
		open_for(p, m);
	room_new_peer(in->peers[0]);
	room_new_peer(in->peers[1]);
	meet_first_told(p, m, c);
}

static void enter_arrive(struct post *p)
{
	rooms_visit_or((struct call *)p, VISIT_LOADED, enter_visit, not_entered);
}

void meeting_enter(struct post *p)
{
	struct call *c = (struct call *)p;
	struct call_params *in = c->params;
	if (!addr_find(c->from)) {
		say(c, OUTCOME_VANISHED);
		call_refuse(c, ERR_GONE);
		return;
	}
	in->has_place = attendance_take_place(c->from, options()->rooms_per_session);
	c->post.run = enter_arrive;
	if (call_travel(c, worker_home(in->room)))
		not_entered(c, ERR_OVERLOADED, NULL);
}

/* ---- the end ---- */

/* Who was let in for the call is so no more. While the room is held somebody may look at it. */
static void shut(struct place *p, const struct meeting *m)
{
	struct standing *standing = standing_put(&p->standings, m->callee, true);
	standing->called -= standing->called > 0;
	if (!p->held)
		standing_settle(&p->standings, standing);
}

/* With the call its own room is over, for whoever of the two users is in it. */
static void close_room(struct place *p, struct str room)
{
	size_t count = p->room->count;
	struct addr *all = mem_alloc(count * sizeof(*all));
	for (size_t i = 0; i < count; i++)
		all[i] = p->room->members[i]->addr;
	for (size_t i = 0; i < count; i++)
		rooms_close_for(room, all[i]);
	free(all);
}

/* The call has gone from this membership: whoever was in the room for the call alone leaves with it. */
static void part(struct place *p, const struct meeting *m, struct addr session)
{
	struct member *member = room_by_endpoint(p->room, session);
	if (!member)
		return;
	member->calls--;
	if (m->lets_in && access_role(p, member->who) == ROLE_NONE)
		rooms_close_for(m->venue->room, session);
}

static void news_over(const struct call_news *n)
{
	struct meeting *m = find(n->text, n->id);
	if (!m)
		return;
	if (m->has_place)
		attendance_give_back(m->caller);
	struct place *p = rooms_place(m->venue->room);
	if (p && m->lets_in)
		shut(p, m);
	for (int i = 0; p && i < 2; i++, p = rooms_place(m->venue->room))
		part(p, m, m->members[i]);
	if (p && m->own_room)
		close_room(p, m->venue->room);
	free_meeting(m);
}

void meeting_over(struct str room, const char *id)
{
	call_news_send(worker_home(room), (struct call_news){.run = news_over}, id, room);
}

void meeting_left(const struct member *member)
{
	const struct venue *v = map_get(&venues, member->room->name);
	for (struct meeting *m = v ? v->first : NULL; m; m = m->next)
		for (int i = 0; i < 2; i++)
			if (addr_eq(m->members[i], member->addr)) {
				m->members[i] = (struct addr){0};
				calls_left(m->id, member->addr);
			}
}

/* ---- the session that invited ---- */

static void gone(struct addr endpoint, bool clean)
{
	(void)clean;
	for (struct addr_link *l = addr_link_first(&by_caller, endpoint); l; l = l->next)
		of_link(l)->gone = true;
}

static void connected(struct addr endpoint, bool yes)
{
	for (struct addr_link *l = addr_link_first(&by_caller, endpoint); l; l = l->next)
		of_link(l)->connected = yes;
}

static void granted(struct addr endpoint, const struct principal *who)
{
	for (struct addr_link *l = addr_link_first(&by_caller, endpoint); l; l = l->next) {
		struct meeting *m = of_link(l);
		principal_unref(&m->who);
		m->who = principal_ref(who);
	}
}

/* ---- from one process to the next ---- */

static void save(struct buf *out, const struct meeting *m)
{
	struct buf one = BUF_INIT(RECORD_MAX_BYTES);
	record_put_str(&one, str_of(m->id));
	record_put_str(&one, m->venue->room);
	addr_put(&one, m->caller);
	record_put_int(&one, m->has_place);
	record_put_int(&one, m->connected);
	record_put_str(&one, m->callee);
	record_put_int(&one, m->met);
	record_put_int(&one, m->lets_in);
	for (int i = 0; i < 2; i++)
		addr_put(&one, m->members[i]);
	record_put_str(out, buf_str(&one));
	buf_free(&one);
}

void meetings_save(struct buf *out)
{
	const struct venue *v;
	for (size_t i = 0; (v = map_next(&venues, &i));)
		for (const struct meeting *m = v->first; m; m = m->next)
			if (!m->gone || m->met)
				save(out, m);
}

/* Behind the rooms, so that it is known who is in them. */
static void come_back(
	struct meeting *m, const struct addr old[2], const struct chapter_lookup *lookup)
{
	for (int i = 0; i < 2; i++) {
		struct addr now;
		const struct principal *who;
		if (!lookup->find(lookup->context, old[i], &now, &who))
			continue;
		struct place *p = rooms_place(m->venue->room);
		struct member *member = p ? room_by_endpoint(p->room, now) : NULL;
		if (!member)
			continue;
		member->calls++;
		m->members[i] = now;
	}
}

/* Whose caller is nobody any more is told so by the home of the call. */
void meetings_load(struct record_reader *r, const struct chapter_lookup *lookup)
{
	static const struct principal nobody = {0};
	struct addr now = {0}, members[2];
	const struct principal *who = NULL;
	char id[CALL_ID_CHARS + 1];
	record_text(r, id, sizeof(id));
	struct str room = record_str(r, NAME_MAX_BYTES);
	struct addr caller = addr_read(r);
	bool has_place = record_int(r, 1), is_connected = record_int(r, 1);
	struct str callee = record_str(r, CALL_USER_MAX);
	bool met = record_int(r, 1), lets_in = record_int(r, 1);
	members[0] = addr_read(r);
	members[1] = addr_read(r);
	if (r->bad || worker_home(room) != worker_self() || find(room, id))
		return;
	bool lives = lookup->find(lookup->context, caller, &now, &who);
	struct principal *gone_one = lives ? NULL : principal_new(&nobody);
	struct meeting *m = new_meeting(id, room, now, lives ? who : gone_one, callee);
	principal_unref(&gone_one);
	m->gone = !lives;
	m->connected = is_connected;
	m->has_place = has_place && lives;
	m->met = met;
	if (lets_in && rooms_place(room))
		open_for(rooms_place(room), m);
	if (m->has_place)
		attendance_keep_place(now);
	come_back(m, members, lookup);
}

static void stop(struct worker *w)
{
	struct venue *v;
	(void)w;
	for (size_t i = 0; (v = map_next(&venues, &i)); i = 0)
		free_meeting(v->first);
	map_free(&venues);
	map_free(&by_caller);
	venues = by_caller = (struct map){0};
}

const struct worker_part meetings_part = {
	.name = "meetings", .stop = stop, .gone = gone, .connected = connected, .granted = granted};
