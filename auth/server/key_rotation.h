/* key_rotation.h: the first signing key that takes long to make, a second after the doors have opened or when somebody waits
 * for it (key_wait.h), and one signing key after the other: on a schedule, and when told to (key.rotate, key.list,
 * key.remove of issuer_methods[]). Keys are made on a thread of low priority; what changes is decided
 * on worker 0, one step at a time, and each step is in the store before it is in use: a process that dies
 * anywhere in it, or hands over, leaves a state that the next one goes on from.
 *
 * Thread: as keys.h says. */
#pragma once

#include "auth/jwk.h"
#include "core/call.h"
#include "core/worker.h"

/* Behind keys_start(), before the workers. */
void rotation_start(int64_t seconds, void (*changed)(struct jwk_set *keys));
/* Waits for a key that is being made; no other will be. May be called twice. */
void rotation_drain(void);

/* On any worker: somebody waits for a key that is not there yet. */
void rotation_wanted(void);

struct key_rotate {
	struct param_bool now;
};
struct key_remove {
	struct str kid;
};
void key_list_run(struct call *c);
void key_rotate_run(struct call *c);
void key_remove_run(struct call *c);

extern const struct worker_part keys_part;
void keys_begin(struct worker *w); /* as server.h says */
