/* presence_watch.h: which sessions of this worker watch whom, and what they are told: presence.changed, of
 * many users at once. A session is told at once, and then not again for WATCH_PAUSE_MS, or longer when
 * there was much: WATCH_BYTES_PER_S at most, however many of those it watches come and go. Of each user it
 * hears the newest, and nothing that it knows.
 *
 * A worker follows a user (presence.h) while one of its sessions watches.
 *
 * Thread: the session's worker. Limits: WATCHED_MAX users a session. */
#pragma once

#include "core/addr.h"
#include "core/principal.h"
#include "core/worker.h"

struct chapter_lookup;

enum { WATCHED_MAX = 1024, WATCH_PAUSE_MS = 250, WATCH_BYTES_PER_S = 16 * 1024 };

/* The session watches these users, too, from when it has been answered. False: they would be too many, and
 * nothing has changed. The homes are to follow them: whoever calls this has them asked. */
bool watch_add(
	struct addr session, const struct principal *who, const struct str *users, size_t count);
/* It has been told how they are, by watch_text(). */
void watch_answered(struct addr session, const struct str *users, size_t count);
void watch_remove(struct addr session, const struct str *users, size_t count);
void watch_remove_all(struct addr session);

/* How the user is, says the home. */
void watch_heard(struct str user, struct str text);
/* What it said last of one who is watched here; n 0: of nobody, or nothing yet. */
struct str watch_text(struct str user);

void watch_granted(struct addr session, const struct principal *who);
void watch_turn(struct worker *w);
void watch_start(struct worker *w);
void watch_stop(void);

/* As records, from one process to the next; see signaling.h. */
void watch_save(struct buf *out);
void watch_load(struct record_reader *one, const struct chapter_lookup *lookup);
