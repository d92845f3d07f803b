/* peer.h: who is at the other end of a socket, from accept until libwebsockets is done with it. Lies
 * behind its opaque user data.
 *
 * Thread: the worker that accepted it. Owner: conn_http.c, which frees it with the socket. */
#pragma once

#include "core/ip.h"
#include "core/principal.h"

struct peer {
	uint64_t born_ns;        /* when it was accepted (uv_hrtime) */
	struct ip socket;        /* as the kernel says, or a PROXY header */
	char text[IP_TEXT_MAX];  /* the client's address: that, or what a trusted proxy says */
	bool internal;           /* came to server.internal_listen: not counted */
	bool counted;            /* by quota.h */
	bool crowded;            /* its address has too many: what it asks is refused */
	struct principal *token; /* the handshake's, until the WebSocket has it */
	char *unproven; /* instead: its text, when only its issuer can tell what it is worth */
};

/* NULL: its address has so many that it is to be closed without a word. */
struct peer *peer_new(const struct ip *socket, bool internal);
void peer_free(struct peer **p);

size_t peer_count(void); /* of this worker */

/* With the X-Forwarded-For of its request. */
void peer_forwarded(struct peer *p, struct str header);
