/* audit.h: the record of what happened to accounts, clients, grants and tokens, and who did it: a line
 * of the log (event "audit") and a row of the table audit, which is only ever added to. Never a secret:
 * no token, code, ticket or password, and not what somebody typed where a password could stand.
 *
 * Thread: any worker. Nobody waits for it: the row goes into the store behind what the same worker has
 * asked before. When the store cannot take it that is logged, and the line of the log has it still.
 * Limit: of refusals, which anybody can cause, a worker keeps 20 a second and 500 at once; past it the
 * log has them, and the metric signalbox_audit_dropped_total. What was done is always kept. */
#pragma once

#include "core/call.h"
#include "core/worker.h"

struct audit_entry {
	const char *action;  /* "sign-in": one of the words in docs/SECURITY.md */
	const char *outcome; /* NULL: "ok"; else the reason of the refusal */
	struct str actor;    /* who did it; n 0: not known. AUDIT_OPERATOR: the command line */
	struct str user;     /* to whom; n 0: nobody in particular */
	struct str client;   /* client_id; may be empty */
	struct str address;  /* of the client; may be empty */
	struct str detail;   /* what else matters; may be empty */
};

#define AUDIT_OPERATOR "operator"

/* audit_add(.action = "sign-in", .actor = user, .user = user, .address = peer) */
#define audit_add(...) audit_write(&(struct audit_entry){__VA_ARGS__})
void audit_write(const struct audit_entry *e);

/* How long entries are kept, in seconds; 0: for ever. While no worker runs, or all are paused. */
void audit_configure(int64_t keep);

/* audit.list */
extern const struct method audit_methods[];

/* Takes off what is too old: a slice at a time, so that nobody waits for it. */
extern const struct worker_part audit_part;
