/* marks.h: when a log stood where: a few moments of the time that it is kept, so that what is too old can be told from
 * what is not. Older than the first mark is nothing, as far as anybody knows.
 *
 * Thread: its owner's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { MARKS_MAX = 28 };

struct marks {
	size_t count;
	struct mark {
		int64_t time, seq; /* at that time, in ms since 1970, this was the last change */
	} list[MARKS_MAX];
};

/* Where it stands now. Kept only now and then, as often as keep_ms asks for. */
void marks_add(struct marks *m, int64_t now, int64_t seq, int64_t keep_ms);
/* All changes up to this one were made before that time; 0: none is known to be so. Marks before it are forgotten. */
int64_t marks_older(struct marks *m, int64_t time);
/* As text, and from it; what cannot be read is no mark. */
void marks_write(const struct marks *m, char *ret_text, size_t size);
void marks_read(struct marks *m, const char *text);
