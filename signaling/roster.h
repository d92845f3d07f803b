/* roster.h: how the members of a room look to each other, as JSON (docs/PROTOCOL.md, "Rooms").
 * Thread: the room's own worker. */
#pragma once

#include "core/json_out.h"
#include "signaling/room.h"

enum { ROSTER_PAGE_BYTES = 96 * 1024 }; /* a page ends with the member that passes this */

/* "members": those who joined after the one of seq `after`, without the reader (NULL: one who is
 * not in the room), and "members_cursor" when that is not all. */
void roster_write(
	struct json_out *o, const struct room *room, const struct member *reader, uint64_t after);

/* The cursor that a page ended with. ERR_PARAMS when it is none. */
enum err roster_cursor(struct str text, uint64_t *ret_after);

/* "from": {peer, user}, and name when asked for. Not being in the room gives a peer of null. */
void roster_from(
	struct json_out *o, const struct principal *who, const struct member *m, bool with_name);

/* A member as an element of "members"; polite: whether the reader gives way to this one. */
void roster_entry(struct json_out *o, const struct member *m, bool polite);
/* Its "state", or null. */
void roster_state(struct json_out *o, const struct member *m);
