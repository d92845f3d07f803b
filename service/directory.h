/* directory.h: which sessions a user has, wherever they live. Each user has a home worker
 * (worker_home of the user's string) that keeps the list.
 *
 * Thread: any worker; what is asked is posted to the user's home and from there to the sessions'. */
#pragma once

#include "core/addr.h"
#include "core/worker.h"

void directory_add(struct str user, struct addr session);
void directory_remove(struct str user, struct addr session);

/* Ends all sessions of the user with this close code. */
void directory_end(struct str user, uint16_t code, const char *reason);

extern const struct worker_part directory_part;

/* What a session does when it is told to end (service/session.c), on its worker. */
void session_end_at(struct addr session, uint16_t code, const char *reason);
