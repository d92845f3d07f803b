/* embedded.h: the files built into the program (cmake/embed.cmake makes the table).
 * Read-only, any thread. */
#pragma once

#include "core/str.h"

struct embedded_file {
	const char *path; /* as in the source tree: "web/demo/index.html" */
	const char *begin, *end;
};

extern const struct embedded_file embedded_files[]; /* sorted by path; ends with a NULL path */

static inline struct str embedded_bytes(const struct embedded_file *file)
{
	return (struct str){file->begin, (size_t)(file->end - file->begin)};
}
