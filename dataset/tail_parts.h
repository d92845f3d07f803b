/* tail_parts.h: what the files of the watching thread share: tail.c (its loop, the file, the looks), joining.c (who has
 * joined) and telling.c (what is told home). Thread: that one, but for tail_leave() and tail_received(). */
#pragma once

#include "dataset/attached.h"
#include "dataset/marks.h"

enum { FLIGHT_MAX = 8 << 20 }; /* bytes of tidings that are under way */

struct tail {
	struct database *db;
	struct attached *first;
	struct reading *reading; /* NULL: closed */
	struct live *live;
	struct map joined; /* by the shapes' ids */
	struct post *joins, **last_join;
	/* where the log stood at the last look, in this file or one of its name: */
	bool known, seen, unlearned; /* seen: since it was opened */
	struct known_head head;
	int64_t floor, cookie;
	struct marks marks;
	struct history history; /* as at some moment before that */
	/* what is to be done, and when: */
	bool look, mend, new_epoch, ensure, ensuring;
	int64_t ensure_at, ensure_wait, open_at, open_wait, chores_at;
	int64_t busy_since; /* 0: nobody is in the way */
};

/* ---- joining.c ---- */

struct attached *joined_to(
	const struct tail *t, const struct shape *shape); /* NULL: nobody has joined it */
void join_some(struct tail *t, const struct head *head);  /* in the transaction of a look */
void refuse_joins(struct tail *t);
void end_life(struct tail *t, struct attached *a); /* what was joined ends */

/* ---- telling.c ---- */

void told(void *tail, const struct shape *shape, const struct str *parts, size_t part_count,
	const struct window *have);
void tell_steps(struct tail *t, int64_t at); /* what has been told, and silent moves */
void tell_leap(struct tail *t, int64_t at);
void announce(struct tail *t, struct attached *a, const struct head *head); /* that it is live */
void dataset_fails(struct tail *t, struct attached *a, const char *what, const char *remedy);
