#include "service/joined.h"

#include "core/mem.h"

#include <assert.h>

enum {
	REMEMBERED = 4,            /* lists that take turns, such as those of several rooms */
	LASTING_BYTES = 64 * 1024, /* larger scratch is given back at the end of the turn */
};

struct joined {
	struct buf array; /* with headroom in front */
	struct frame **frames;
	uint32_t count, room;
};

static _Thread_local struct joined all[REMEMBERED];
static _Thread_local unsigned latest, used; /* used: so many hold frames */

static bool is_of(const struct joined *j, struct outbound *q, uint32_t n)
{
	if (j->count != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (j->frames[i] != outbound_at(q, i)->frame)
			return false;
	return true;
}

/* That of the one before is the likeliest. */
static struct joined *find(struct outbound *q, uint32_t n)
{
	for (unsigned i = 0; i < used; i++) {
		unsigned at = (latest + i) % used;
		if (is_of(&all[at], q, n)) {
			latest = at;
			return &all[at];
		}
	}
	return NULL;
}

static void forget(struct joined *j)
{
	for (uint32_t i = 0; i < j->count; i++)
		frame_unref(&j->frames[i]);
	j->count = 0;
}

static void make(struct joined *j, struct outbound *q, uint32_t n)
{
	static const char headroom[FRAME_HEADROOM];
	forget(j);
	if (n > j->room) {
		j->frames = mem_resize(j->frames, n, sizeof(struct frame *));
		j->room = n;
	}
	for (uint32_t i = 0; i < n; i++)
		j->frames[i] = frame_ref(outbound_at(q, i)->frame);
	j->count = n;
	j->array.max = FRAME_HEADROOM + FRAME_MAX_BYTES + 2;
	j->array.n = 0;
	buf_add(&j->array, headroom, sizeof(headroom));
	outbound_join(q, n, &j->array);
	assert(!j->array.err);
}

struct str joined_take(struct outbound *q, uint32_t n)
{
	struct joined *j = find(q, n);
	if (j) {
		outbound_drop(q, n);
	} else {
		latest = used < REMEMBERED ? used++ : (latest + 1) % REMEMBERED;
		j = &all[latest];
		make(j, q, n);
	}
	return (struct str){j->array.p + FRAME_HEADROOM, j->array.n - FRAME_HEADROOM};
}

void joined_forget(void)
{
	for (; used; used--) {
		struct joined *j = &all[used - 1];
		forget(j);
		if (j->array.cap > LASTING_BYTES)
			buf_free(&j->array);
	}
	latest = 0;
}

void joined_thread_stop(void)
{
	joined_forget();
	for (unsigned i = 0; i < REMEMBERED; i++) {
		buf_free(&all[i].array);
		free(all[i].frames);
		all[i] = (struct joined){0};
	}
}
