/* forwarded.h: whose word on a client's address counts: that of the proxies in
 * server.trusted_proxies, in X-Forwarded-For or a PROXY header, and of nobody else.
 *
 * Thread: configured while no worker runs; then read-only, any thread. */
#pragma once

#include "core/ip.h"
#include "service/config.h"

void forwarded_configure(const struct config *config); /* copied */

bool forwarded_trusts(const struct ip *ip);

/* Whether connections from there begin with a PROXY header. */
bool forwarded_has_header(const struct ip *socket);

/* The client of a request that came from there with this X-Forwarded-For (several joined by commas):
 * the rightmost address that is not a trusted proxy's. What is no address ends the search: then, and
 * when all are trusted, it is the last that was read. */
struct ip forwarded_client(const struct ip *socket, struct str header);
