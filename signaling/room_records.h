/* room_records.h: a room's record as an answer. Thread: the room's own worker. */
#pragma once

#include "signaling/rooms.h"

/* Answers the call with the record of a place that has its room. */
void record_reply(struct call *c, struct place *p);
