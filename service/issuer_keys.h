/* issuer_keys.h: the keys of issuers that publish them: worker 0 reads the discovery document, where
 * one is needed, and the key set, when auth/keyring.h says so, and tells every worker.
 *
 * An address that a discovery document names may lie on this machine only if the document does: an
 * issuer elsewhere cannot make us ask our own services.
 *
 * Thread: each worker's own. A drain ends what is under way; nobody is told of anything after it. */
#pragma once

#include "auth/jwk.h"
#include "core/worker.h"

/* What a worker is told when a fetch has ended, or when there is no use in waiting for one. */
struct issuer_news {
	size_t issuer;
	struct jwk_set *set; /* the keys now; NULL: as before when has_keys, else none */
	bool has_keys;
	int64_t quiet_until; /* until then nothing more will be fetched: Unix seconds */
};

/* Before the workers start: who is told, on each worker, and how long an issuer may take. */
void issuer_keys_configure(void (*tell)(const struct issuer_news *news), long timeout_ms);

/* On any worker: a token of this issuer named a kid (or none: empty) that is not there. The worker is
 * told when it can be, or that it will not. */
void issuer_keys_want(size_t issuer, struct str kid);

extern const struct worker_part issuer_keys_part;
