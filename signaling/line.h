/* line.h: a user's calls, at the user's home (worker_home of the user's string): those that the user
 * places, which live at the home of whom they ring, and those that ring the user, which live here
 * (calls.c). How often a user may ring others is counted here, over all of the user's sessions.
 *
 * Thread: the worker's own. A line is there while there is something to know of it. Limits:
 * LINE_RINGING_MAX calls that a user has ringing, LINE_CALLS_MAX that a user has placed in all, as many
 * a minute as the options say. */
#pragma once

#include "core/bucket.h"
#include "core/map.h"
#include "core/worker.h"

enum {
	CALL_ID_CHARS = 38, /* 22 that nobody can guess, and where it lives: calls.h */
	LINE_RINGING_MAX = 5,
	LINE_CALLS_MAX = 64,
	LINE_RUNG_MAX = 16, /* calls that ring one user at the same time; then the user is busy */
};

struct placed_call; /* one that the user places */

struct line {
	struct str user;
	struct bucket pace;
	struct placed_call *placed;
	size_t placed_count, ringing; /* those of them that still ring */
	struct live_call *rung;       /* calls.c's: to the user */
	size_t rung_count;
	struct line *next_idle; /* line.c's own */
};

/* NULL: nothing is known of the user. */
struct line *line_find(struct str user);
struct line *line_find_or_make(struct str user);
/* Frees it when there is nothing to know. */
void line_settle(struct line *l);

/* ERR_OK; ERR_RATE_LIMITED: try again after *ret_wait_ms; ERR_FULL: LINE_RINGING_MAX, or in all. */
enum err line_may_place(const struct line *l, int64_t *ret_wait_ms);
/* One call more: it counts, and rings. */
void line_count(struct line *l);
void line_place(struct line *l, const char *id, struct str callee);
/* It has been answered; it is over. Of a call that is not there it is no fault. */
void line_answered(struct str user, const char *id);
void line_over(struct str user, const char *id);

/* Whether a call of the user's with a smaller id than this one rings that callee. */
bool line_rings_before(const struct line *l, struct str callee, const char *id);
/* Whether the user is in a call that the user placed. */
bool line_talks(const struct line *l);

void lines_start(struct worker *w);
void lines_stop(void);
