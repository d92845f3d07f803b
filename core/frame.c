#include "core/frame.h"

#include "core/mem.h"

enum {
	PREFIX = sizeof(struct frame) + FRAME_HEADROOM,
	/* Most messages fit. Not a size of what lasts (a session has 512): a page of both, which is what the
	 * allocator makes of one size, would stay when the messages have gone. */
	FIRST_BYTES = 640,
};

struct buf frame_buf(void)
{
	struct buf b = BUF_INIT(PREFIX + FRAME_MAX_BYTES);
	b.p = mem_resize(NULL, FIRST_BYTES, 1);
	b.cap = FIRST_BYTES;
	memset(b.p, 0, PREFIX + 1);
	b.n = PREFIX;
	return b;
}

struct str frame_buf_str(const struct buf *b)
{
	return b->n < PREFIX ? STR("") : (struct str){b->p + PREFIX, b->n - PREFIX};
}

struct frame *frame_take(struct buf *b)
{
	size_t size = b->n - PREFIX;
	struct frame *f = (struct frame *)(void *)buf_take(b);
	if (f) {
		f->refs = 1;
		f->size = (uint32_t)size;
	}
	return f;
}

struct frame *frame_copy(const struct frame *f)
{
	struct frame *copy = mem_alloc(PREFIX + f->size + 1);
	copy->refs = 1;
	copy->size = f->size;
	memcpy(copy->bytes + FRAME_HEADROOM, f->bytes + FRAME_HEADROOM, f->size);
	return copy;
}

void frame_free(struct frame *f)
{
	free(f);
}
