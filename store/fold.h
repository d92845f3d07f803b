/* fold.h: the SQL function fold(text): the text without the difference of capital and small letters, of
 * any alphabet, for searching. NULL gives NULL. Thread: the connection's. */
#pragma once

#include <sqlite3.h>

/* Gives the connection the function. False: it could not. */
int fold_add(sqlite3 *handle);
