/* ip.h: internet addresses and networks, as bytes. An IPv4 address is kept in its IPv6 form
 * (::ffff:192.0.2.1), so that there is one kind, and one spelling of each.
 *
 * Thread: any. Nothing is allocated. */
#pragma once

#include "core/str.h"

struct sockaddr;

struct ip {
	unsigned char bytes[16];
};

struct network {
	struct ip first;
	unsigned bits; /* of first that all its addresses have */
};

enum { IP_TEXT_MAX = 46, NETWORK_TEXT_MAX = IP_TEXT_MAX + 4 };

/* "192.0.2.1" or "2001:db8::1" and nothing else. */
bool ip_read(struct str text, struct ip *ret);
/* False: of another family. */
bool ip_of(const struct sockaddr *a, struct ip *ret);
void ip_write(const struct ip *ip, char out[IP_TEXT_MAX]);
bool ip_is_v4(const struct ip *ip);
bool ip_eq(const struct ip *a, const struct ip *b);

/* An address, or "192.0.2.0/24". *ret_exact: no bit is set behind the length. */
bool network_read(struct str text, struct network *ret, bool *ret_exact);
void network_write(const struct network *n, char out[NETWORK_TEXT_MAX]); /* exact */
bool network_holds(const struct network *n, const struct ip *ip);
