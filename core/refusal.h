/* refusal.h: what a refusal says beside the error; all optional. */
#pragma once

#include "core/str.h"

#include <stdint.h>

struct refusal {
	const char *reason;  /* finer word than the error's own */
	const char *message; /* finer sentence; copied */
	struct str field;
	int64_t retry_after; /* seconds */
	int64_t limit;
	struct str also; /* more members of the error's data, as JSON: "a":1,"b":[] */
};
