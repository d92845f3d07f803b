/* leftovers.h: what captures a table is to be in a file only as long as some definition needs it. Who takes a dataset out of
 * the configuration while the service is stopped leaves it there: it is found at the next start, and taken out.
 *
 * Looks at the files that were attached once (heads.h) and at no others. What cannot be done now is left for the
 * next start.
 *
 * Thread: main, with the workers running, unless said; the work is done on the pool. */
#pragma once

#include "core/pool.h"
#include "core/str.h"

void leftovers_look(struct pool *pool);

/* On a thread that may block: one file, any path to it. False: something is still in it, and why says why; it is looked at
 * again at the next start. */
enum { LEFTOVERS_WHY_MAX = 512 };
bool leftovers_take(struct str database, char ret_why[LEFTOVERS_WHY_MAX]);
