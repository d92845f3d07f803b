/* people.h: who is here, by user: the sessions of each, wherever they live. A user's home (worker_home
 * of the user's string) keeps the list, and who of this folder follows a user does it there.
 *
 * A person is there while the user has a session, or somebody holds it. A session is in the list from
 * when it was opened until it has ended, also while it has no connection.
 *
 * Thread: told from any worker; the list is the home's alone. Limits: those of sessions
 * (service/quota.h), and of whoever holds. */
#pragma once

#include "core/addr.h"
#include "core/buf.h"
#include "core/worker.h"
#include "signaling/presence.h"
#include "signaling/signaling.h"

struct person_session {
	struct person *person;
	struct addr addr;
	char addr_key[ADDR_KEY_BYTES];          /* the address as a key of maps */
	bool connected;                         /* just now */
	struct person_session *next, *previous; /* of the person; the newest first */
	struct presence_said said;              /* presence.c's */
};

struct person {
	struct str user;
	struct person_session *first;
	size_t count;     /* sessions */
	size_t connected; /* those of them with a connection */
	unsigned holds;
	struct presence presence; /* presence.c's */
};

/* ---- on the session's worker; the user's home tells of its connection and end by itself ---- */

/* It has been opened, and its client has been told so. */
void people_opened(struct endpoint *session, struct str user);
/* It is from before this process: nobody is told. It counts as connected until it is told otherwise,
 * as rooms do: its client was told to come back. */
void people_kept(struct endpoint *session, struct str user);

/* ---- on any worker ---- */

/* Has this run for each session of the user, on the session's worker. */
typedef void people_end_at(struct addr session, uint16_t code, const char *reason);
void people_end(struct str user, people_end_at *end_at, uint16_t code, const char *reason);

/* ---- on the user's home ---- */

/* NULL: no session, and nobody holds. */
struct person *person_find(struct str user);
/* NULL: of nobody whose home is here. */
struct person_session *person_session_find(struct addr session);

/* It stays until it is released, also without a session. */
struct person *person_hold(struct str user);
void person_release(struct person *p);

/* Sends an event to all sessions of the user but one ({0}: to all); takes the reference. To those
 * without a connection it comes when they have one again. */
void person_send(const struct person *p, struct addr but, struct frame *f);

/* Walks all persons: for (size_t i = 0; (p = people_next(&i));). No session begins or ends meanwhile. */
struct person *people_next(size_t *i);

/* Who follows everybody: a row of the table in people.c. Any function may be NULL. They are told in the
 * inbox's turn, or when a session is opened on this worker, never within a call of the listener's own. */
struct people_listener {
	void (*opened)(struct person_session *s);
	void (*connected)(struct person_session *s); /* s->connected has changed */
	/* It is out of the list, and is freed afterwards; so is the person, unless it has another session
	 * or is held by then. */
	void (*ended)(struct person_session *s, bool clean);
};

/* ---- from one process to the next; see signaling.h ---- */

void people_save(struct buf *out);
void people_load(struct record_reader *one, const struct chapter_lookup *lookup);

extern const struct worker_part people_part;
