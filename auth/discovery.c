#include "auth/discovery.h"

#include "core/json_scan.h"

#include <stdio.h>

static enum err refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return ERR_PARAMS;
}

/* An address, "" when there is none. */
static bool take_url(struct str document, const char *name, char out[DISCOVERY_URL_MAX + 1])
{
	struct str value;
	char text[DISCOVERY_URL_MAX + 2];
	size_t n = 0;
	out[0] = 0;
	if (!json_get(document, name, &value))
		return true;
	if (json_kind(value) != JSON_STRING || value.n > sizeof(text) ||
		json_decode(value, text, &n) || n > DISCOVERY_URL_MAX ||
		str_has_control((struct str){text, n}))
		return false;
	memcpy(out, text, n);
	out[n] = 0;
	return true;
}

enum err discovery_read(
	struct str document, struct str issuer, struct discovery *ret, const char **ret_why)
{
	struct discovery d;
	struct str value;
	*ret_why = "the document is too large";
	if (document.n > DISCOVERY_MAX)
		return ERR_TOO_LARGE;
	*ret_why = "the document is not a JSON object";
	if (json_check(document, NULL) || json_kind(document) != JSON_OBJECT)
		return ERR_PARSE;
	if (json_once(document))
		return refuse("the document has a doubled member, or too many", ret_why);
	char name[DISCOVERY_URL_MAX + 1];
	if (!json_get(document, "issuer", &value) || !take_url(document, "issuer", name))
		return refuse("the document names no issuer", ret_why);
	if (!str_is(issuer, name))
		return refuse("the document is another issuer's: its `issuer` is not the one "
			      "configured, letter by letter",
			ret_why);
	if (!take_url(document, "jwks_uri", d.jwks_uri))
		return refuse("the document's jwks_uri is no address", ret_why);
	if (!take_url(document, "introspection_endpoint", d.introspection_endpoint))
		return refuse("the document's introspection_endpoint is no address", ret_why);
	*ret = d;
	return ERR_OK;
}

bool discovery_address(struct str issuer, int which, char out[DISCOVERY_URL_MAX + 1])
{
	static const char oidc[] = "/.well-known/openid-configuration";
	static const char oauth[] = "/.well-known/oauth-authorization-server";
	while (issuer.n && issuer.p[issuer.n - 1] == '/')
		issuer.n--;
	if (!str_starts(issuer, STR("https://")) && !str_starts(issuer, STR("http://")))
		return false;
	const char *host = (const char *)memchr(issuer.p, '/', issuer.n) + 2;
	size_t after = issuer.n - (size_t)(host - issuer.p);
	const char *path = memchr(host, '/', after);
	size_t front = path ? (size_t)(path - issuer.p) : issuer.n;
	struct str tail = {issuer.p + front, issuer.n - front};
	if (which > 1 || !after || issuer.n + sizeof(oauth) > DISCOVERY_URL_MAX)
		return false;
	if (which == 0)
		snprintf(out, DISCOVERY_URL_MAX + 1, STR_FMT "%s", STR_ARG(issuer), oidc);
	else
		snprintf(out, DISCOVERY_URL_MAX + 1, STR_FMT "%s" STR_FMT, (int)front, issuer.p,
			oauth, STR_ARG(tail));
	return true;
}
