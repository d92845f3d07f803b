/* routes.h: which address is served by whom. Filled once before the workers start; read-only
 * afterwards, any thread. */
#pragma once

#include "core/http.h"
#include "service/config.h"

void routes_configure(const struct config *config); /* kept, not copied */
void routes_add(const struct http_route *table);    /* ends with a NULL path */
void routes_free(void);

/* NULL: nothing is there. internal: asked on the listener for operators. */
const struct http_route *route_find(struct str path, bool internal);

/* Whether pages of this Origin may use the service: on the list, or without a list of the same
 * host. */
bool origin_allowed(struct str origin, struct str host);
extern const char origin_refused[]; /* the sentence for those that may not */
