/* carrier.h: what brings a session its messages and takes them away: a WebSocket, an SSE stream, or
 * the way to one that another worker has (service/relay.h). A carrier has one owner at a time: first
 * the opening (service/opening.h), then a session or a relay.
 *
 * Thread: one worker, its owner's. */
#pragma once

#include "core/err.h"
#include "service/outbound.h"

struct carrier;
struct refusal;

struct carrier_ops {
	/* A session has it from now on; its answer to session.open is what comes next. batching: two or
	 * more waiting messages may become one array. */
	void (*begin)(struct carrier *c, const char *session, bool batching);
	/* Queues one message; takes the frame's reference. */
	void (*send)(struct carrier *c, struct outgoing m);
	/* Sends what is queued, then ends with this code. The owner is told nothing more. */
	void (*close)(struct carrier *c, uint16_t code, const char *reason);
	/* Instead of a session: why session.open is refused; close() follows. NULL: said by an error
	 * response. */
	void (*refuse)(struct carrier *c, enum err err, const struct refusal *why);
};

struct carrier_owner {
	const struct carrier_events *events;
};

struct carrier_events {
	/* Any bytes: what is not UTF-8 ends the connection with 1007. */
	void (*text)(struct carrier_owner *o, struct str text);
	/* The carrier is gone, the pointer to it dead. code: as the client said it, or 1006. */
	void (*closed)(struct carrier_owner *o, uint16_t code);
};

struct carrier {
	const struct carrier_ops *ops;
	struct carrier_owner *owner; /* NULL: nobody listens any more */
	struct str peer;             /* the client's address */
	uint64_t born_ns;            /* when its connection was accepted (uv_hrtime) */
	bool opened;                 /* it has said who it is: may send messages of full size */
	bool posts;                  /* one way only: what the client sends comes by POST */
};

static inline void carrier_own(struct carrier *c, struct carrier_owner *o)
{
	c->owner = o;
}

static inline void carrier_begin(struct carrier *c, const char *session, bool batching)
{
	c->ops->begin(c, session, batching);
}

static inline void carrier_send(struct carrier *c, struct outgoing m)
{
	c->ops->send(c, m);
}

/* Leaves its owner and ends. */
static inline void carrier_close(struct carrier *c, uint16_t code, const char *reason)
{
	c->owner = NULL;
	c->ops->close(c, code, reason);
}
