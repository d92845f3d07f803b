#include "core/frame.h"

#include "core/mem.h"

enum { PREFIX = sizeof(struct frame) + FRAME_HEADROOM };

struct buf frame_buf(void)
{
	static const char zeros[PREFIX];
	struct buf b = BUF_INIT(PREFIX + FRAME_MAX_BYTES);
	buf_add(&b, zeros, PREFIX);
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

struct frame *frame_ref(struct frame *f)
{
	f->refs++;
	return f;
}

void frame_unref(struct frame **f)
{
	if (*f && --(*f)->refs == 0)
		free(*f);
	*f = NULL;
}
