/* tls_tickets.h: a client that comes again goes on with its TLS session, on whichever worker it lands: what
 * the session was is in a ticket that the client keeps, under keys that all workers share. Nothing is kept
 * here for a session.
 *
 * The keys are in memory only, never in the store and never handed to a successor: after a restart the
 * first handshake of each client is a whole one. A ticket is taken for TICKETS_MS; a key gives tickets for
 * so long, and is there for twice as long.
 *
 * Thread: any; one lock, held while a key is copied. */
#pragma once

#include <stdint.h>

enum { TICKETS_MS = 2 * 60 * 60 * 1000 };

struct ssl_ctx_st;

/* Connections of this context, a worker's, give and take tickets. */
void tls_tickets_attach(struct ssl_ctx_st *context);

/* No ticket from before is taken any more, nor one that comes of a handshake which has begun by now. */
void tls_tickets_forget(void);

/* What time it is (clock_steady_ms()): keys are as old as they are then. Each handshake says so by itself;
 * the main thread does, so that keys go when nobody comes. */
void tls_tickets_turn(int64_t now_ms);
