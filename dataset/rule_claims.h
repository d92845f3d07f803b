/* rule_claims.h: which claims of tokens the rules of datasets name, by their text alone: ":claim_team" is the claim
 * team; a ":scope_x" that is none of our scopes wants the claims scope and scp, where foreign words stand. A name in a
 * string of a rule counts, too, and costs nothing. Any thread. */
#pragma once

#include "auth/claims_kept.h"
#include "dataset/definition.h"

struct rule_claims {
	size_t count;
	bool too_many;                     /* some are left out */
	struct str names[CLAIMS_KEPT_MAX]; /* in the definitions, or constant */
};

/* Adds those of all rules and hidden columns; each is there once. */
void rule_claims_add(struct rule_claims *c, const struct definition *d);
