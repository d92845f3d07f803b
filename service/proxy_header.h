/* proxy_header.h: the header with which a proxy says whose connection it passes on, before anything
 * else (HAProxy, "The PROXY protocol", versions 1 and 2).
 *
 * Thread: any. Limits: PROXY_HEADER_MAX bytes; the specification's own for version 1. */
#pragma once

#include "core/ip.h"

enum { PROXY_HEADER_MAX = 1024 };

enum proxy_word {
	PROXY_MORE, /* sound so far; all these bytes belong to it */
	PROXY_DONE,
	PROXY_BAD,
};

struct proxy_header {
	size_t length;
	bool known; /* false: it names nobody (UNKNOWN, LOCAL, not TCP); the socket's address stands */
	struct ip client;
};

enum proxy_word proxy_header_read(struct str bytes, struct proxy_header *ret);
