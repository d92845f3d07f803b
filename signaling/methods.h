/* methods.h: what each method of this folder is given. The tables that fill these are in methods.c;
 * docs/PROTOCOL.md says what they mean. Where a room is named, it comes first: the call finds its
 * worker by it.
 *
 * Thread: a run function runs on the home of its call; see core/call.h. */
#pragma once

#include "core/call.h"
#include "signaling/room.h"

/* The largest number that every client holds exactly. */
#define INT_MAX_SAFE INT64_C(9007199254740991)

enum { NAME_MAX_BYTES = 255, KEY_MAX_BYTES = 128, TYPE_MAX_LETTERS = 32, TO_MAX_BYTES = 4096 };

struct room_params {
	struct str room;
};

struct list_params {
	struct str cursor;
	struct param_int limit;
	struct str search;
	struct param_bool mine, archived;
	/* the handler's own, while it asks the store: read and written up to these */
	int64_t after, written;
	size_t listed, rounds;
};

struct since_params {
	struct str epoch;
	struct param_int offset;
};

/* What came behind `since`, as far as the store has been asked for it (recovery.h). */
struct recovery {
	struct buf texts; /* of messages, with commas between */
	uint64_t upto;    /* the last one's offset; 0: it has not been asked */
	uint64_t top;     /* of the room, when it was asked */
	enum err err;     /* it has failed */
};

struct join_params {
	struct str room, state, since, region;
	/* the handler's own */
	struct since_params from;  /* since, when it was given */
	bool has_place;            /* among the rooms of its session */
	bool asked;                /* the backend has said yes */
	struct asking *ahead;      /* or was asked while this waited; NULL: it was not */
	char peer[PEER_CHARS + 1]; /* that it will have */
	struct recovery missed;
};

struct ice_params {
	struct str region;
};

struct state_params {
	struct str room, state;
};

struct publish_params {
	struct str room, data, idempotency_key;
	/* the handler's own */
	int64_t time; /* the message's, while its event is written */
	bool asked;   /* the backend has said yes */
};

struct presence_params {
	struct str room, cursor;
};

struct signal_params {
	struct str room, to, type, data;
};

struct signal_to {
	struct str peer, user;
};

/* Whether it is the type of a signal: 1 to 32 letters, digits, '-' and '_'. */
bool signal_is_type(struct str word);

extern const struct field signal_to_fields[], since_fields[];

/* Reads a `since`. False: it is wrong, and the call has been refused. */
bool since_read(struct call *c, struct str since, struct since_params *ret);

void room_get_run(struct call *c);
void room_list_run(struct call *c);
void room_join_run(struct call *c);
void room_leave_run(struct call *c);
void room_state_run(struct call *c);
void room_publish_run(struct call *c);
void room_presence_run(struct call *c);
void signal_send_run(struct call *c);
void ice_servers_run(struct call *c);
