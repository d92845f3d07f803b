#include "dataset/ops.h"

#include "core/mem.h"
#include "dataset/steps.h"

#include <inttypes.h>

enum { FRAME_BYTES = 128 }; /* of an op beside its key and row, at most */

static struct buf *room_for(struct ops *o, size_t bytes)
{
	struct buf *last = o->part_count ? &o->parts[o->part_count - 1] : NULL;
	if (last && last->n + bytes <= STEP_PART_BYTES) {
		buf_addc(last, ',');
		return last;
	}
	o->parts = mem_resize(o->parts, o->part_count + 1, sizeof(*o->parts));
	last = &o->parts[o->part_count++];
	*last = BUF_INIT(OP_BYTES_MAX);
	return last;
}

void ops_add(struct ops *o, int64_t seq, int64_t txn, char op, struct str key, struct str row)
{
	struct buf *part = room_for(o, key.n + row.n + FRAME_BYTES);
	size_t before = part->n;
	buf_addf(part, "{\"seq\":\"%" PRId64 "\",\"txn\":", seq);
	if (txn)
		buf_addf(part, "\"%" PRId64 "\"", txn);
	else
		buf_adds(part, STR("null"));
	buf_addf(part, ",\"op\":\"%c\",\"key\":", op);
	buf_adds(part, key);
	if (row.n) {
		buf_adds(part, STR(",\"row\":"));
		buf_adds(part, row);
	}
	buf_addc(part, '}');
	o->count++;
	o->bytes += part->n - before;
}

struct str ops_part(const struct ops *o, size_t i)
{
	return buf_str(&o->parts[i]);
}

void ops_free(struct ops *o)
{
	for (size_t i = 0; i < o->part_count; i++)
		buf_free(&o->parts[i]);
	free(o->parts);
	*o = (struct ops){0};
}
