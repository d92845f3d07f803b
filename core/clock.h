/* clock.h: what time it is, in milliseconds. For the time of a worker's loop turn see core/worker.h.
 * Thread: any. */
#pragma once

#include <stdint.h>

/* Since 1970: the same for all processes; it may be put forward or back. */
int64_t clock_unix_ms(void);
/* Since some moment: it only ever grows, for how long things take. */
int64_t clock_steady_ms(void);
