#include "core/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

enum { V4_AT = 12, V4_BITS = 32, ALL_BITS = 128 };

static const unsigned char v4_front[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->bytes, v4_front, V4_AT) == 0;
}

bool ip_eq(const struct ip *a, const struct ip *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct ip of_v4(const void *four)
{
	struct ip ip;
	memcpy(ip.bytes, v4_front, V4_AT);
	memcpy(ip.bytes + V4_AT, four, 4);
	return ip;
}

bool ip_read(struct str text, struct ip *ret)
{
	char plain[IP_TEXT_MAX];
	unsigned char four[4];
	if (!text.n || text.n >= sizeof(plain) || memchr(text.p, 0, text.n))
		return false;
	memcpy(plain, text.p, text.n);
	plain[text.n] = 0;
	if (inet_pton(AF_INET, plain, four) == 1) {
		*ret = of_v4(four);
		return true;
	}
	struct ip ip;
	if (inet_pton(AF_INET6, plain, ip.bytes) != 1)
		return false;
	*ret = ip;
	return true;
}

bool ip_of(const struct sockaddr *a, struct ip *ret)
{
	if (a->sa_family == AF_INET)
		*ret = of_v4(&((const struct sockaddr_in *)(const void *)a)->sin_addr);
	else if (a->sa_family == AF_INET6)
		memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
			sizeof(ret->bytes));
	else
		return false;
	return true;
}

void ip_write(const struct ip *ip, char out[IP_TEXT_MAX])
{
	if (ip_is_v4(ip))
		inet_ntop(AF_INET, ip->bytes + V4_AT, out, IP_TEXT_MAX);
	else
		inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_MAX);
}

static bool read_bits(struct str text, unsigned most, unsigned *ret)
{
	unsigned n = 0;
	if (!text.n || text.n > 3 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.p[i] - '0');
	}
	*ret = n;
	return n <= most;
}

/* Which bits of the byte belong to the network. */
static unsigned char mask_of(unsigned bits, unsigned byte)
{
	unsigned before = byte * 8;
	if (bits >= before + 8)
		return 0xff;
	return (unsigned char)(bits <= before ? 0 : 0xff00u >> (bits - before));
}

bool network_read(struct str text, struct network *ret, bool *ret_exact)
{
	const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
	struct str address = {text.p, slash ? (size_t)(slash - text.p) : text.n};
	struct network n;
	bool exact = true;
	if (!ip_read(address, &n.first))
		return false;
	unsigned most = ip_is_v4(&n.first) ? V4_BITS : ALL_BITS;
	n.bits = most;
	if (slash && !read_bits((struct str){slash + 1, text.n - address.n - 1}, most, &n.bits))
		return false;
	n.bits += ALL_BITS - most;
	for (unsigned i = 0; i < sizeof(n.first.bytes); i++) {
		unsigned char kept = n.first.bytes[i] & mask_of(n.bits, i);
		exact &= kept == n.first.bytes[i];
		n.first.bytes[i] = kept;
	}
	*ret = n;
	*ret_exact = exact;
	return true;
}

void network_write(const struct network *n, char out[NETWORK_TEXT_MAX])
{
	char text[IP_TEXT_MAX];
	ip_write(&n->first, text);
	bool v4 = n->bits >= ALL_BITS - V4_BITS && ip_is_v4(&n->first);
	snprintf(out, NETWORK_TEXT_MAX, "%s/%u", text,
		v4 ? n->bits - (ALL_BITS - V4_BITS) : n->bits);
}

bool network_holds(const struct network *n, const struct ip *ip)
{
	for (unsigned i = 0; i < sizeof(ip->bytes); i++)
		if ((ip->bytes[i] ^ n->first.bytes[i]) & mask_of(n->bits, i))
			return false;
	return true;
}
