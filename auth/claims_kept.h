/* claims_kept.h: which claims of tokens are kept in the principal, because rules of datasets name them
 * (":claim_team"). None, unless somebody says so: then nothing is looked for, and nothing costs.
 *
 * Thread: any. There is a lock, taken when the names change, and with each token that is checked while there
 * are names. A token that was checked before has what was kept then; one that is shown again is checked again. */
#pragma once

#include "core/principal.h"

enum { CLAIMS_KEPT_MAX = 32, CLAIM_NAME_MAX = 128 };

/* These and no others, from now on; at most CLAIMS_KEPT_MAX, of at most CLAIM_NAME_MAX bytes each. */
void claims_keep(const struct str *names, size_t count);

/* Another number each time that the names have changed; 0: there never were any. */
unsigned claims_kept_generation(void);

/* Those of the payload, which json_check() and json_once() have passed. The values lie in it, the names in
 * text, which has room for all that are kept. How many. */
size_t claims_kept_in(
	struct str payload, char *text, struct principal_claim ret_claims[CLAIMS_KEPT_MAX]);
