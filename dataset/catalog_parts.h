/* catalog_parts.h: what the files catalog*.c share, and nobody else includes. */
#pragma once

#include "dataset/catalog.h"

/* A name that is being added: nobody else adds it meanwhile. ERR_CONFLICT: there is one; ERR_FULL. At its home. */
enum err catalog_reserve(struct str name);
/* It is what the store has from now on, and is attached; NULL: it is not to be added after all, or dropped. The
 * reference is taken. At its home. */
void catalog_put(struct str name, struct definition **d);

/* Whether rules of this definition would name more claims than can be kept. */
bool catalog_too_many_claims(const struct definition *d);

/* Which of the two a name is: of the configuration, and (or) of the store. False: neither. */
bool catalog_kinds(struct str name, bool *ret_configured, bool *ret_stored);

/* A process that is the service for one command attaches nothing until somebody asks for datasets. */
bool catalog_awake(void);
void catalog_wake(void);

/* Whether the dataset (n 0: each) is live, in trouble or gone, and not on its way to another state. */
bool catalog_settled(struct str name);
/* For who has changed that. */
void catalog_look_at_waits(void);

/* Runs then() when the dataset (n 0: each) is settled, or after some seconds; there and then where it is. On the home of the
 * name. */
void catalog_when_settled(struct call *c, struct str name, void (*then)(struct call *c));

/* Holds what is attached on this worker against what is wanted: now, or in a moment. */
void catalog_settle_here(struct worker *w, void *unused);
void catalog_settle_later(void);

/* Threads for what opens files. NULL: not now. */
struct pool *catalog_pool(void);
