/* write.h: what clients write into a dataset's table. All ops of a dataset.write are one transaction of the thread that
 * writes to the file: each is judged by the dataset's rules on the row as it was and as it stands behind the op, in that
 * transaction, so that nothing can come between. A row that the caller may not see is as one that is not there.
 *
 * Thread: write_run() is work on a connection, for whichever thread has it; the method is the home's of the dataset. */
#pragma once

#include "core/buf.h"
#include "core/call.h"
#include "dataset/layout.h"
#include "dataset/shape.h"

#include <sqlite3.h>

enum {
	WRITE_OPS_MAX = 1000,
	WRITE_BYTES_MAX = 120 * 1024, /* of all ops, as JSON: a message has 128 KiB */
	WRITE_MUTATION_MAX = 128,
	WRITE_LIMIT_MS =
		2000, /* a write that takes longer is taken back: others wait for the file */
	WRITE_LOOK_MAX = 100000, /* rows of the log that the conditions of one write look at */
	WRITE_ANSWER_MAX =
		128 * 1024, /* behind so many bytes of answer, results have no key and no row */
	WRITE_CONFLICTS_MAX = 200 * 1024, /* of one refusal, as JSON */
	WRITE_KEPT_MS = 24 * 3600 * 1000,
};

/* What the caller may do with the rows, and which columns there are for them. */
struct write_rights {
	const struct ruling *rulings[RULES]; /* NULL: nobody */
	bool visible[LAYOUT_COLUMNS_MAX];
};

struct write_wish {
	struct str dataset, user, mutation;
	struct str ops; /* JSON, a checked array, which is changed while it is read */
	bool atomic;
	int64_t now_ms;    /* since 1970 */
	unsigned limit_ms; /* how long it may take */
};

/* The result as JSON or, with an error, why not; its texts lie in here. */
struct written {
	enum err err;
	struct wish_problem problem;
	struct buf also; /* of the problem */
	struct buf result;
	unsigned done, conflicts; /* ops that were done; those that a condition has refused */
};

/* The connection has no transaction open, and none when this returns. Nothing of a refused write stays. Free the outcome
 * with written_free(). */
void write_run(sqlite3 *db, const struct layout *l, const struct write_rights *rights,
	const struct write_wish *wish, struct written *ret);
void written_free(struct written *w);

extern const struct method write_methods[]; /* dataset.write */
