#include "auth/server/redirect.h"

static bool skip(struct str *s, const char *start)
{
	struct str prefix = str_of(start);
	if (!str_starts(*s, prefix))
		return false;
	s->p += prefix.n;
	s->n -= prefix.n;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ":8080", or nothing. False: something else is there than a port. */
static bool skip_port(struct str *s)
{
	if (!skip(s, ":"))
		return true;
	unsigned port = 0, digits = 0;
	for (; s->n && is_digit(*s->p) && digits < 6; digits++, s->p++, s->n--)
		port = port * 10 + (unsigned)(*s->p - '0');
	return digits > 0 && port > 0 && port <= 65535;
}

static bool ends_authority(struct str rest)
{
	return !rest.n || *rest.p == '/' || *rest.p == '?';
}

bool redirect_is_loopback(struct str uri, struct str *ret_rest)
{
	bool here = skip(&uri, "http://") &&
		(skip(&uri, "localhost") || skip(&uri, "127.0.0.1") || skip(&uri, "[::1]"));
	if (!here || !skip_port(&uri) || !ends_authority(uri))
		return false;
	*ret_rest = uri;
	return true;
}

/* Where the host ends; 0 when it is none that can be named in a policy, too. */
static size_t host_length(struct str s)
{
	size_t n = 0;
	if (s.n && *s.p == '[') {
		while (n < s.n && s.p[n] != ']')
			n++;
		return n < s.n ? n + 1 : 0;
	}
	while (n < s.n && (is_letter(s.p[n]) || is_digit(s.p[n]) || strchr(".-", s.p[n])))
		n++;
	return n;
}

static bool is_https(struct str uri)
{
	if (!skip(&uri, "https://"))
		return false;
	size_t host = host_length(uri);
	uri.p += host;
	uri.n -= host;
	return host && skip_port(&uri) && ends_authority(uri);
}

/* "com.example.app:" — the dot keeps out javascript:, data: and whatever else browsers know. */
static size_t own_scheme_length(struct str uri)
{
	bool dot = false;
	size_t n = 0;
	if (!uri.n || !is_letter(*uri.p))
		return 0;
	for (; n < uri.n && uri.p[n] != ':'; n++) {
		if (!is_letter(uri.p[n]) && !is_digit(uri.p[n]) && !strchr("+-.", uri.p[n]))
			return 0;
		dot |= uri.p[n] == '.';
	}
	return dot && n < uri.n ? n + 1 : 0;
}

bool redirect_valid(struct str uri)
{
	struct str rest;
	if (!uri.n || uri.n > REDIRECT_MAX)
		return false;
	for (size_t i = 0; i < uri.n; i++)
		if (uri.p[i] <= ' ' || uri.p[i] >= 0x7f || strchr("\"<>\\^`{|}#", uri.p[i]))
			return false;
	return is_https(uri) || redirect_is_loopback(uri, &rest) || own_scheme_length(uri);
}

bool redirect_matches(struct str registered, struct str asked)
{
	struct str one, other;
	if (str_eq(registered, asked))
		return true;
	if (!redirect_is_loopback(registered, &one) || !redirect_is_loopback(asked, &other))
		return false;
	size_t host = host_length((struct str){registered.p + 7, registered.n - 7}) + 7;
	return asked.n >= host && memcmp(registered.p, asked.p, host) == 0 && str_eq(one, other);
}

void redirect_add_source(struct buf *b, struct str uri)
{
	struct str rest = uri;
	size_t scheme = skip(&rest, "https://") ? 8 : skip(&rest, "http://") ? 7 : 0;
	if (!scheme) {
		buf_add(b, uri.p, own_scheme_length(uri));
		return;
	}
	if (rest.n && *rest.p == '[') { /* a policy cannot name an IPv6 address */
		buf_add(b, uri.p, scheme - 2);
		return;
	}
	size_t end = scheme;
	while (end < uri.n && uri.p[end] != '/' && uri.p[end] != '?')
		end++;
	buf_add(b, uri.p, end);
}
