/* fetch.h: one HTTP GET on a worker's loop, by libcurl's multi interface. https, or http to this
 * machine; no redirects; an answer of 200 within the limits, or a sentence that says why not. What
 * is fetched for a name from outside may not lie on this machine: the address is looked at after
 * it was resolved and before it is connected to.
 *
 * Thread: a worker; done() on the same one, never before fetch_start() returns. */
#pragma once

#include "core/err.h"
#include "core/str.h"
#include "core/worker.h"

struct fetch {
	void (*done)(struct fetch *f, enum err err, struct str body, const char *why);
	struct fetch_private *own; /* NULL: nothing under way */
};

struct fetch_limits {
	size_t bytes;
	long timeout_ms;
};

/* ERR_PARAMS: no address that may be fetched; done is not called. */
enum err fetch_start(struct fetch *f, const char *url, const struct fetch_limits *limits);
void fetch_cancel(struct fetch *f); /* also when nothing is under way */

extern const struct worker_part fetch_part;
