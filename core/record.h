/* record.h: values written one behind the other and read back in the same order: what one process
 * leaves for the next (service/hand_over.h). Bytes come back as they went in. A reader trusts
 * nothing: past a value that is cut off or out of its range all that it reads is 0 or empty, and
 * `bad` says so; check it once, before anything of what was read is used.
 *
 * Form: a number is an LEB128 of up to 64 bits (DWARF 5, section 7.6); bytes are their count and
 * then themselves. Any thread; reading allocates nothing. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

void record_put_int(struct buf *b, uint64_t n);
void record_put_str(struct buf *b, struct str s);

struct record_reader {
	const char *p, *end;
	bool bad;
};

struct record_reader record_of(struct str bytes);
bool record_more(const struct record_reader *r);            /* something is left, and nothing bad */
uint64_t record_int(struct record_reader *r, uint64_t max); /* larger than max: bad */
struct str record_str(struct record_reader *r, size_t max_bytes); /* lies in what is read */
/* The text of a record_str() for a field of size bytes, NUL-terminated; one that is too long or holds
 * a NUL is bad. */
void record_text(struct record_reader *r, char *ret_text, size_t size);
