/* catalog.h: which datasets there are: those of the configuration, and those that commands have added (in the store).
 * One small table for the process with a mutex, touched when a dataset is named for the first time by a request, never
 * with a change.
 *
 * Thread: any worker unless said. */
#pragma once

#include "core/worker.h"
#include "dataset/database.h"
#include "dataset/definition.h"

/* The definition and its database as they are now; both references are the caller's: definition_unref(), and
 * attached stays valid until the dataset's detaching is done on its home (the home of its name). NULL: none. */
struct attached;
struct definition *catalog_find(struct str name, struct attached **ret_attached);

/* What the configuration says: at the start, and by a reload while the workers pause. */
void catalog_configure(const struct definition *const *list, size_t count);
/* Main thread, with the workers running, before sessions come back: attaches all. */
void catalog_begin(void);
/* Main thread, in the drain: detaches all (captures stay). */
void catalog_end(void);

/* The claims that some rule names (":claim_NAME"): auth/ keeps these of every token. */
size_t catalog_claims(const struct str **ret_names);
