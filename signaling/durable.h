/* durable.h: rooms whose history is kept in the store. What is published there is answered and told once
 * it is on the disk, with the offset that it got there: many can be under way at once, and keep their
 * order. The ring in memory only holds the newest. What the store refuses has not happened: nobody is
 * told, and the next one gets its offset.
 *
 * Thread: the room's own worker. */
#pragma once

#include "signaling/message.h"
#include "signaling/rooms.h"
#include "store/store.h"

enum { DURABLE_KEYS_MS = 24 * 3600 * 1000 }; /* how long an idempotency key holds there */

/* Makes the room what its rules say: one of these, or one that is in memory only. False: that takes a
 * moment, and the call will come to visit once more. */
bool durable_ready(struct place *p, struct call *c, place_visit *visit);

/* A message while the store has it; until then its place stays. */
struct under_way {
	struct call *call;
	struct place *place;
	int64_t history;
	struct message message; /* without its offset; points into the call */
	char peer[PEER_CHARS];
};

/* Begins one by this caller, with this data of the call's. */
struct under_way *durable_begin(struct place *p, struct call *c, struct str data);

/* Asks the store, with a verb that adds the message: history, user, peer, data, time and what else is
 * given (ends with STORE_END). What webhooks are told of it is written with it. */
#define durable_ask(u, verb, done, ...) \
	durable_submit(u, verb, done, \
		(const struct store_value[]){STORE_INT((u)->history), \
			STORE_TEXT((u)->message.user), \
			(u)->message.peer.n ? STORE_TEXT((u)->message.peer) : STORE_NULL, \
			(u)->message.data.n ? STORE_BLOB((u)->message.data) : STORE_NULL, \
			STORE_INT((u)->message.time), __VA_ARGS__})
void durable_submit(struct under_way *u, enum store_verb verb, void (*done)(struct store_op *op),
	const struct store_value *args);

/* The room that it is for; NULL: that is gone. */
struct room *durable_room(const struct under_way *u);

/* The store has kept it with the offset in the first cell: tells the room and answers the call. Or it
 * has not, and the call is refused. */
void durable_done(struct under_way *u, const struct store_op *op);

/* Last of all, when the call has its answer. */
void durable_end(struct under_way **u);

/* A row of STORE_MESSAGES_AFTER or STORE_MESSAGES_BEFORE; points into the answer. */
struct message durable_row(const struct store_op *op, size_t row);
