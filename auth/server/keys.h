/* keys.h: the issuer's signing keys, for ES256 and for RS256, kept in the store.
 *
 * A key is first `next`: published, so that whoever checks our tokens has it before it signs; then
 * `active`: it signs; then `old`: published for as long as a token of it may live, then it goes. The keys
 * in use are an immutable set that each worker has a reference to; what changes is written into the
 * store, read back from there, and given to all workers (key_rotation.c). A key is made active only
 * after all of them have had it.
 *
 * Thread: keys_start() and keys_stop() on the main thread while no worker runs, keys_drain() on the main
 * thread between workers_drain() and workers_stop(); the rest on any thread. On a worker what is
 * returned stays as it is until the end of the post or callback. */
#pragma once

#include "auth/jwk.h"
#include "auth/keypair.h"
#include "core/worker.h"

#include <stdatomic.h>

struct signing_key {
	struct keypair pair;
	char *pem; /* the private key, as libjwt wants it */
	atomic_uint refs;
};

enum key_state { KEY_NEXT, KEY_ACTIVE, KEY_OLD };

struct key_entry {
	struct signing_key *key;
	enum key_state state;
	int64_t active_at;    /* since when it signs, or will */
	int64_t needed_until; /* an old one's tokens have ended then */
};

enum {
	KEYS_MAX = 32,
	KEYS_ALGORITHMS = 2,
	KEY_PUBLISHED = 600, /* seconds before a key signs: twice the cache time of the JWKS */
	KEY_TOKEN_LIFE = 24 * 3600 + 60, /* no token lives longer, but those of token.mint */
	KEY_AHEAD = 24 * 3600,           /* a scheduled key is published so long before it signs */
};

extern const enum jwa key_algorithms[KEYS_ALGORITHMS];

struct key_set {
	atomic_uint refs;
	char *jwks;             /* the public halves, as a JWK set (RFC 7517) */
	struct jwk_set *public; /* the same, read */
	size_t count;
	struct key_entry list[KEYS_MAX]; /* of each algorithm the newest first */
};

/* Reads the keys, and makes the one for ES256 if there is none: that takes no time, and access tokens need no
 * other. The one for RS256 is made behind the start (key_rotation.h). rotation: seconds that a key signs; 0: until told otherwise. changed is
 * called on each worker when it has other keys. ERR_INTERNAL: the store failed, or holds what is no
 * key. */
enum err keys_start(int64_t rotation, void (*changed)(struct jwk_set *keys));
void keys_drain(void);
void keys_stop(void);

/* The set in use here; the caller has no reference. */
const struct key_set *keys_now(void);

/* Whether there is one that signs for each algorithm: always, but for the first seconds of a new store. */
bool keys_complete(void);

/* The one that signs now. For ES256 there is always one; for others who asks has waited (key_wait.h). */
const struct signing_key *key_for(enum jwa alg);

/* The newest of this algorithm in this state, or NULL. */
const struct key_entry *key_find(const struct key_set *set, enum jwa alg, enum key_state state);

/* For key_rotation.c: on a worker. */
struct store_op;
enum err key_set_read(struct store_op *op, const struct key_set *known, struct signing_key *made,
	struct key_set **ret_set);
struct key_set *key_set_ref(struct key_set *set);
void key_set_unref(struct key_set **set);
void keys_use(struct key_set *set);         /* here, from now on; the reference moves */
struct signing_key *key_make(enum jwa alg); /* NULL: OpenSSL failed. Takes up to a second */
void signing_key_unref(struct signing_key **key);
