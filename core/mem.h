/* mem.h: allocation that cannot fail. Out of memory ends the process with a line that says so:
 * what is bounded by limits and not by a foreigner is allocated here. Parsers of foreign bytes
 * use malloc and answer ERR_NOMEM instead. Any thread. Freed by free(). */
#pragma once

#include "core/str.h"

#include <stdlib.h>

void *mem_alloc(size_t size);                             /* zeroed */
void *mem_resize(void *block, size_t count, size_t each); /* not zeroed */
char *mem_copy(struct str s);                             /* copy, NUL added */

/* Gives back to the system what nobody has used for some seconds: after many have left, the process is as
 * small as before. The main thread calls it each MEM_SETTLE_S. */
enum { MEM_SETTLE_S = 2 };
void mem_settle(void);

#define mem_new(type) ((type *)mem_alloc(sizeof(type)))
