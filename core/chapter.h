/* chapter.h: what a folder hands over from one process to the next beside sessions and rooms, each piece by
 * its name: who does not know one passes over it. service/hand_over.h carries them.
 *
 * Saved on every worker at the end, with nothing on its way any more. Loaded on every worker when
 * sessions and rooms are there, one chapter after the other, each with the records of all workers, one
 * behind the other. What one posts to other workers has arrived when the next but one begins; when all
 * are there, everything has. */
#pragma once

#include "core/record.h"

struct addr;
struct principal;

/* Who had this address when it was saved, or false: nobody any more. Asked on every worker, at the same
 * time; the principal is referenced by who asks. */
struct chapter_lookup {
	bool (*find)(void *context, struct addr old, struct addr *ret_addr,
		const struct principal **ret_who);
	void *context;
};

struct chapter {
	const char *name; /* NULL ends the table */
	void (*save)(struct buf *out);
	/* One record. What is damaged in it is left out, and the reader says so. */
	void (*load)(struct record_reader *one, const struct chapter_lookup *lookup);
};

/* All records of a chapter; that some are damaged is told in the log. */
void chapter_load(
	const struct chapter *chapter, struct str records, const struct chapter_lookup *lookup);
