/* feed.h: who reads which dataset, and is told what. On the home of each dataset (the worker of its name): its shapes
 * with their readers, how far each reader is, what it may be sent. A reader is in step with its shape's live feed, or
 * takes steps (steps.h) until it is.
 *
 * Thread: the home's, but for feed_configure(): before the workers start or while they pause. */
#pragma once

#include "core/call.h"
#include "core/chapter.h"
#include "core/worker.h"

struct feed_options {
	size_t subscriptions; /* of a session */
	/* what a session may have on its way, at its connection and to be sent again: what datasets send
	 * stays well within */
	size_t kept_messages, kept_bytes;
};
void feed_configure(const struct feed_options *o);

extern const struct method feed_methods[]; /* dataset.subscribe, dataset.unsubscribe, dataset.ack */
extern const struct worker_part feed_part; /* below the sessions' */
extern const struct chapter dataset_chapters[];

void feed_tidings(struct post *tidings); /* for database_attach() */
void feed_dropped(struct str dataset);   /* its readers are reset; on the home */
/* The process ends: its database is let go, and its readers stay as they are for the next one. */
void feed_let_go(struct str dataset);
