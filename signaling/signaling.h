/* signaling.h: rooms, who is in them, and what members send each other. Everything that this folder
 * offers to the one above: its methods, its part of each worker, its options.
 *
 * Thread: a room lives on the worker that worker_home(its name) says, and only there; its handlers
 * run there. Options are set before the workers start or while they pause, and only read otherwise. */
#pragma once

#include "core/buf.h"
#include "core/call.h"
#include "core/chapter.h"
#include "core/worker.h"
#include "core/role.h"

/* A STUN or TURN server. With a secret (coturn's static-auth-secret) every caller gets credentials
 * of their own for a while; else username and credential are told as they are, if there are any. */
struct ice_server {
	const struct str *urls;
	size_t url_count;
	struct str secret;
	struct str username, credential;
	struct str region; /* n 0: of none */
};

/* Who may make rooms: everybody with the scope rooms:create, or fewer. */
enum room_creators { CREATE_ANYONE, CREATE_MODERATORS, CREATE_ADMIN, CREATE_NOBODY };

/* What holds for rooms of some names: defaults, and the most that they may ask for (template.h). */
struct room_template {
	const struct str *names; /* globs */
	size_t name_count;
	enum room_creators create;
	bool ephemeral;          /* a join may make them, where the options let it */
	size_t history_messages; /* 0: as the options say */
	unsigned history_age_s;  /* the same */
	bool history_durable;
	size_t max_members; /* 0: as many as any room */
	bool private, lobby;
	enum role maker_role; /* of who makes an ephemeral one */
};

struct signaling_options {
	size_t members_per_room;
	size_t rooms_per_session;
	size_t roster_merge_above;   /* members: roster events of larger rooms are told together */
	const struct str *ephemeral; /* globs: rooms of these names are made by their first join */
	size_t ephemeral_count;
	const struct room_template *templates; /* the first that matches a name applies */
	size_t template_count;
	size_t state_max, data_max, metadata_max; /* bytes; at most the ceilings below */
	size_t history_messages;                  /* a room; kept in memory */
	size_t history_messages_max; /* the most that a room may ask for, without a template */
	size_t history_bytes;
	unsigned history_age_s, history_age_max_s;
	unsigned room_idle_ms; /* an empty room that is stored leaves memory after this */
	unsigned presence_grace_ms, presence_linger_ms; /* presence.h */
	bool presence_hidden;                           /* but from the scope admin */
	int64_t presence_keep_s; /* when users were there last; 0: for ever */
	const struct ice_server *ice;
	size_t ice_count;
	unsigned ice_lifetime_s;             /* of credentials made from a secret */
	unsigned rpc_in_flight;              /* what a backend may have to do at once */
	bool (*reserved)(struct str domain); /* no client serves methods of it; NULL: any */
	bool calls_busy_ring;                /* who is in a call is rung all the same */
	unsigned calls_per_minute;
	int64_t calls_history_s; /* records of calls are kept so long; 0: for ever */
};

enum { STATE_CEILING = 16384, DATA_CEILING = 65536, METADATA_CEILING = 65536 };

extern const struct signaling_options signaling_defaults;

/* What is pointed to is not copied and outlives the workers. */
void signaling_configure(const struct signaling_options *options);

/* Handing over: what this worker's rooms are, as records for the next process, and the way back. All
 * on a worker, for the rooms that live there; the form of the records is hand_over.c's.
 *
 * An orderly end: no call is on its way any more; then signaling_settle() on every worker, what that
 * posts arrives, then signaling_save(). A beginning: before anybody is let in, signaling_load() on
 * every worker with the records of all workers, one behind the other; each takes those rooms that are
 * its own now. Its members go on as they were: same peer, same place in the roster, nothing told.
 * Who is nobody any more is told to the others as lost. */

/* Tells the members what they have not been told yet. */
void signaling_settle(void);

/* Appends the records. history_max: bytes of published messages to keep in all; rooms past it forget
 * theirs, and say so (`recovered: false`). ERR_TOO_LARGE, ERR_NOMEM: a room did not fit and was left out, with a line in
 * the log; the others are there, and out can be used on. */
enum err signaling_save(struct buf *out, size_t history_max);

/* Records that are damaged or of another version are dropped whole, with a line in the log. The
 * endpoints of the addresses are registered by now, and tell every worker of their end. */
void signaling_load(struct str records, const struct chapter_lookup *lookup);

/* What else of this folder is handed over. */
extern const struct chapter signaling_chapters[];

extern const struct method moderation_methods[], ban_methods[], room_invitation_methods[],
	invitation_methods[], knock_methods[];
/* On the main thread, with the workers running, when all that was handed over is there and nobody has been
 * let in: what the process before did not hand over has ended with it. */
void signaling_begin(void);

extern const struct method signaling_methods[], room_update_methods[], room_roles_methods[];
extern const struct method history_methods[];   /* room.history, room.edit, room.redact */
extern const struct method occupancy_methods[]; /* room.occupancy, room.watch */
extern const struct worker_part signaling_part, room_watch_part;
extern const struct worker_part retention_part; /* behind it */
