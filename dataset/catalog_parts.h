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

/* Runs then() when the dataset (n 0: all that live at this worker's process) is live or in trouble or gone, or after
 * some seconds; there and then where that is so already. On the call's worker, which is the home. */
void catalog_when_settled(struct call *c, struct str name, void (*then)(struct call *c));

/* Threads for what opens files. NULL: not now. */
struct pool *catalog_pool(void);
