/* discovery.h: what an issuer publishes about itself (OpenID Connect Discovery 1.0, RFC 8414).
 * Any thread. Limits: a document of DISCOVERY_MAX bytes, an address of DISCOVERY_URL_MAX. */
#pragma once

#include "core/err.h"
#include "core/str.h"

enum { DISCOVERY_MAX = 64 * 1024, DISCOVERY_URL_MAX = 1024 };

/* What is of use here; "" when the document does not say it. Addresses are as they came: whether
 * they may be asked is for who asks. */
struct discovery {
	char jwks_uri[DISCOVERY_URL_MAX + 1];
	char introspection_endpoint[DISCOVERY_URL_MAX + 1];
};

/* Reads a document that was fetched for this issuer. It has to name the issuer exactly (OpenID
 * Connect Discovery section 4.3), else somebody could answer for another. ERR_PARSE, ERR_PARAMS,
 * ERR_TOO_LARGE, each with a sentence in *ret_why. */
enum err discovery_read(
	struct str document, struct str issuer, struct discovery *ret, const char **ret_why);

/* Where the document may be: for an issuer `https://host/path` first (which = 0) at
 * `https://host/path/.well-known/openid-configuration`, then (1) at
 * `https://host/.well-known/oauth-authorization-server/path`. False: the issuer is no such address,
 * or there is no third. */
bool discovery_address(struct str issuer, int which, char out[DISCOVERY_URL_MAX + 1]);
