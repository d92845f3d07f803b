/* site.h: what is served as it lies in the program (demo, JavaScript library) and what operators
 * ask (/health, /ready, /metrics). */
#pragma once

#include "core/http.h"

void site_configure(bool serve_demo); /* before the workers start */
void site_set_ready(bool ready);      /* any thread; /ready says so */

extern const struct http_route site_routes[];
