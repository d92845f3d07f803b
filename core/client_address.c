#include "core/client_address.h"

static struct {
	bool unknown;
	bool (*trusts)(const struct ip *ip);
} own;

void client_addresses_configure(bool known, bool (*trusts)(const struct ip *ip))
{
	own.unknown = !known;
	own.trusts = trusts;
}

struct client_address client_address_of(struct str text)
{
	struct client_address a = {{0}, 0, false};
	struct ip ip = {{0}};
	bool read = ip_read(text, &ip);
	a.n = ip_is_v4(&ip) ? sizeof(ip.bytes) : sizeof(ip.bytes) / 2;
	memcpy(a.bytes, ip.bytes, a.n);
	a.limited = read && !own.unknown && !(own.trusts && own.trusts(&ip));
	return a;
}

struct str client_address_limited(const struct client_address *address)
{
	return (struct str){(const char *)address->bytes, address->limited ? address->n : 0};
}
