/* keyring.h: when to fetch an issuer's keys, and how long to use those there are. Decisions only:
 * no I/O and no clock; times are seconds of one clock, and the caller fetches when told to.
 * Thread: one for each issuer's keyring (who fetches); workers get sets by bearer_set_keys().
 *
 * One fetch at a time. After each, KEYRING_COOLDOWN seconds without another, in which an unknown kid
 * is refused: made-up kids cost the issuer one request in that time, however many they are. */
#pragma once

#include "auth/jwk.h"

enum {
	KEYRING_COOLDOWN = 30,
	KEYRING_TTL = 10 * 60,        /* then the keys are fetched again */
	KEYRING_STALE = 24 * 60 * 60, /* how old they may get while the issuer does not answer */
	KEYRING_UNKNOWN_MAX = 64, /* kids remembered as unknown; past it the oldest is forgotten */
	KEYRING_UNKNOWN_TIME = 5 * 60, /* for so long, or until the set changes */
};

enum keyring_step {
	KEYRING_FETCH,  /* begin a fetch now; it ends in keyring_arrived() or keyring_failed() */
	KEYRING_WAIT,   /* a fetch is under way: ask again when it has ended */
	KEYRING_REFUSE, /* nothing to be done: this kid is unknown */
	KEYRING_IDLE,   /* keyring_tick() only: nothing is due */
};

struct keyring_unknown {
	int64_t until;
	bool asked; /* for the fetch under way, which will tell */
	size_t n;   /* 0: free */
	char kid[JWK_KID_MAX];
};

struct keyring {
	struct jwk_set *set;
	bool fetching, tried;
	int64_t fetched_at, tried_at;
	size_t next; /* the place that is overwritten next */
	struct keyring_unknown unknown[KEYRING_UNKNOWN_MAX];
};

/* An empty one; all zero is the same. */
void keyring_init(struct keyring *k);
void keyring_finish(struct keyring *k);

/* The keys to use now, not a reference; NULL: none yet, or too old. */
struct jwk_set *keyring_keys(const struct keyring *k, int64_t now);

/* A token named a kid (or none: empty) that the set does not have. */
enum keyring_step keyring_unknown(struct keyring *k, struct str kid, int64_t now);

/* To be called every few seconds: KEYRING_FETCH when there are no keys yet, or they are due. */
enum keyring_step keyring_tick(struct keyring *k, int64_t now);

/* The fetch ended with this set (a reference of its own is taken). True: it differs from before. */
bool keyring_arrived(struct keyring *k, struct jwk_set *set, int64_t now);

/* The fetch ended without one; what there is stays in use. */
void keyring_failed(struct keyring *k, int64_t now);
