/* past.h: what the log of a dataset's table has, change by change, for administrators and backends (dataset.changes,
 * `signalbox dataset tail`).
 *
 * Thread: the home's of the dataset. */
#pragma once

#include "core/call.h"
#include "core/worker.h"

extern const struct method past_methods[];
extern const struct worker_part past_part;

/* Something has come of this dataset: those who wait for a change look again. */
void past_moved(struct str dataset);
