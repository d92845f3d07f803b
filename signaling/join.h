/* join.h: how somebody comes into a room, for who asks to (room.join) and for who is brought in by a call
 * (meeting.h). Thread: the room's own worker, within a visit. */
#pragma once

#include "signaling/access.h"
#include "signaling/methods.h"

/* Makes the room, when it is of those that their first join makes and this caller may. */
void join_make(struct place *p, const struct principal *who);

/* Whether there is room for one more behind so many who come in before, and at the session. */
enum denial join_fits(struct place *p, bool has_place, size_t before, size_t *ret_limit);

/* One who was let in, and takes a place of its session, is in the room; whoever is in it is told. What it
 * is to know itself is what join_write() says then. */
struct member *join_enter(struct place *p, const struct principal *who, struct addr addr,
	struct str state, struct str peer);
/* The same for one who is in it already, and gives back the place that it took once more. state.p NULL:
 * stays as it is. */
void join_again(struct member *m, bool has_place, struct str state);

/* The result of a join, as an object. in NULL: nothing of what was said before is asked for. */
void join_write(
	struct json_out *o, const char *key, const struct member *m, struct join_params *in);
