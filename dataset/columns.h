/* columns.h: what a caller is told of a dataset's table: the columns that are there for them, and what they may do.
 * Any thread. */
#pragma once

#include "core/json_out.h"
#include "core/principal.h"
#include "dataset/definition.h"
#include "dataset/layout.h"

/* "columns": [{name, type, key, required}] of those that are visible; key: the place in the key, from 1, or 0. */
void columns_write(struct json_out *o, const struct definition *d, const struct layout *l,
	const struct principal *who);

/* "may": ["read", …]: there is a rule, and the token has the scope that it needs. */
void may_write(struct json_out *o, const struct definition *d, const struct principal *who);
