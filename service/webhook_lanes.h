/* webhook_lanes.h: in which order the events of one webhook are sent. Each key (a room, a user) is a
 * lane: one event at a time, in order; an event that was not taken is tried again after a pause that
 * grows, and keeps back its own lane alone. When nothing is taken any more, lane or not, the webhook is
 * down: then one event at a time is tried, and the first that is taken lets all go on at once.
 *
 * It holds a part of what waits in the store: lanes_put() is offered what is there in its order and may
 * leave an event out; its lane then asks for more by itself when it comes to it (lanes_lacking).
 *
 * Thread: its owner's; no I/O, no clock of its own. Times are milliseconds of any steady clock. */
#pragma once

#include "core/map.h"

enum {
	LANES_HELD_MAX = 1000,             /* events in memory; then lanes_full() */
	LANES_BYTES_MAX = 4 * 1024 * 1024, /* the same */
	LANE_HELD_MAX = 16,                /* of one lane; the others wait in the store */
	LANES_DOWN_AFTER = 3,              /* failures in a row */
};

struct lane_event {
	struct lane_event *next;
	struct lane *lane;
	int64_t sequence;
	struct str id, type, data; /* in text */
	int64_t time;
	size_t bytes;
	char text[];
};

struct lane {
	struct str key;
	struct lane *next, **back; /* among those that wait for their turn */
	struct lane_event *first, **last;
	size_t count;
	int64_t top;  /* the newest event it has had */
	bool more;    /* events were left out */
	bool asking;  /* they have been asked for */
	bool sending; /* the first event is on its way */
	bool resting;
	unsigned failures; /* of the first event */
	uint64_t due_ms;
};

struct lanes {
	struct map by_key;
	struct lane *turn, **turn_last;
	size_t held, bytes, sending;
	int64_t cursor; /* all events up to this have been offered */
	size_t resting; /* empty lanes that have had events behind it: it must not offer them again */
	unsigned failures;          /* in a row, of all */
	uint64_t due_ms;            /* while down */
	uint64_t first_ms, last_ms; /* the shortest and the longest pause */
};

void lanes_init(struct lanes *l, uint64_t first_ms, uint64_t last_ms);
void lanes_free(struct lanes *l); /* nothing may be on its way: sending is 0, or forgotten */

bool lanes_full(const struct lanes *l);
bool lanes_down(const struct lanes *l);

struct lane_row {
	int64_t sequence, time;
	struct str id, type, key, data;
};

/* Offers the next of all events (behind cursor), or (of_lane) the next of a lane that was lacking. */
void lanes_put(struct lanes *l, const struct lane_row *row, bool of_lane);
/* Some of all events have been offered. */
void lanes_put_end(struct lanes *l);

/* The event that is to be sent now, or NULL. It is on its way from then on. */
struct lane_event *lanes_take(struct lanes *l, uint64_t now_ms);

/* What became of it: taken (it is the caller's to free), or not (it is the lane's again). */
void lanes_taken(struct lanes *l, struct lane_event *e);
/* random: 0 to 65535. */
void lanes_refused(struct lanes *l, struct lane_event *e, uint64_t now_ms, unsigned random);

/* When the next can be taken that cannot now; UINT64_MAX: when something else happens. */
uint64_t lanes_due(const struct lanes *l);

/* A lane whose events are to be asked for, behind lane->top, or NULL; then they come by lanes_put(), and
 * at the end lanes_asked(): whether there are more behind them. */
struct lane *lanes_lacking(struct lanes *l);
void lanes_asked(struct lanes *l, struct str key, bool more);

/* Nobody waits any more. */
void lanes_hurry(struct lanes *l);
