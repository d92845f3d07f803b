#include "signaling/roster.h"

#include "core/call.h"

#include <inttypes.h>
#include <stdio.h>

static void write_state(struct json_out *o, const struct member *m)
{
	if (m->state.n)
		json_raw(o, "state", m->state);
	else
		json_nothing(o, "state");
}

/* polite: whether the reader gives way to this one. */
static void entry(struct json_out *o, const struct member *m, bool polite)
{
	json_open(o, NULL, '{');
	json_text(o, "peer", m->peer);
	json_str(o, "user", m->who->user);
	json_str(o, "name", m->who->name);
	json_text(o, "role", role_word(m->role));
	write_state(o, m);
	json_bool(o, "connected", m->connected);
	json_bool(o, "polite", polite);
	json_close(o, '}');
}

void roster_write(
	struct json_out *o, const struct room *room, const struct member *reader, uint64_t after)
{
	size_t begin = o->b->n, i = room_index_after(room, after);
	json_open(o, "members", '[');
	for (; i < room->count && o->b->n - begin < ROSTER_PAGE_BYTES; i++) {
		const struct member *m = room->members[i];
		if (m != reader)
			entry(o, m, reader && m->seq < reader->seq);
	}
	json_close(o, ']');
	if (i == room->count || (i + 1 == room->count && room->members[i] == reader))
		return;
	char cursor[24];
	snprintf(cursor, sizeof(cursor), "%" PRIu64, room->members[i - 1]->seq);
	json_text(o, "members_cursor", cursor);
}

enum err roster_cursor(struct str text, uint64_t *ret_after)
{
	int64_t n = 0;
	*ret_after = 0;
	if (!text.p)
		return ERR_OK;
	if (json_decode_int(text, &n) || n < 0)
		return ERR_PARAMS;
	*ret_after = (uint64_t)n;
	return ERR_OK;
}

void roster_from(
	struct json_out *o, const struct principal *who, const struct member *m, bool with_name)
{
	json_open(o, "from", '{');
	json_text(o, "peer", m ? m->peer : NULL);
	json_str(o, "user", who->user);
	if (with_name)
		json_str(o, "name", who->name);
	json_close(o, '}');
}

static void tell_others(struct member *m, struct event *e)
{
	struct frame *f = event_take(e);
	if (f)
		room_tell(m->room, m->addr, f);
}

void roster_tell_joined(struct member *m)
{
	if (m->room->count < 2)
		return;
	struct event e;
	event_begin(&e, "room.joined");
	json_str(&e.params, "room", m->room->name);
	json_open(&e.params, "members", '[');
	entry(&e.params, m, false); /* who was here before gives way to nobody */
	json_close(&e.params, ']');
	tell_others(m, &e);
}

static struct event left(const struct member *m, const char *reason)
{
	struct event e;
	event_begin(&e, "room.left");
	json_str(&e.params, "room", m->room->name);
	json_text(&e.params, "peer", m->peer);
	json_text(&e.params, "reason", reason);
	return e;
}

void roster_tell_left(struct member *m, const char *reason)
{
	if (m->room->count < 2)
		return;
	struct event e = left(m, reason);
	tell_others(m, &e);
}

void roster_tell_closed(struct member *m)
{
	struct event e = left(m, "closed");
	struct frame *f = event_take(&e);
	if (f)
		addr_send(m->addr, f);
}

static void tell_change(struct member *m, void (*write)(struct json_out *o, const struct member *m))
{
	if (m->room->count < 2)
		return;
	struct event e;
	event_begin(&e, "room.updated");
	json_str(&e.params, "room", m->room->name);
	json_text(&e.params, "peer", m->peer);
	json_open(&e.params, "changes", '{');
	write(&e.params, m);
	json_close(&e.params, '}');
	tell_others(m, &e);
}

void roster_tell_state(struct member *m)
{
	tell_change(m, write_state);
}

static void write_connected(struct json_out *o, const struct member *m)
{
	json_bool(o, "connected", m->connected);
}

void roster_tell_connected(struct member *m)
{
	tell_change(m, write_connected);
}
