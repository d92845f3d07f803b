#include "core/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SHARDS = 64 };

/* A thread adds to its own shard: threads share one only when there are more than SHARDS. */
static struct {
	_Alignas(64) _Atomic int64_t values[METRICS];
} shards[SHARDS];

static atomic_uint next_shard;

static _Atomic int64_t *mine(enum metric m)
{
	static _Thread_local unsigned shard;
	static _Thread_local bool known;
	if (!known) {
		shard = atomic_fetch_add(&next_shard, 1) % SHARDS;
		known = true;
	}
	return &shards[shard].values[m];
}

void metric_add(enum metric m, int64_t n)
{
	atomic_fetch_add_explicit(mine(m), n, memory_order_relaxed);
}

int64_t metric_read(enum metric m)
{
	int64_t sum = 0;
	for (unsigned i = 0; i < SHARDS; i++)
		sum += atomic_load_explicit(&shards[i].values[m], memory_order_relaxed);
	return sum;
}

void metrics_write(struct buf *b)
{
	static const struct {
		const char *word, *kind, *meaning;
	} rows[METRICS] = {
#define METRIC(name, kind, word, meaning) [METRIC_##name] = {word, #kind, meaning},
#include "core/metrics.def"
#undef METRIC
	};
	for (unsigned m = 0; m < METRICS; m++) {
		buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", rows[m].word, rows[m].meaning,
			rows[m].word, rows[m].kind);
		buf_addf(b, "%s %" PRId64 "\n", rows[m].word, metric_read((enum metric)m));
	}
}
