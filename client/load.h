/* load.h: many connections in one thread. They are opened as a dialect says (client/dialect.h), from as
 * many source addresses as a service's limits ask for, and kept going by load_turn().
 *
 * Cheap on purpose, because what is measured is on the other side: one buffer for all that is read, no
 * allocation a message, one write a link and turn.
 *
 * Thread: one. Errors: whatever goes wrong ends the run; load_fault() says what it was. */
#pragma once

#include "client/dialect.h"

#include <stdbool.h>

struct load;

/* Where a run goes, and how. Texts are not copied. */
struct load_target {
	const char *url; /* http:// or https:// (ws:// and wss:// mean the same) */
	const char
		*authority; /* certificates (PEM) that vouch for an https one; NULL: the system's */
	bool insecure;      /* whoever answers is believed */
	bool resume_tls;    /* each goes on with the TLS session of the one whose place it takes */
};

/* What a scenario hears. Either may be NULL. */
struct load_events {
	void (*ready)(void *context, struct link *l);
	/* Returns how much of payload there is for certain. Runs for each delivery. */
	size_t (*delivered)(void *context, struct link *l, const char *payload, size_t n);
	void (*knows)(void *context, struct link *l, unsigned index);
	/* A PART_GUEST has got its 101, and is gone. */
	void (*greeted)(void *context, struct link *l);
};

struct load_link {
	enum part part;
	bool batch, counts;
	unsigned room;
	const char *token;
	struct link *other;
};

enum { LOAD_OPENING_MAX = 64 }; /* at once, of load_open_all() */

/* Never NULL, but may be at fault (an address that is none, no such host). */
struct load *load_new(const struct load_target *target, const struct dialect *dialect,
	const struct load_events *events, void *context, unsigned links_max);
/* Says goodbye to the server (1000), so that no session waits for anybody, until it has gone, too (2 s
 * at most); frees it and nulls it. */
void load_free(struct load **load);

/* Opens one; NULL: there are links_max. */
struct link *load_open(struct load *load, const struct load_link *how);
/* Opens all of them, LOAD_OPENING_MAX at a time, until they are ready. False: at fault, or it took longer than patience. */
bool load_open_all(struct load *load, const struct load_link *how, unsigned count, int patience_ms);
/* The other of a pair, once both are there. */
void load_pair(struct link *a, struct link *b);

/* Writes what was said, waits for something to come, at most this long (-1: for ever; 0: not at all),
 * and deals with it. False: at fault. */
bool load_turn(struct load *load, int64_t wait_ns);

struct link *load_link(struct load *load, unsigned index);
unsigned load_count(const struct load *load);
unsigned load_ready_count(const struct load *load);
unsigned load_open_count(const struct load *load); /* those that are connected, or about to be */
bool load_tls(const struct load *load);
bool load_resumed(struct link *l); /* its TLS went on with a session */
/* What ended it, as a sentence or two for people; NULL: nothing has. */
const char *load_fault(const struct load *load);
void load_fail(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* When the bytes came that are dealt with: nanoseconds of the monotonic clock. Within an event. */
uint64_t load_now(const struct load *load);
uint64_t load_clock(void); /* the same, read now */
