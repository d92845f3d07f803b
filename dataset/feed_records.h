/* feed_records.h: who reads which dataset, from one process to the next: what they asked for, where they stand, what they
 * may be sent. They go on from there; their sessions are away until their clients come back. Thread: each worker, for
 * the datasets whose home it is. */
#pragma once

#include "core/chapter.h"

struct feed;
void feed_records_save(const struct feed *f, struct buf *out);
void feed_records_load(struct record_reader *one, const struct chapter_lookup *lookup);
