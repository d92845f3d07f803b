/* fault.h: a driver that passes everything to another one, but makes what its plan says fail or take
 * long, so that tests can make each error of the store happen, in the real program too.
 *
 * A plan is a list of TARGET:NTH:WHAT with commas between them:
 *
 *   TARGET  a verb's name as in store/verbs.def, or "any" of them, or "begin" or "commit" of a group
 *           of writes
 *   NTH     which time it happens, counted for each entry from 1; or "*": every time
 *   WHAT    an error: internal, conflict, not_found, too_large, overloaded (a begin or commit that
 *           fails is overloaded for all of its group, whatever the word)
 *           "commit": the commit of the group that the operation is in fails
 *           "delay=MS": it waits first, and with it the thread of the store, as on a slow disk
 *
 * as in SIGNALBOX_STORE_FAULT="commit:3:internal,USER_ADD:*:delay=200".
 *
 * Thread: made by the main thread before store_open(); then the store's threads. There is one plan in
 * a process; the driver is good until the next is made. */
#pragma once

#include "store/store.h"

/* The driver that does so, or NULL with a sentence in ret_why (STORE_WHY_MAX bytes) when the plan has
 * a word that is not known. */
const struct store_driver *store_fault(
	const struct store_driver *inner, const char *plan, char *ret_why);

/* The same with the plan in the environment's SIGNALBOX_STORE_FAULT; without one: inner itself. */
const struct store_driver *store_fault_from_environment(
	const struct store_driver *inner, char *ret_why);

/* How often what this entry of the plan (from 0) is about has happened. Any thread. */
unsigned store_fault_seen(size_t entry);
