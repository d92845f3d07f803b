/* session_admin.h: who administers sees the sessions of all workers, and puts them out: session.list and
 * session.end. A session's id is a secret of its client: here, and in the log, it has a handle instead
 * (service/session.h), which resumes nothing.
 *
 * Thread: the caller's worker; what it asks goes from worker to worker. Limits: PAGE_ROWS_MAX sessions a page. */
#pragma once

#include "core/call.h"

extern const struct method session_admin_methods[];
