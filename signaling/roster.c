#include "signaling/roster.h"

#include "core/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

void roster_state(struct json_out *o, const struct member *m)
{
	if (m->state.n)
		json_raw(o, "state", m->state);
	else
		json_nothing(o, "state");
}

void roster_entry(struct json_out *o, const struct member *m, bool polite)
{
	json_open(o, NULL, '{');
	json_text(o, "peer", m->peer);
	json_str(o, "user", m->who->user);
	json_str(o, "name", m->who->name);
	json_text(o, "role", role_word(m->role));
	roster_state(o, m);
	json_bool(o, "connected", m->connected);
	json_bool(o, "muted", m->muted);
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
			roster_entry(o, m, reader && m->seq < reader->seq);
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
