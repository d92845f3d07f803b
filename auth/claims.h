/* claims.h: what a token whose signature is right says (RFC 7519, RFC 9068), held against what its
 * issuer is configured to say. The last step of the check; before the signature only
 * claims_peek_issuer() may look, to find out whose keys to use.
 * Any thread; allocates nothing; struct claims is the caller's own, about 25 KiB.
 * Limits: JSON_ONCE_MAX claims, CLAIM_TEXT_MAX bytes in a name, CLAIM_GLOBS_MAX globs in a list. */
#pragma once

#include "auth/check.h"
#include "auth/claims_kept.h"
#include "auth/jws.h"
#include "auth/mapping.h"
#include "core/json_scan.h"
#include "core/principal.h"

enum { CLAIM_TEXT_MAX = 255, CLAIM_GLOBS_MAX = 128, CLAIM_SKEW = 30 };

/* What is expected of one issuer. Configuration: read-only, outlives all who use it. Issuer and
 * audiences have no backslash and no quote in them, an alias has at most CLAIM_TEXT_MAX bytes and
 * no '|'. */
struct issuer_rule {
	struct str issuer; /* `iss`, exactly */
	struct str alias;  /* users are "alias|sub"; empty: the embedded issuer's accounts */
	const struct str *audiences; /* `aud` has to hold one of them */
	size_t audience_count;
	uint32_t algs;           /* bits of enum jwa; see jwa_default() */
	bool typ_jwt;            /* `typ` may also be "JWT" or absent; then ID tokens are refused */
	uint32_t default_scopes; /* for a token that says nothing of scopes and roles; of no
				  * account at the embedded one */
	struct claim_mapping mapping;
};

/* Spans point into `text`, those of kept claims' values into the payload. Absent strings are empty. */
struct claims {
	enum check_step step; /* where the check is, or where it ended */
	struct str sub, jti, client, name;
	struct str sid; /* of the embedded issuer only: others mean something of their own by it */
	int64_t exp, nbf, iat; /* whole seconds, rounded down; nbf and iat 0 when absent */
	bool has_grant;        /* something was said of scopes or roles */
	uint32_t scopes;
	bool rooms_limited, datasets_limited;
	size_t room_count, dataset_count, room_role_count, kept_count, said_count;
	/* from here on nothing is cleared before it is used */
	struct str rooms[CLAIM_GLOBS_MAX], datasets[CLAIM_GLOBS_MAX];
	struct room_role room_roles[CLAIM_GLOBS_MAX];
	struct principal_claim kept[CLAIMS_KEPT_MAX];
	struct principal_claim said[JSON_ONCE_MAX + 1]; /* all, as they stand in the payload */
	char kept_names[CLAIMS_KEPT_MAX * CLAIM_NAME_MAX];
	size_t used;
	char text[B64URL_BYTES(JWS_MAX)];
};

/* The `iss` of a payload nobody has checked, as it stands between its quotes (compare it with
 * json_string_eq or _is). False: it is no JSON object with such a string. */
bool claims_peek_issuer(struct str payload, struct str *ret_iss);

/* Step 5. now is in Unix seconds. `exp` is exact; `nbf` and `iat` may be CLAIM_SKEW seconds ahead.
 * ERR_UNAUTHENTICATED with a sentence in *ret_why; of *ret_claims only `step` then counts. */
enum err claims_read(struct str payload, struct str typ, const struct issuer_rule *rule,
	int64_t now, struct claims *ret_claims, const char **ret_why);

/* The same for an issuer's answer about a token that only it can read (RFC 7662 section 2.2): it
 * has to say `active`, `iss` may be missing because that is who was asked, and `token_type` stands
 * in for the header's typ. */
enum err claims_read_answer(struct str answer, const struct issuer_rule *rule, int64_t now,
	struct claims *ret_claims, const char **ret_why);

/* While the payload is there. Who that is: at the embedded issuer the account `sub`, or "client:ID" for a client of its own
 * (`sub` is then the `client_id`); elsewhere "alias|sub". The caller has one reference. */
struct principal *claims_principal(const struct claims *claims, const struct issuer_rule *rule);

/* A NumericDate (RFC 7519 section 2) in whole seconds, rounded down: fractions and exponents are
 * fine, years past 9999 are not. ERR_PARAMS. */
enum err claims_date(struct str number, int64_t *ret_seconds);
