/* standing_record.h: a standing as a record for the next process, and back (hand_over.c). Times are Unix
 * milliseconds there, for no other clock goes on.
 * Thread: the room's own worker. */
#pragma once

#include "core/json_out.h"
#include "core/params.h"
#include "signaling/standing.h"

struct standing_record {
	struct str user, signals, reason, by;
	struct param_bool muted, banned, admitted;
	struct param_int created_at, expires_at, kicked_until, denied_until;
};

extern const struct field standing_fields[];

/* Whether there is something in it that nobody else keeps; kept: the store has bans. */
bool standing_is_recorded(const struct standing *standing, bool kept);

/* Its members; and a record that these have been read from. */
void standing_record_write(struct json_out *o, const struct standing *standing);
void standing_record_take(struct standings *s, const struct standing_record *in);
