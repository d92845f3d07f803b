/* bearer.h: the whole check of an access token, and the cache of those that passed. This is the
 * header to read first of those that check tokens.
 * Thread: the worker whose it is; each worker has its own.
 * Limits: a token of JWS_MAX bytes, BEARER_ISSUERS_MAX issuers, the cache's size as configured.
 *
 * A token that passes is kept by its SHA-256 until it expires, is forgotten (revocation), its
 * issuer's keys change, other claims are to be kept, or others need the place. Its expiry is looked at
 * each time. What is revoked is known elsewhere: whoever forgets a token here also sees to it that it
 * does not come back. */
#pragma once

#include "auth/claims.h"

enum { BEARER_ISSUERS_MAX = 32 };

struct bearer;

/* Why a token was refused, for the operator's log; never shown to who sent it. */
struct bearer_fail {
	const char *why; /* a sentence, static */
	enum check_step step;
	int issuer;      /* index of the rule, or -1 */
	bool no_jwt;     /* it has not the form of a JWT: perhaps an opaque token */
	bool wants_keys; /* the issuer's keys are missing, or do not have this kid: fetch, try again */
	size_t kid_n, iss_n; /* the key and, when it is none of the issuers, the issuer it names */
	char kid[JWK_KID_MAX], iss[CLAIM_TEXT_MAX];
};

/* The rules stay where they are and outlive it. cache: how many tokens are kept, 0 for none. */
struct bearer *bearer_new(const struct issuer_rule *rules, size_t count, size_t cache);
void bearer_free(struct bearer **b);

/* Uses these keys for the issuer from now on (its own reference is taken; NULL: there are none). If
 * they differ from the ones before, what those let in is forgotten. */
void bearer_set_keys(struct bearer *b, size_t issuer, struct jwk_set *set);

/* Those keys, not a reference. */
struct jwk_set *bearer_keys(const struct bearer *b, size_t issuer);

/* Checks a token. On ERR_OK the caller has one reference to *ret. ERR_UNAUTHENTICATED, ERR_NOMEM:
 * *ret_fail says why. now is in Unix seconds. */
enum err bearer_check(struct bearer *b, struct str token, int64_t now, struct principal **ret,
	struct bearer_fail *ret_fail);

enum bearer_match { BEARER_ALL, BEARER_JTI, BEARER_SID, BEARER_USER, BEARER_CLIENT };

/* The name by which a token without one is revoked, from a SHA-256 of it. */
enum { BEARER_JTI_MADE = 64 };
struct str bearer_made_jti(const unsigned char digest[32], char out[BEARER_JTI_MADE]);

/* Whether that is the principal's jti, user, client or sign-in. */
bool bearer_matches(const struct principal *p, enum bearer_match match, struct str value);

/* Forgets the cached tokens that this is the jti, sid, user or client of. How many they were. */
size_t bearer_forget(struct bearer *b, enum bearer_match match, struct str value);

struct bearer_counts {
	uint64_t hits, verified, refused;
	size_t cached;
};
struct bearer_counts bearer_counts(const struct bearer *b);
