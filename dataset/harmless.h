/* harmless.h: functions that rules may call, on a connection where a row must not make a statement fail: where SQLite's
 * own would (JSON that is none, a number without a positive twin, a pattern that takes long), these give NULL. Or anybody who can write a row could
 * keep all others from reading.
 *
 * Thread: the connection's. */
#pragma once

#include <sqlite3.h>

/* On this connection until it is closed. A result code of SQLite. */
int harmless_functions(sqlite3 *db);
