/* ice_renewal.h: sessions that were given credentials for TURN servers and are in a room get new ones
 * before the old ones run out: ice.changed, at about four fifths of their life, not all at once.
 *
 * Thread: noted on any worker, kept and told where the session lives. */
#pragma once

#include "core/worker.h"
#include "signaling/signaling.h"

/* The session has been given credentials just now. region n 0: none was asked for. */
void ice_given(struct addr session, struct str user, struct str region);

/* Handing over, as signaling.h says. */
void ice_save(struct buf *out);
void ice_load(struct record_reader *one, const struct chapter_lookup *lookup);

/* The worker's; signaling_part calls these. */
void ice_start(struct worker *w);
void ice_gone(struct addr endpoint);
void ice_stop(void);
