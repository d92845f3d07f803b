/* migrate.h: the schema of the SQLite file. The numbered files of schema/sql are built into the
 * program; the file remembers in PRAGMA user_version which of them it has had, and in PRAGMA
 * application_id that it is Signalbox's at all. Rules for the files: schema/README.md.
 *
 * Thread: the one that opens the store, before any other uses the file. Failures leave a sentence in
 * ret_why (STORE_WHY_MAX bytes). */
#pragma once

#include "store/store.h"

#include <sqlite3.h>

enum { MIGRATE_APPLICATION_ID = 0x53674278 }; /* "SgBx" */

/* The newest schema that this program knows. */
int migrate_newest(void);

/* Reads which schema the file has; 0: an empty file. Writes nothing, so that a file that is another
 * program's stays as it is. ERR_CONFLICT: not ours, or newer than the program. */
enum err migrate_check(sqlite3 *handle, const char *place, int *ret_version, char *ret_why);

/* Applies what is missing, each file in one transaction of its own. ERR_INTERNAL: one failed; the
 * file is as the one before it left it. */
enum err migrate_apply(sqlite3 *handle, const char *place, int version, char *ret_why);
