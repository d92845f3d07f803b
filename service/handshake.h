/* handshake.h: whether a request may become a WebSocket (RFC 6455 section 4.2): what it says, where
 * its page comes from, what its address may use, and its token if it brings one.
 *
 * Thread: the worker of the connection. */
#pragma once

#include "core/http.h"
#include "core/refusal.h"
#include "service/peer.h"

/* What a handshake says beside what every request does. A list that is longer than its maximum is
 * refused: libwebsockets copies the one into 128 bytes, and would end the connection without an
 * answer for the other. */
enum { HANDSHAKE_PROTOCOLS_MAX = 127, HANDSHAKE_EXTENSIONS_MAX = 254 };

struct handshake {
	const struct http_request *request;
	const char *upgrade;
	char protocols[HANDSHAKE_PROTOCOLS_MAX + 1], version[3]; /* "": not there, or too long */
	int protocols_length, version_length, key_length, extensions_length; /* 0: not there */
	bool has_body;
};

struct handshake_refusal {
	int status;
	const char *challenge; /* for WWW-Authenticate, or NULL */
	struct refusal why;    /* message and retry_after */
};

/* Whether it goes on. Then peer->token is who its token says, if it brought one, or peer->unproven is
 * a token whose issuer has to be asked first: for keys, or about it. Else *ret_refusal says why not,
 * in texts that stay. */
bool handshake_check(
	const struct handshake *h, struct peer *peer, struct handshake_refusal *ret_refusal);
