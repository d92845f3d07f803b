/* issuers.h: the issuers whose tokens count, as the configuration has them: what their tokens have
 * to be like, and where their keys and answers come from. The embedded one, if there is one, is the
 * first.
 *
 * Thread: made by main before the workers start, freed after them; otherwise read-only, for any. */
#pragma once

#include "auth/bearer.h"
#include "auth/discovery.h"
#include "core/buf.h"

struct issuer {
	struct jwk_set *fixed;                  /* its keys, when nothing is fetched; else NULL */
	const char *keys_url;                   /* "": where its discovery document says */
	const char *document_url;               /* "": at the places that follow from its name */
	const char *answers_url;                /* "": where its discovery document says */
	const char *client_id, *client_secret;  /* "": it is not asked about tokens */
	struct str *audiences, *scopes, *roles; /* what its rule points to */
	struct role_scopes *table;
};

struct config;
struct authn_embedded;
/* Texts of both are kept, not copied. On failure *why holds a sentence. */
enum err issuers_configure(
	const struct config *config, const struct authn_embedded *embedded, struct buf *why);
void issuers_finish(void);

size_t issuers_count(void);
const struct issuer *issuers_at(size_t i);
const struct issuer_rule *issuers_rules(void); /* of all of them */
int issuers_asked(void); /* the one that is asked about tokens that are no JWT, or -1 */

/* Whether keys are fetched from it. Not when they are given, nor when all that is known of it is where
 * to ask about tokens: then those count alone. */
bool issuer_is_fetched(const struct issuer *i);
/* Whether its discovery document has to be read for that. */
bool issuer_is_discovered(const struct issuer *i);
