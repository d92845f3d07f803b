/* bucket.h: a token bucket: so many a period, and so many at once after a rest. All zeros is a full
 * one, so that it can lie in any struct; it allocates nothing, and rate and burst may change under it
 * (the period may not).
 *
 * Thread: its owner's. Times are milliseconds of any clock; one that goes back is taken to stand. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Each of them, as each n below, is less than 2^30. */
struct bucket_size {
	uint32_t tokens; /* come back in each period; 0: never empty */
	uint32_t period_ms;
	uint32_t burst; /* the most there are */
};

struct bucket {
	int64_t missing; /* tokens times period_ms */
	int64_t at_ms;
};

/* Milliseconds until n could be taken, rounded up; 0: now. More than the burst can be taken from a
 * full bucket. Takes nothing. */
int64_t bucket_wait(const struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n);

/* The same, and takes them when it answers 0. What was more than the burst is owed. */
int64_t bucket_take(struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n);

/* Takes up to n, as many as there are, from who is not refused. */
void bucket_spend(struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n);

bool bucket_full(const struct bucket *b, struct bucket_size size, int64_t now_ms);
