/* room_edit.h: a message that was published gets other data, or is taken back; the room is told, and
 * what it keeps changes. The handlers of room.edit and room.redact; see core/call.h. */
#pragma once

#include "core/call.h"

struct edit_params {
	struct str room, epoch, data;
	struct param_int offset;
	/* the handler's own */
	int64_t time; /* of the news, while its event is written */
	bool asked;   /* the backend has said yes */
};

extern const struct field edit_fields[], redact_fields[];

void room_edit_run(struct call *c);
void room_redact_run(struct call *c);
