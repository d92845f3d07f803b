/* introspection.h: tokens that only their issuer can read: it is asked about them (RFC 7662), once
 * for however many want to know, and its answer is believed for a while.
 *
 * Each token has a home: the worker that its SHA-256 names, which asks, and keeps the answer by that
 * digest: a good one until the token ends, auth.introspection_max_age at the longest; a bad one for
 * INTROSPECTION_REFUSED_S seconds. An issuer that does not answer says nothing of a token:
 * ERR_OVERLOADED.
 *
 * Thread: each worker's own. Limits, a worker: as many good answers as auth.cached_tokens,
 * INTROSPECTION_REFUSED_MAX bad ones, INTROSPECTION_ASKED_MAX questions under way. A drain ends what is
 * under way; nobody gets an answer after it. */
#pragma once

#include "auth/bearer.h"
#include "core/worker.h"

enum {
	INTROSPECTION_MAX = 64 * 1024, /* bytes of an answer */
	INTROSPECTION_REFUSED_S = 10,
	INTROSPECTION_REFUSED_MAX = 1000,
	INTROSPECTION_ASKED_MAX = 64,
	TOKEN_DIGEST = 32, /* SHA-256 */
};

struct introspection_answer {
	unsigned char digest[TOKEN_DIGEST];
	enum err err;
	struct principal *who; /* with ERR_OK; not a reference */
	const char *why;       /* otherwise: a sentence for operators, and where it failed */
	enum check_step step;
};

struct introspection_options {
	size_t cache;
	int64_t max_age_s;
	long timeout_ms;
	void (*answered)(const struct introspection_answer *answer); /* on the worker that asked */
};
void introspection_configure(const struct introspection_options *options); /* before the workers */

/* The digest that a token is known by. False: it cannot be a token (RFC 6750 section 2.1). */
bool introspection_digest(struct str token, unsigned char ret_digest[TOKEN_DIGEST]);

/* On any worker; answered() is called later, unless a drain comes first. */
void introspection_ask(struct str token, const unsigned char digest[TOKEN_DIGEST]);

/* Where the issuer's discovery document says to ask, and whether another machine said so. Any worker
 * may tell, and ask whether it is known: behind a small lock, touched once a question. */
void introspection_found(const char *url, bool told);
bool introspection_ready(void);

/* Forgets this worker's good answers that this is the jti, user or client of. How many they were. */
size_t introspection_forget(enum bearer_match match, struct str value);

extern const struct worker_part introspection_part;
