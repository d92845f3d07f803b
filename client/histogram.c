#include "client/histogram.h"

#include <assert.h>
#include <string.h>

enum { HISTOGRAM_BITS = 7 }; /* of a value that are kept behind its first */

static_assert(HISTOGRAM_STEPS == 2 << HISTOGRAM_BITS, "each power of two has its own");

/* Values below STEPS have a count each; above, each power of two has STEPS / 2 of its own, and the first
 * half of its row stays empty: that is cheaper than to save it. */
static unsigned slot_of(uint64_t ns)
{
	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS;
	if (shift >= HISTOGRAM_POWERS)
		return HISTOGRAM_COUNTS - 1;
	return shift * HISTOGRAM_STEPS + (unsigned)(ns >> shift);
}

/* The largest value that is counted there. */
static uint64_t largest_of(unsigned slot)
{
	unsigned shift = slot / HISTOGRAM_STEPS;
	return (((uint64_t)(slot % HISTOGRAM_STEPS) + 1) << shift) - 1;
}

void histogram_clear(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->counts[slot_of(ns)]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

uint64_t histogram_at(const struct histogram *h, double part)
{
	uint64_t rank = (uint64_t)(part * (double)h->count + 0.5), seen = 0;
	if (!h->count)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_COUNTS; i++) {
		seen += h->counts[i];
		if (seen && seen >= rank)
			return largest_of(i) < h->max ? largest_of(i) : h->max;
	}
	return h->max;
}
