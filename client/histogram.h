/* histogram.h: how long things took: so many counts of fixed size whatever is counted, with less than 1 % of error.
 * Thread: its owner's. */
#pragma once

#include <stdint.h>

enum {
	HISTOGRAM_STEPS = 256, /* half of them between a power of two and the next */
	HISTOGRAM_POWERS = 33, /* the largest is 2^40 ns: 18 minutes */
	HISTOGRAM_COUNTS = HISTOGRAM_STEPS * HISTOGRAM_POWERS,
};

struct histogram {
	uint64_t count, max;
	uint64_t counts[HISTOGRAM_COUNTS];
};

void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t ns);
/* The least that so much of all (0.99) did not exceed; 0 when nothing was counted. */
uint64_t histogram_at(const struct histogram *h, double part);
