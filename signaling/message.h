/* message.h: a published message as its room tells and keeps it: the params of the event room.message,
 * which are also the entries of `messages` (docs/PROTOCOL.md, "History"), and the way back from that text.
 *
 * Thread: the room's own worker. */
#pragma once

#include "core/call.h"
#include "signaling/room.h"

enum {
	MESSAGE_MAX_BYTES = 128 * 1024
}; /* a text; more than the largest `data` and all around it */

struct message {
	uint64_t offset;
	struct str peer, user; /* who published it; peer n 0: nobody who was in the room */
	struct str data;       /* JSON as it came; n 0: it was taken back */
	int64_t time;          /* Unix ms */
	uint64_t edits;    /* it is the news that the message of this offset has other data now */
	uint64_t redacts;  /* the same of one that was taken back; 0: it is a message itself */
	int64_t edited_at; /* Unix ms; 0: never */
	bool redacted;     /* taken back */
};

/* One by this caller, now: without data, and without an offset. Points into the call and the member. */
struct message message_by(const struct room *room, const struct call *c);

/* Its text; the caller frees it. What a message may have fits. */
struct buf message_text(struct str room, const char *epoch, const struct message *m);

/* What a text says; the strings point into text, which changes. False: it is no message. */
bool message_read(char *text, size_t n, struct message *ret);

/* The room's newest message, of the next offset: into the ring, and to all members. */
void message_tell(struct room *room, const struct message *m);

/* "epoch" and "offset", as an answer of its own. */
void message_reply_offset(struct call *c, const char *epoch, uint64_t offset);
