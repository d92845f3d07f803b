/* room.state and room.presence. */
#include "signaling/access.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/roster.h"

static void state_visit(struct place *p, struct call *c)
{
	const struct state_params *in = c->params;
	struct member *m = access_member(p, c);
	if (!m) {
		deny(c, DENIAL_NOT_MEMBER, 0);
		return;
	}
	announce_before(p->room);
	member_set_state(m, in->state);
	announce_state(m);
	call_reply_empty(c);
}

void room_state_run(struct call *c)
{
	const struct state_params *in = c->params;
	if (in->state.n > options()->state_max)
		deny_too_large(c, "state", options()->state_max);
	else
		rooms_visit(c, VISIT_ANY, state_visit);
}

static void presence_visit(struct place *p, struct call *c)
{
	const struct presence_params *in = c->params;
	const struct member *reader = access_member(p, c);
	enum denial why = reader ? DENIAL_NONE : access_read(p, c->who);
	uint64_t after = 0;
	if (why) {
		deny(c, why, 0);
		return;
	}
	if (roster_cursor(in->cursor, &after)) {
		deny_param(c, "cursor", "cursor must be a members_cursor that was answered.");
		return;
	}
	announce_before(p->room);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	roster_write(o, p->room, reader, after);
	json_close(o, '}');
	call_reply(c);
}

void room_presence_run(struct call *c)
{
	rooms_visit(c, VISIT_LOADED, presence_visit);
}
