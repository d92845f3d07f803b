/* addr.h: how anything is sent to a client, whoever holds it. An endpoint (a session, an HTTP
 * request that waits) registers on its worker and is known to all others by its address only:
 * never by a pointer. What is sent to an address whose endpoint is gone is dropped.
 *
 * Thread: registering, releasing and finding on the endpoint's own worker; sending from any
 * worker. All that one worker sends to one address arrives in the order sent. */
#pragma once

#include "core/frame.h"
#include "core/inbox.h"
#include "core/record.h"

#include <stdint.h>

struct call;
struct endpoint;

struct addr {
	uint16_t worker;
	uint32_t slot;
	uint32_t generation; /* 0: nobody */
};

static inline bool addr_eq(struct addr a, struct addr b)
{
	return a.worker == b.worker && a.slot == b.slot && a.generation == b.generation;
}

/* An address as bytes, to be a key of maps; out has room for ADDR_KEY_BYTES. */
enum { ADDR_KEY_BYTES = 10 };
struct str addr_key(struct addr a, char *out);

/* As a record, and back. */
void addr_put(struct buf *b, struct addr a);
struct addr addr_read(struct record_reader *r);

/* Events on their way to one worker. Past it they are dropped, and those they were for are told. */
enum { EVENT_BYTES_MAX = 64 << 20 };

/* A question behind events: whether the client has received them. Whoever streams to clients keeps by
 * it what is on its way within bounds; one question at a time is enough for that. */
struct receipt {
	struct post post; /* run() is the asker's, who owns the receipt again */
	bool gone;        /* the endpoint ended before its client said so */
	/* the endpoint's, meanwhile */
	struct receipt *next;
	uint64_t upto;
	int worker;
};

struct endpoint_ops {
	void (*event)(struct endpoint *e, struct frame *f); /* owns the reference */
	void (*answer)(struct endpoint *e, struct call *c); /* a call came home; owns it */
	void (*overflow)(struct endpoint *e); /* an event for it was dropped: EVENT_BYTES_MAX */
	/* receipt_answer() when its client has acknowledged all events until now. Owns it. NULL: it
	 * knows nothing of that, and all counts as received. */
	void (*asked)(struct endpoint *e, struct receipt *r);
};

struct endpoint {
	struct addr addr;
	const struct endpoint_ops *ops;
	uint64_t workers_called; /* bit i: has sent calls to worker i */
};

void addr_register(struct endpoint *e, const struct endpoint_ops *ops);

/* The address is nobody's from now on. Every worker that the endpoint sent a call to is told
 * (worker_part.gone), behind those calls. clean: the client wanted to end. */
void addr_release(struct endpoint *e, bool clean);

/* Tells the same workers, behind the same calls, that the client has no connection just now, or has
 * one again (worker_part.connected). */
void addr_connected(struct endpoint *e, bool yes);

/* Tells the same workers, behind the same calls, what the endpoint may do from now on
 * (worker_part.granted). */
struct principal;
void addr_granted(struct endpoint *e, const struct principal *who);

/* NULL when gone. Only on the worker of the address. */
struct endpoint *addr_find(struct addr a);

/* Sends one event; takes the reference. */
void addr_send(struct addr to, struct frame *f);

/* Asks, behind all that this worker has sent to that address: r->post.run() is called here, once and
 * always, when the client has acknowledged it or the endpoint is gone. That of a client that is away
 * may take as long as it is. */
void addr_ask(struct addr to, struct receipt *r);
/* For endpoints. */
void receipt_answer(struct receipt *r, bool gone);

/* A list of addresses that does not change any more: who is told of a room's events. Atomically
 * counted references; any thread. Sorted by worker. */
struct audience;
struct audience *audience_new(const struct addr *list, size_t count);
struct audience *audience_ref(struct audience *a);
void audience_unref(struct audience **a);

/* Sends one event to all of them but one ({0}: to all); takes the reference. Each worker is posted
 * to once. */
void audience_send(struct audience *a, struct addr but, struct frame *f);

/* The worker's own: its table of endpoints. */
void addr_thread_start(void);
void addr_thread_stop(void); /* no endpoint may be left: asserted */
