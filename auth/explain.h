/* explain.h: the check of one access token, told step by step for the operator who wants to know why
 * it is refused: what each step found, and what it wanted. It shows what the token says, so it is
 * for commands and never for the log or for who sent the token.
 * Any thread. */
#pragma once

#include "auth/claims.h"
#include "core/json_out.h"

/* How a check ended, and what it was made with. */
struct explained {
	struct str token;
	const struct issuer_rule *rules; /* of all issuers */
	size_t rule_count;
	int issuer;                /* whose token it is, or -1 */
	const struct jwk_set *set; /* that issuer's keys; NULL: there are none */
	enum err err;              /* ERR_OK, ERR_UNAUTHENTICATED, ERR_OVERLOADED */
	enum check_step step;      /* otherwise: where it ended, and why */
	const char *why;
	const struct principal *who; /* with ERR_OK */
	int64_t now;
};

/* Writes an array of {step, asks, passed, found?, wanted?, why?}, up to the step that failed. */
void explain(const struct explained *e, const char *key, struct json_out *o);
