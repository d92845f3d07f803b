#include "core/bucket.h"

/* In units of which tokens come back in a millisecond, and period_ms are one token: nothing is ever
 * rounded but the wait. */
static int64_t missing_now(const struct bucket *b, struct bucket_size size, int64_t now_ms)
{
	int64_t back, passed = now_ms - b->at_ms;
	if (passed <= 0)
		return b->missing;
	if (__builtin_mul_overflow(passed, (int64_t)size.tokens, &back) || back >= b->missing)
		return 0;
	return b->missing - back;
}

static int64_t units(struct bucket_size size, uint32_t n)
{
	return (int64_t)size.period_ms * n;
}

static void set(struct bucket *b, int64_t missing, int64_t now_ms)
{
	b->missing = missing;
	if (now_ms > b->at_ms)
		b->at_ms = now_ms;
}

int64_t bucket_wait(const struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n)
{
	if (!size.tokens)
		return 0;
	int64_t room = units(size, size.burst) - units(size, n < size.burst ? n : size.burst);
	int64_t over = missing_now(b, size, now_ms) - room;
	return over > 0 ? (over + size.tokens - 1) / size.tokens : 0;
}

int64_t bucket_take(struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n)
{
	int64_t wait = bucket_wait(b, size, now_ms, n);
	if (!wait && size.tokens)
		set(b, missing_now(b, size, now_ms) + units(size, n), now_ms);
	return wait;
}

void bucket_spend(struct bucket *b, struct bucket_size size, int64_t now_ms, uint32_t n)
{
	if (!size.tokens)
		return;
	int64_t was = missing_now(b, size, now_ms), most = units(size, size.burst);
	int64_t missing = was + units(size, n);
	if (missing > most)
		missing = was > most ? was : most;
	set(b, missing, now_ms);
}

bool bucket_full(const struct bucket *b, struct bucket_size size, int64_t now_ms)
{
	return !size.tokens || !missing_now(b, size, now_ms);
}
