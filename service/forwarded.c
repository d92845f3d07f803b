#include "service/forwarded.h"

enum { TRUSTED_MAX = 256 };

static struct network trusted[TRUSTED_MAX];
static size_t trusted_count;
static bool proxy_protocol;

void forwarded_configure(const struct config *c)
{
	bool exact;
	proxy_protocol = c->server.proxy_protocol;
	trusted_count = 0;
	for (size_t i = 0; i < c->server.trusted_proxies.count && trusted_count < TRUSTED_MAX; i++)
		if (network_read(str_of(c->server.trusted_proxies.items[i]),
			    &trusted[trusted_count], &exact))
			trusted_count++;
}

bool forwarded_trusts(const struct ip *ip)
{
	for (size_t i = 0; i < trusted_count; i++)
		if (network_holds(&trusted[i], ip))
			return true;
	return false;
}

bool forwarded_has_header(const struct ip *socket)
{
	return proxy_protocol && forwarded_trusts(socket);
}

static bool all_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return n >= 1 && n <= 5;
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80": there is no
 * specification, and all of these are sent. */
static bool read_element(struct str e, struct ip *ret)
{
	while (e.n && (e.p[0] == ' ' || e.p[0] == '\t'))
		e = (struct str){e.p + 1, e.n - 1};
	while (e.n && (e.p[e.n - 1] == ' ' || e.p[e.n - 1] == '\t'))
		e.n--;
	bool bracket = e.n && e.p[0] == '[';
	const char *end = e.n ? memchr(e.p, bracket ? ']' : ':', e.n) : NULL;
	if (bracket) {
		if (!end)
			return false;
		struct str inner = {e.p + 1, (size_t)(end - e.p) - 1};
		size_t rest = e.n - inner.n - 2;
		bool sound = !rest || (end[1] == ':' && all_digits(end + 2, rest - 1));
		return sound && memchr(inner.p, ':', inner.n) && ip_read(inner, ret);
	}
	size_t host = end ? (size_t)(end - e.p) : e.n;
	bool port = end && !memchr(end + 1, ':', e.n - host - 1); /* else it is IPv6 */
	if (!port)
		return ip_read(e, ret);
	return all_digits(end + 1, e.n - host - 1) && ip_read((struct str){e.p, host}, ret);
}

struct ip forwarded_client(const struct ip *socket, struct str header)
{
	struct ip found = *socket;
	while (header.n && forwarded_trusts(&found)) {
		const char *comma = memrchr(header.p, ',', header.n);
		size_t at = comma ? (size_t)(comma - header.p) + 1 : 0;
		if (!read_element((struct str){header.p + at, header.n - at}, &found))
			break;
		header.n = comma ? at - 1 : 0;
	}
	return found;
}
