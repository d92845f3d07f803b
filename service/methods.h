/* methods.h: every method that there is, by name. Filled once before the workers start; read-only
 * afterwards, any thread. */
#pragma once

#include "core/call.h"

void methods_add(
	const struct method *table); /* ends with a NULL name; names are unique: asserted */
void methods_free(void);

/* The name as it stands between its quotes. NULL: there is no such method. */
const struct method *method_find(struct str name);

/* Whether there are methods whose names begin with this and a dot. */
bool methods_have_domain(struct str domain);

/* Walks all: for (size_t i = 0; (m = methods_next(&i));). */
const struct method *methods_next(size_t *i);
