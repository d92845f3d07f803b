/* ops.h: the ops of one change of one shape, as JSON, cut into parts that are small enough for messages.
 *
 * Thread: its owner's. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum { OP_BYTES_MAX = 512 * 1024 };

struct ops {
	size_t count; /* ops */
	size_t bytes;
	size_t part_count;
	struct buf *parts; /* {…},{…} of each */
};

/* op: I, U (with a row), D, X (row n 0). */
void ops_add(struct ops *o, int64_t seq, int64_t txn, char op, struct str key, struct str row);
struct str ops_part(const struct ops *o, size_t i);
void ops_free(struct ops *o);
