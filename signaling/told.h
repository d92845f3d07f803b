/* told.h: what webhooks are told of rooms (docs/WEBHOOKS.md), written with what makes it true
 * (store/outbox.h). What somebody asks for happens only once its events are kept, while its room is
 * held; what has happened anyway (somebody is gone) is kept behind it.
 *
 * Thread: the room's own worker. */
#pragma once

#include "signaling/rooms.h"
#include "store/outbox.h"

/* Whether anybody wants to hear of who comes and goes. */
static inline bool told_members(void)
{
	return hook_wanted(HOOK_ROOM_OCCUPIED) || hook_wanted(HOOK_ROOM_VACATED) ||
		hook_wanted(HOOK_ROOM_JOINED) || hook_wanted(HOOK_ROOM_LEFT);
}

/* Goes on with the call, in its place, which is held until this returns. err: the events were not
 * kept, so nothing may happen. */
typedef void told_then(struct place *p, struct call *c, enum err err);

/* Within a visit: keeps the events first. */
void told_first(struct place *p, struct call *c, struct hooks *h, told_then *then);

/* The events of somebody joining, behind so many others, who will have this peer id (PEER_CHARS). */
void told_joined(struct hooks *h, const struct room *room, size_t before,
	const struct principal *who, struct str peer, enum role role);

/* The member is about to be taken out of its room. The reason is a literal. */
void told_left(const struct member *m, const char *reason);

/* A message (its text: signaling/message.h) that is about to be published. */
void told_published(struct hooks *h, struct str room, struct str text);
struct message;
void told_message_first(struct place *p, struct call *c, const struct message *m, told_then *then);

/* The ids of all that is live here, as elements of an array: of members and of rooms that are not
 * empty (outbox_begin() of store/outbox.h). */
void told_live(struct json_out *o);
