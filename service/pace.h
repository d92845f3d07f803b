/* pace.h: how often one session may ask: requests a second, joins a second, and how long refusing one
 * after another goes on.
 *
 * What a session sends again after a resume was lost, so it is exempt: up to limits.kept_messages at
 * each resume go beyond the burst. What they take is not new, though: over any time a session is
 * served no more than its rate, one burst and one limits.kept_messages, however often it resumes.
 *
 * Thread: the session's worker. Times are milliseconds of its loop. */
#pragma once

#include "core/bucket.h"
#include "core/call.h"

struct pace_limits {
	unsigned requests_per_second, requests_burst;
	unsigned joins_per_second, joins_burst;
	unsigned resent; /* messages beyond the burst at a resume */
};

void pace_configure(const struct pace_limits *limits); /* copied */
const struct pace_limits *pace_limits(void);

struct pace_lane {
	struct bucket fresh; /* what anybody has */
	struct bucket all;   /* and what is left when resent messages are counted, too */
};

/* All zeros at a session's begin. */
struct pace {
	struct pace_lane requests, joins;
	struct bucket refusals;
	unsigned resent; /* how many more may be messages sent again */
	bool lost;       /* goes on regardless: to be closed */
};

void pace_resumed(struct pace *p);

/* For one message. flags: of its method. ERR_OK, or ERR_RATE_LIMITED with *ret_why. */
enum err pace_take(struct pace *p, int64_t now_ms, unsigned flags, struct refusal *ret_why);

/* Whether one more may be under way than otherwise: it may be one that is sent again. */
bool pace_take_resent(struct pace *p);
