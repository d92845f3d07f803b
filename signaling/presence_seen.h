/* presence_seen.h: when users were there last, in the store: written some seconds later, many at a time.
 * After a crash those are missing that were there, or left within that time. Guests are not written down.
 *
 * Thread: the user's home. Limits: SEEN_WAITING_MAX users wait on a worker while the store is in trouble;
 * of more it is forgotten. Kept for presence_keep_s. */
#pragma once

#include "core/worker.h"
#include "store/store.h"

struct person;

enum { SEEN_WAITING_MAX = 65536 };

/* The person's last_seen is to be written. */
void seen_note(struct person *p);

/* Asks the store when these users (a JSON array of their names) were there last: its rows are the index in
 * the array, and the Unix time. Those who are not known have none. */
void seen_ask(struct str users, void (*done)(struct store_op *op), void *context);

void seen_start(struct worker *w);
void seen_drain(struct worker *w);
void seen_stop(struct worker *w);
