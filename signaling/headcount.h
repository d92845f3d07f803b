/* headcount.h: how many are in rooms, wherever they live: asked of all their homes at once.
 * Thread: asked and answered on one worker; each home fills in what is its own. */
#pragma once

#include "core/addr.h"
#include "core/principal.h"
#include "core/str.h"

struct headcount {
	struct str room;
	bool shown; /* whether the caller may look: as the store says, before; as it is, afterwards */
	size_t members, users;
};

struct headcounts;
typedef void headcount_done(struct headcounts *h);

/* Who asks has this in something of its own, and leaves it as it is until done() is called. */
struct headcounts {
	struct headcount *list;
	size_t count;
	const struct principal *who; /* who may look; NULL: that is known already */
	struct addr watch;           /* from now on they watch these rooms; {0}: they do not */
	headcount_done *done;
	/* headcount.c's */
	int from;
	size_t away;
};

/* done() is called behind this, or within it when all of them live here. */
void headcount_ask(struct headcounts *h);
