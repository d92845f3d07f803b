/* trouble.h: which troubles of a store there are, and what errors of SQLite and of the system mean.
 * Each keeps the whole store from working and is told to people; the mistakes of single operations
 * are none. (store_trouble_errno() is declared in store/store.h.)
 *
 * Thread: any; the rows are constant. */
#pragma once

#include "store/store.h"

#include <sqlite3.h>

/* What the last error of this connection is about. NULL: no trouble of the store's. */
const struct store_trouble *trouble_of(sqlite3 *handle);

/* Appends what to do about it to a sentence of at most STORE_WHY_MAX bytes. NULL: nothing. */
void trouble_advise(char *why, const struct store_trouble *trouble);
