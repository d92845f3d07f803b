#include "service/pace.h"

#include "core/metrics.h"

enum { SECOND_MS = 1000, PATIENCE = 10 /* times rate and burst, with refusals counted */ };

static struct pace_limits limits;

void pace_configure(const struct pace_limits *l)
{
	limits = *l;
}

const struct pace_limits *pace_limits(void)
{
	return &limits;
}

void pace_resumed(struct pace *p)
{
	p->resent = limits.resent;
}

static struct bucket_size fresh_size(bool joins)
{
	return (struct bucket_size){
		.tokens = joins ? limits.joins_per_second : limits.requests_per_second,
		.period_ms = SECOND_MS,
		.burst = joins ? limits.joins_burst : limits.requests_burst};
}

static struct bucket_size all_size(bool joins)
{
	struct bucket_size size = fresh_size(joins);
	size.burst += limits.resent;
	return size;
}

/* Milliseconds until the lane is free; *ret_resent is set when it is only for messages sent again. */
static int64_t lane_wait(const struct pace *p, bool joins, int64_t now, bool *ret_resent)
{
	const struct pace_lane *lane = joins ? &p->joins : &p->requests;
	int64_t wait = bucket_wait(&lane->fresh, fresh_size(joins), now, 1);
	if (!wait || !p->resent || bucket_wait(&lane->all, all_size(joins), now, 1))
		return wait;
	*ret_resent = true;
	return 0;
}

static void lane_spend(struct pace *p, bool joins, int64_t now)
{
	struct pace_lane *lane = joins ? &p->joins : &p->requests;
	bucket_spend(&lane->fresh, fresh_size(joins), now, 1);
	bucket_spend(&lane->all, all_size(joins), now, 1);
}

static enum err refuse(bool joins, int64_t wait_ms, struct refusal *ret_why)
{
	metric_add(joins ? METRIC_JOINS_LIMITED : METRIC_REQUESTS_LIMITED, 1);
	*ret_why = (struct refusal){.reason = joins ? "too_many_joins" : "too_many_requests",
		.message = joins ? "Too many rooms joined in a short time; wait a little."
				 : "Too many requests in a short time; wait a little.",
		.retry_after = (wait_ms + SECOND_MS - 1) / SECOND_MS,
		.limit = joins ? limits.joins_per_second : limits.requests_per_second};
	return ERR_RATE_LIMITED;
}

bool pace_take_resent(struct pace *p)
{
	if (!p->resent)
		return false;
	p->resent--;
	return true;
}

enum err pace_take(struct pace *p, int64_t now, unsigned flags, struct refusal *ret_why)
{
	struct bucket_size patience = fresh_size(false);
	patience.tokens *= PATIENCE;
	patience.burst *= PATIENCE;
	if (bucket_take(&p->refusals, patience, now, 1))
		p->lost = true;
	if (flags & METHOD_ALWAYS) /* acks above all: others decide how many it has to send */
		return ERR_OK;
	bool joins = flags & METHOD_JOIN, resent = false;
	int64_t wait = lane_wait(p, false, now, &resent);
	if (wait)
		return refuse(false, wait, ret_why);
	wait = joins ? lane_wait(p, true, now, &resent) : 0;
	if (wait)
		return refuse(true, wait, ret_why);
	if (resent)
		p->resent--;
	lane_spend(p, false, now);
	if (joins)
		lane_spend(p, true, now);
	return ERR_OK;
}
