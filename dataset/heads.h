/* heads.h: where the captures of files stood when they were last seen, kept outside of these files: so a file that
 * was put back from a copy is known by its head, which has gone back, by its inode, or by its last changes (history.h).
 *
 * In memory behind a lock; the store has it some seconds later, and at the end. After a crash it stands a little
 * before the truth, never behind it. Where the whole machine went down, a file may have lost changes that readers have
 * seen (synchronous = NORMAL): no epoch is known of it then, so that another one begins.
 *
 * Thread: any, unless said; nothing here waits. Limit: HEADS_MAX files. */
#pragma once

#include "core/buf.h"
#include "core/worker.h"
#include "dataset/history.h"
#include "dataset/reading.h"

enum { HEADS_MAX = 1024, HEAD_MARKS_BYTES = 1024 };

struct known_head {
	char epoch[EPOCH_BYTES + 1];
	int64_t seq, inode;
	char marks
		[HEAD_MARKS_BYTES]; /* when it was where: the database's own text, for pruning by age */
	char history[HISTORY_TEXT_BYTES];
};

/* path: the file's real one. */
bool heads_known(struct str path, struct known_head *ret_head);
void heads_learn(struct str path, const struct known_head *head);
void heads_forget(struct str path); /* nothing of ours is in the file any more */

/* Walks the paths: for (size_t i = 0; (path = heads_next(&i));). The caller frees each. Files that come or go
 * meanwhile are met once or not at all. */
char *heads_next(size_t *i);

/* Main thread. Before the workers start, with the store open. */
enum err heads_load(struct buf *why);
void heads_save(void);   /* with all files detached, before the store closes */
void heads_finish(void); /* behind the workers */

extern const struct worker_part heads_part;
