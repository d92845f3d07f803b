/* authn.h: from a token to a principal, on any worker: the check of auth/bearer.h with the keys of
 * every configured issuer (service/issuer_keys.h), or what the issuer says when asked
 * (service/introspection.h).
 *
 * Thread: the worker's own. done() may run before authn_check() returns. A drain settles whoever
 * waits for an issuer, and nobody waits after it: ERR_OVERLOADED. */
#pragma once

#include "auth/bearer.h"
#include "auth/withdrawal.h"
#include "core/ip.h"
#include "core/json_out.h"
#include "core/worker.h"

/* One check under way; embedded in whoever waits for it. */
struct authn {
	void (*done)(struct authn *a, enum err err, struct principal *who, const char *why);
	struct authn *next, **back; /* while it waits for an issuer */
	char *token;                /* a copy, while it waits for keys */
	unsigned char digest[32];   /* of the token, while its issuer is asked about it */
	enum check_step step;       /* for done(): where the check ended, */
	int issuer;                 /* and whose token it is, or -1 */
	char peer[IP_TEXT_MAX];     /* the address it came from, "": nobody counts its failures */
};

/* Calls done with a reference the callee owns, or with ERR_UNAUTHENTICATED, ERR_FORBIDDEN,
 * ERR_OVERLOADED (its issuer cannot be reached now) or ERR_RATE_LIMITED (quota_token() tells why)
 * and a sentence for operators. peer: the client's address, which failures are held against; n 0: of
 * nobody in particular. */
void authn_check(struct authn *a, struct str token, struct str peer);
void authn_cancel(struct authn *a); /* done will not be called; also when nothing is under way */

/* Writes an array of the steps of a check that ended so with what was found and wanted at each. In
 * done() only, for operators only: it shows what the token says. */
void authn_explain(const struct authn *a, struct str token, enum err err,
	const struct principal *who, const char *why, const char *key, struct json_out *o);

/* What was withdrawn is not cached on this worker any more (auth/withdrawal.h). */
void authn_forget(enum withdrawal_kind kind, struct str value);

/* The token in an Authorization header. ERR_NOT_FOUND: none was sent; ERR_PARAMS: not one Bearer
 * token (RFC 6750 section 2.1). */
enum err authn_bearer_token(struct str header, struct str *ret_token);

/* Before the workers start. The embedded issuer's url is n 0 when there is none; its keys are a JWK
 * set as text. Configuration and texts are kept, not copied. On failure *why holds a sentence. */
struct config;
struct authn_embedded {
	struct str url, audience, jwks;
};
enum err authn_configure(
	const struct config *config, const struct authn_embedded *embedded, struct buf *why);
void authn_finish(void); /* after the workers */

/* On a worker: the embedded issuer's keys are these from now on. */
struct jwk_set;
void authn_embedded_keys(struct jwk_set *keys);

extern const struct worker_part authn_part;
