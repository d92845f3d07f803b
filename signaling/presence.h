/* presence.h: whether a user is there, as others see it: over all sessions of the user, and in spite of
 * connections that are lost and come back (docs/PROTOCOL.md, "People and presence").
 *
 * A session is online unless it said that it is away. Without a connection it counts as it was for
 * presence_grace_ms, then as away. One that was closed in good order counts for presence_linger_ms more, so
 * that a page that is loaded again does not flicker; it goes on in `left`.
 *
 * A user's home knows all of this, and tells it to the workers where somebody watches the user
 * (presence_watch.h): at most one change of a user each PRESENCE_PAUSE_MS, the newest.
 *
 * Thread: the user's home. */
#pragma once

#include "core/alarm.h"
#include "core/buf.h"
#include "core/call.h"

#include <stdint.h>

struct person;
struct person_session;
struct people_listener;
struct chapter_lookup;

enum {
	PRESENCE_NOTE_MAX =
		256, /* bytes of JSON: a page of users with theirs fits into one message */
	PRESENCE_PAUSE_MS = 500,
};

enum presence_status { PRESENCE_OFFLINE, PRESENCE_AWAY, PRESENCE_ONLINE };

/* What a session is to others. */
struct presence_said {
	bool away;
	struct str note;   /* JSON as it came, its own copy; n 0: none */
	uint64_t nth;      /* of all that was said on this worker; the newest note counts */
	uint64_t until_ms; /* without a connection: it counts as it was until then */
};

/* A person's own, all zero to begin with. */
struct presence {
	struct presence_said
		left;      /* the session that was closed last, until left.until_ms; 0: none */
	int64_t last_seen; /* Unix seconds; 0: not known here */
	uint64_t workers;  /* bit i: somebody on worker i watches */
	struct str told;   /* the newest that they know: all the same; its own copy */
	uint64_t may_tell_ms;
	struct alarm alarm;
	bool held; /* the person is kept for one of these reasons */
	/* presence_seen.c's */
	bool unwritten; /* the store does not have last_seen yet */
	struct person *next_unwritten;
};

/* The members of an object that says it: "user", "status", and where they apply "note" and "last_seen".
 * p NULL: nobody is there. */
void presence_write(struct buf *b, const struct person *p, struct str user, int64_t last_seen);

/* How many sessions the user has; those that have just ended do not count. */
size_t presence_devices(const struct person *p);

/* Whether the status does not depend on when the user was there last. */
bool presence_here(const struct person *p);

/* A session says how it is. */
void presence_say(struct person_session *s, bool away, struct str note);

/* What the store says of one who is not here. */
void presence_learn(struct str user, int64_t last_seen);

/* The worker is told of changes from now on; it knows how it is now. Then no longer. */
void presence_follow(struct str user, int worker);
void presence_unfollow(struct str user, int worker);

/* Lets go of the person, if there is no reason any more to keep it; it may be gone afterwards. */
void presence_settle(struct person *p);

/* As records, from one process to the next; see signaling.h. */
void presence_save(struct buf *out);
void presence_load(struct record_reader *one, const struct chapter_lookup *lookup);

extern const struct people_listener presence_listener;
extern const struct worker_part presence_part;
extern const struct method presence_methods[];
