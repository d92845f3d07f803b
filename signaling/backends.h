/* backends.h: which sessions serve which methods (rpc.serve), and whom a call goes to.
 *
 * Every worker knows every backend: what it serves of those domains that have their home here (a
 * domain is what stands before a method's first dot), and how much it has to do anywhere. The list of
 * names is an offer, which does not change: a later one takes its place.
 *
 * Thread: every worker has its own; offers and loads are shared. */
#pragma once

#include "core/addr.h"
#include "core/map.h"

#include <stdatomic.h>

enum { METHOD_NAME_MAX = 128, METHODS_MAX = 64 };

/* What a backend has to do, whoever asked for it. */
struct load {
	atomic_uint refs;
	atomic_uint under_way; /* calls that were sent to it and are not settled */
	atomic_uint owed; /* answers that may come from it; only its own worker takes them away */
};

struct offer {
	atomic_uint refs;
	struct load *load;
	size_t count;
	struct str names[]; /* their bytes stand behind them */
};

/* The names are copied. load: of the same backend before, or NULL. */
struct offer *offer_new(const struct str *names, size_t count, struct load *load);
struct offer *offer_ref(struct offer *o);
void offer_unref(struct offer **o);

struct invocation;

enum reach {
	REACH_CONNECTED,
	REACH_EXPECTED, /* its service has restarted: it was told when to come back */
	REACH_LOST,     /* without a connection: it is asked nothing new */
};

/* A session that serves, or has served. */
struct backend {
	char key[ADDR_KEY_BYTES];
	struct addr addr;
	struct offer *offer;
	enum reach reach;
	uint64_t turn; /* when it was chosen last; of the choices of this worker */
	struct invocation
		*first; /* what it has not answered, of the calls that came to this worker */
};

/* It serves this from now on, and nothing else any more. Owns the reference. */
void backends_offer(struct addr addr, struct offer *offer, enum reach reach);

struct backend *backends_find(struct addr addr); /* or NULL */

/* Of those that serve the method and can be reached the one with the least to do; among equals the one
 * whose turn was longest ago. Who is only expected is behind all others. NULL: nobody serves it. */
struct backend *backends_choose(struct str method);

/* Forgets it; it has no invocations any more. */
void backends_remove(struct backend *b);

/* Walks all: for (size_t i = 0; (b = backends_next(&i));). No change meanwhile. */
struct backend *backends_next(size_t *i);

void backends_stop(void); /* none is left: asserted */
