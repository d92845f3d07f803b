/* catalog.h: which datasets there are: those of the configuration, and those that commands have added (in the store);
 * where both have a name, the configuration's. One small table for the process with a mutex, touched when a request names
 * a dataset, never with a change.
 *
 * What a dataset is changes on its home alone, the worker of its name: what is wanted is noted, and there it is held
 * against what is attached; the one is detached, and when that is done the other attached. What captures a table is
 * taken out of the file as soon as no definition needs it.
 *
 * Thread: any worker unless said. Limit: DATASETS_MAX. */
#pragma once

#include "core/call.h"
#include "core/worker.h"
#include "dataset/database.h"
#include "dataset/definition.h"

enum { DATASETS_MAX = 512 };

/* The definition and its database as they are now. The reference is the caller's: definition_unref(). The database is
 * there until its detaching is done at the home of the name; NULL while it is not (being attached, changed, dropped).
 * NULL: there is no such dataset. */
struct definition *catalog_find(struct str name, struct attached **ret_attached);

/* The same for a call, as its caller may know it. With any error the call has been refused: no_such_dataset,
 * dataset_unavailable. */
enum err catalog_named(struct call *c, struct str name, struct definition **ret_definition,
	struct attached **ret_attached);

/* Refuses it with dataset_unavailable. */
void catalog_unavailable(struct call *c);

/* How a dataset is, for people. */
struct listed {
	struct definition *definition;
	struct dataset_status status;
};
/* False: there is no such dataset. */
bool catalog_listed(struct str name, struct listed *ret);
/* Those behind this name, in the order of names; how many, at most max. The caller has the references. */
size_t catalog_list(struct str after, struct listed *ret_list, size_t max);

/* What the configuration says: references are taken. At the start, and by a reload while the workers pause. */
void catalog_configure(struct definition *const *list, size_t count);

/* Main thread, in this order: with the store open and before the workers; with the workers running (all: attach what there
 * is; else only when a command names one); behind the drain, waits until all are detached, captures stay; behind
 * the workers. */
enum err catalog_load(struct buf *why);
void catalog_begin(bool all);
void catalog_end(void);
void catalog_finish(void);

extern const struct method catalog_methods[]; /* dataset.list, dataset.schema */
extern const struct method
	catalog_admin_methods[]; /* dataset.add, dataset.drop, dataset.show, dataset.verify */
extern const struct worker_part catalog_part; /* below feed_part */
