/* definition_check.h: a definition held against its database, before it is taken in: the file is there and can be
 * used, the table can be captured, hidden columns and depends exist, and each rule compiles. What is wrong is told by
 * sentences that say what to do.
 *
 * Thread: none that must not block: it opens the file. Nothing in it is changed. */
#pragma once

#include "dataset/capture.h"
#include "dataset/definition_text.h"

/* Ends what is under way, and what begins later at once, until it is taken back: a large table would hold up the end of the
 * service. Any thread. */
void definition_checks_stop(bool yes);

/* ERR_PARAMS with the problem. */
enum err definition_check(const struct definition *d, struct definition_problem *ret_problem);

/* capture_verify() over a connection of its own. ERR_CONFLICT: log and table differ, and why says where;
 * ERR_OVERLOADED: it cannot be looked at now, and why says why. */
enum err definition_verify(const struct definition *d, int64_t *ret_changes, int64_t *ret_rows,
	char ret_why[CAPTURE_WHY_MAX]);
