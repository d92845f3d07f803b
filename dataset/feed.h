/* feed.h: who reads which dataset, and is told what. On the home of each dataset (the worker of its name): its shapes
 * with their readers, how far each reader is, what it may be sent. A reader is in step with its shape's live feed, or
 * takes steps (steps.h) until it is.
 *
 * Thread: the home's. */
#pragma once

#include "core/call.h"
#include "core/worker.h"

extern const struct method feed_methods[]; /* dataset.subscribe, dataset.unsubscribe, dataset.ack */
extern const struct worker_part feed_part;

void feed_tidings(struct post *tidings); /* for database_attach() */
void feed_dropped(struct str dataset);   /* its readers are reset; on the home */
