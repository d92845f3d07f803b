/* layout.h: how a captured table (or a view) looks: its columns as SQLite has them, and which are its key.
 * Read from the database by capture.h; immutable, counted references, any thread. */
#pragma once

#include "core/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAYOUT_COLUMNS_MAX = 256, KEY_COLUMNS_MAX = 16 };

struct column {
	struct str name;
	struct str type;      /* as declared; may be empty */
	struct str collation; /* BINARY, NOCASE, … */
	int key;              /* its place in the key, from 1; 0: none */
	bool required;        /* NOT NULL and nothing else gives a value */
	bool generated;       /* nobody can write it */
};

struct layout {
	struct str table;
	int64_t id; /* N of _sb_cN, in this database; 0: a view */
	int64_t version; /* the schema_version that clients are told: raised with each change of the columns */
	bool view, without_rowid;
	bool key_is_rowid; /* one INTEGER PRIMARY KEY, which the table makes where it is left out */
	bool null_keys; /* SQLite lets NULL into the key: rows with one are no part of the dataset */
	size_t count, key_count;
	struct column *columns;
	size_t *key; /* places in columns, in the order of the key */
};

struct layout *layout_new(
	const struct layout *from); /* a copy of everything in it, with one reference */
struct layout *layout_ref(const struct layout *l);
void layout_unref(struct layout **l);
/* The column of this name (compared as SQLite does: ASCII letters in any case), or SIZE_MAX. */
size_t layout_find(const struct layout *l, struct str name);
