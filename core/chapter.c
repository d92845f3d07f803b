#include "core/chapter.h"

#include "core/log.h"
#include "core/worker.h"

void chapter_load(
	const struct chapter *chapter, struct str records, const struct chapter_lookup *lookup)
{
	struct record_reader all = record_of(records);
	bool bad = false;
	while (record_more(&all)) {
		struct record_reader one = record_of(record_str(&all, SIZE_MAX));
		chapter->load(&one, lookup);
		bad |= one.bad;
	}
	if ((bad || all.bad) && worker_self()->index == 0)
		log_error(
			"some of what was handed over is damaged", LOG_TEXT("part", chapter->name));
}
