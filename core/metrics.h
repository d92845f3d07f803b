/* metrics.h: counters and gauges, one table (core/metrics.def) with a sentence each on what it
 * means and what to do. Any thread: each thread adds to a cache line set of its own; reading sums
 * them up. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum metric {
#define METRIC(name, kind, word, meaning) METRIC_##name,
#include "core/metrics.def"
#undef METRIC
	METRICS
};

void metric_add(enum metric m, int64_t n); /* gauges: n may be negative */
int64_t metric_read(enum metric m);

/* All of them in the Prometheus text format (version 0.0.4). */
void metrics_write(struct buf *b);
