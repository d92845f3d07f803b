/* watch.h: waits until a database file may have changed, whoever writes to it. The directory's inotify says that
 * something is written; whether it is a commit, PRAGMA data_version says, on a connection that does nothing else. A
 * commit becomes visible some time after its last write (an fsync lies between), so it is looked for again, soon and
 * then ever less often. Beside that it is looked for with each poll: where inotify says nothing (a network's file system,
 * no watches left) changes come later, but come.
 *
 * Nothing is written, and no transaction is held. While a rollback journal says that a writer is about its commit the
 * file is left alone: a reader's lock could be in its way.
 *
 * Thread: its owner's; watch_wake() on any. */
#pragma once

#include "core/err.h"
#include "store/store.h"

struct watch;

enum { WATCH_WOKEN = 1, WATCH_CHANGED = 2, WATCH_REPLACED = 4 };

/* Without a file yet: it waits for wakes, and for the name to appear. NULL: no descriptors are left (logged). */
struct watch *watch_new(const char *path);
void watch_free(struct watch **w);

/* Opens the file of that name. ERR_NOT_FOUND: there is none. ERR_OVERLOADED: ret_trouble has more (or NULL). */
enum err watch_open(struct watch *w, const struct store_trouble **ret_trouble);
void watch_close(struct watch *w);
unsigned long long watch_inode(const struct watch *w); /* of the file that is open */

void watch_wake(struct watch *w);

/* Waits for at most so long, and says what may have happened (0: nothing). WATCH_REPLACED: the name stands for
 * another file, or none; without a file open: for one now. */
unsigned watch_wait(struct watch *w, unsigned timeout_ms);
