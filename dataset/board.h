/* board.h: the shared board of the demo: a table in a database of its own, and the dataset that it is. Its rules admit
 * everybody who is signed in, and no guests.
 *
 * Thread: main. */
#pragma once

#include "dataset/definition.h"

#define BOARD_DATASET "demo-board"

/* Makes demo.db in the directory where it is missing. NULL: it cannot be made, and the log says why. */
struct definition *board_definition(const char *directory);
