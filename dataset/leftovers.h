/* leftovers.h: what captures a table is to be in a file only as long as some definition needs it. Who takes a dataset out of
 * the configuration while the service is stopped leaves it there: it is found at the next start, and taken out.
 *
 * Looks at the files that were attached once (heads.h) and at no others. What cannot be done now is left for the
 * next start.
 *
 * Thread: main, with the workers running; the work is done on the pool. */
#pragma once

#include "core/pool.h"

void leftovers_look(struct pool *pool);
