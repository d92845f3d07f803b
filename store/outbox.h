/* outbox.h: what webhooks are told of. An event is written down in the transaction that makes it true,
 * and stays until each webhook that wants it has it (service/webhooks.h delivers). Events of one key (a
 * room, a user, a call) reach a webhook in the order they were written here.
 *
 * Whoever makes something true collects its events and then does one of three things with them:
 *
 *	struct hooks told = {0};
 *	if (hook_wanted(HOOK_ROOM_DELETED)) {
 *		struct json_out *o = hook_begin(&told, HOOK_ROOM_DELETED, "room", name);
 *		json_str(o, "room", name);
 *		hook_end(&told);
 *	}
 *	hook_ask(&told, STORE_ROOM_DELETE, done, context, STORE_INT(id), STORE_END);
 *
 * hook_ask() writes them with a verb of the store: both or neither. hook_keep() writes them alone, and
 * what they say has to wait for the answer (a join, say, while its room is held). hook_tell() writes
 * what has happened already and cannot be refused: when the store cannot take it, it is asked again
 * until it does, and everything that this worker wants to write behind it meanwhile is refused with
 * ERR_OVERLOADED, so that nothing overtakes it.
 *
 * While no webhook wants an event it costs a look at one number.
 *
 * Thread: any worker, for itself. Bounded: OUTBOX_BEHIND_MAX bytes wait for the store on a worker; past
 * it events are lost, with a metric and a line in the log. */
#pragma once

#include "core/json_out.h"
#include "core/worker.h"
#include "store/store.h"

/* EVENT(name, type). Those that are the same thing's beginning and end belong together. */
#define HOOK_EVENTS(EVENT) \
	EVENT(SESSION_OPENED, "session.opened") \
	EVENT(SESSION_CLOSED, "session.closed") \
	EVENT(ROOM_OCCUPIED, "room.occupied") \
	EVENT(ROOM_VACATED, "room.vacated") \
	EVENT(ROOM_JOINED, "room.joined") \
	EVENT(ROOM_LEFT, "room.left") \
	EVENT(ROOM_PUBLISHED, "room.published") \
	EVENT(ROOM_CREATED, "room.created") \
	EVENT(ROOM_UPDATED, "room.updated") \
	EVENT(ROOM_DELETED, "room.deleted") \
	EVENT(ROOM_MODERATED, "room.moderated") \
	EVENT(CALL_INVITED, "call.invited") \
	EVENT(CALL_ACCEPTED, "call.accepted") \
	EVENT(CALL_ENDED, "call.ended") \
	EVENT(CALL_MISSED, "call.missed")

/* clang-format off */
enum hook_event {
#define EVENT(name, type) HOOK_##name,
	HOOK_EVENTS(EVENT)
#undef EVENT
	HOOK_EVENT_COUNT
};
/* clang-format on */

enum {
	HOOKS_MAX = 8,              /* webhooks */
	HOOK_DATA_MAX = 192 * 1024, /* bytes of one event's data */
	OUTBOX_BEHIND_MAX = 64 << 20,
};

const char *hook_type(enum hook_event e); /* "room.joined" */

extern uint32_t hooks_wanted; /* a bit for each event; changes only while no worker runs */

static inline bool hook_wanted(enum hook_event e)
{
	return hooks_wanted >> e & 1;
}

/* Events that become true together, in this order; all zeros to begin with. */
struct hooks {
	struct store_op *first, *last;
	/* of the one that is being written */
	enum hook_event event;
	bool live;
	struct buf id, key, data;
	struct json_out out;
	unsigned webhooks; /* that want one of them */
	unsigned rows;     /* for them together */
};

/* One event more, if somebody wants it: write the members of its data, then hook_end(). The key is of a
 * kind ("room", "user", "call") and a name. Data that grows past HOOK_DATA_MAX is told as
 * {"too_large": true}. */
struct json_out *hook_begin(
	struct hooks *h, enum hook_event e, const char *key_kind, struct str key_name);
void hook_end(struct hooks *h);

/* The event before this has an "offset" of 0 in front of all that a client has said: when it is written
 * there stands the newest offset of this history of the store, which the same transaction has given. */
void hook_number(struct hooks *h, int64_t history);

/* The event that says that something has ended which now begins, in case the process dies before it has
 * said so itself: data as above, hook_end(). The id is that thing's. */
struct json_out *hook_live(struct hooks *h, struct str id, enum hook_event e, const char *key_kind,
	struct str key_name);
/* That has ended. */
void hook_over(struct hooks *h, struct str id);

/* With a verb; as store_ask() when there are no events. All three take what is in h and leave it empty. */
#define hook_ask(h, verb, done, context, ...) \
	hook_submit(h, verb, done, context, (const struct store_value[]){__VA_ARGS__})
void hook_submit(struct hooks *h, enum store_verb verb, void (*done)(struct store_op *),
	void *context, const struct store_value *args);

/* Alone. There is at least one. */
void hook_keep(struct hooks *h, void (*done)(struct store_op *), void *context);

/* Has happened. None is no fault. */
void hook_tell(struct hooks *h);

/* ---- for service/webhooks.h ---- */

struct hook_receiver {
	struct str name;
	uint32_t events; /* a bit for each */
};

/* Who wants what; copied. Before the workers start, or while they pause. */
void outbox_configure(const struct hook_receiver *list, size_t count);

/* Called on a worker when something has been written for these (a bit for each of the list). Before the
 * workers start. */
void outbox_on_kept(void (*kept)(unsigned webhooks));

/* The names of those that want an event, as a JSON array. */
struct str outbox_receivers(enum hook_event e);

/* On the main thread, before anybody is let in: what lived in a process before and is not among what
 * live() writes on each worker (ids, as elements of an array) is told as ended. */
void outbox_begin(void (*live)(struct json_out *o));

extern const struct worker_part outbox_part;
