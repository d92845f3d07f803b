/* client_address.h: what a client's address counts under, wherever something is limited by address: of
 * IPv6 its /64, which is what one customer gets. An address that stands for many clients is never
 * limited: a trusted proxy's own, and any while a proxy in front does not say whose its requests are.
 *
 * Thread: configured while no worker runs; then any. Not configured, every address is one client's. */
#pragma once

#include "core/ip.h"

struct client_address {
	unsigned char bytes[16];
	size_t n;
	bool limited; /* false, too: the text is no address */
};

/* known: addresses are the clients'. trusts: which ones are proxies' own; NULL: none is. */
void client_addresses_configure(bool known, bool (*trusts)(const struct ip *ip));

struct client_address client_address_of(struct str text);

/* What to count it under; n 0: it is not to be limited. Lives as long as *address. */
struct str client_address_limited(const struct client_address *address);
