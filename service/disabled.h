/* disabled.h: the accounts of the embedded issuer that are disabled, on every worker. Their tokens
 * are as good as before by themselves, so whoever checks a token asks here as well.
 *
 * Thread: any worker, each with a set of its own; what is disabled later is posted to all of them.
 * Limit: an account is kept here for as long as a token of it may live, EXPIRES_MAX and a day. */
#pragma once

#include "core/buf.h"
#include "core/worker.h"

/* Before the workers start, with the store open: reads who is disabled. On failure *why holds a
 * sentence. disabled_finish() is for after the workers, also when nothing was loaded. */
enum err disabled_load(struct buf *why);
void disabled_finish(void);

bool disabled_has(struct str user);

/* On a worker: this account is disabled from now on, and its sessions end. */
void disabled_add(struct str user);

extern const struct worker_part disabled_part;
