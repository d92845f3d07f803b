/* wish.h: what somebody wants a room to be: the params of room.create and room.update, and whether
 * there can be such a room.
 * Thread: as their calls, see core/call.h. */
#pragma once

#include "core/call.h"
#include "signaling/rules.h"

struct keep_params {
	struct param_int messages, age;
	struct param_bool durable;
};

struct room_wish {
	struct str room, title, visibility, max_members, metadata, history, owner;
	struct param_bool lobby, archived;
	/* what wish_read() has made of them: a title and metadata of null are there, but empty */
	struct param_int most; /* n 0: as many as any room */
	struct keep_params keep;
};

extern const struct field create_fields[], update_fields[];

/* Reads what the params leave raw, and holds all against the template and the options. False: the call
 * is refused. */
bool wish_read(struct call *c);

/* now with what is wished for; its texts point into both. */
struct rules wish_applied(const struct rules *now, const struct room_wish *wish);
