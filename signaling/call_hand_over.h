/* call_hand_over.h: calls from one process to the next (signaling_chapters). Whoever is nobody any more by
 * then has ended its call. On every worker; see signaling.h. */
#pragma once

#include "signaling/signaling.h"

void calls_save(struct buf *out);
void calls_load(struct record_reader *one, const struct chapter_lookup *lookup);
