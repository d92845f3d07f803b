#include "dataset/marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PARTS = 24 }; /* of the time that is kept: as exact is pruning */

static void forget_first(struct marks *m, size_t count)
{
	m->count -= count;
	memmove(m->list, m->list + count, m->count * sizeof(*m->list));
}

void marks_add(struct marks *m, int64_t now, int64_t seq, int64_t keep_ms)
{
	while (m->count && m->list[m->count - 1].time > now) /* the clock was set back since */
		m->count--;
	const struct mark *last = m->count ? &m->list[m->count - 1] : NULL;
	if (last && (seq <= last->seq || now - last->time < keep_ms / PARTS))
		return;
	if (m->count == MARKS_MAX)
		forget_first(m, 1);
	m->list[m->count++] = (struct mark){.time = now, .seq = seq};
}

int64_t marks_older(struct marks *m, int64_t time)
{
	size_t count = 0;
	while (count < m->count && m->list[count].time <= time)
		count++;
	if (!count)
		return 0;
	forget_first(m, count - 1);
	return m->list[0].seq;
}

void marks_write(const struct marks *m, char *ret_text, size_t size)
{
	size_t n = 0;
	ret_text[0] = 0;
	for (size_t i = 0; i < m->count && n < size; i++)
		n += (size_t)snprintf(ret_text + n, size - n, "%" PRId64 ":%" PRId64 " ",
			m->list[i].time, m->list[i].seq);
}

void marks_read(struct marks *m, const char *text)
{
	struct mark one;
	int n = 0;
	m->count = 0;
	while (m->count < MARKS_MAX &&
		sscanf(text, "%" SCNd64 ":%" SCNd64 " %n", &one.time, &one.seq, &n) == 2) {
		m->list[m->count++] = one;
		text += n;
	}
}
