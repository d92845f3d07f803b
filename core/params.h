/* params.h: the fields of a JSON object as a table, and the one function that reads an object by
 * it. What is not in the table is refused by name; so is what has another type or is too long.
 * Any thread; allocates nothing. */
#pragma once

#include "core/err.h"
#include "core/json_scan.h"
#include "core/str.h"

#include <stddef.h>
#include <stdint.h>

enum field_type {
	FIELD_STRING, /* struct str, decoded in place; max bytes; no control characters */
	FIELD_RAW,    /* struct str, any JSON value as it came; max bytes */
	FIELD_OBJECT, /* struct str, a JSON object as it came; max bytes */
	FIELD_ARRAY,  /* struct str, a JSON array as it came; max bytes */
	FIELD_INT,    /* struct param_int, between min and max */
	FIELD_BOOL,   /* struct param_bool */
};

struct param_int {
	bool given;
	int64_t n;
};

struct param_bool {
	bool given;
	bool yes;
};

struct field {
	const char *name; /* NULL ends the table */
	enum field_type type;
	bool required;
	size_t offset;    /* in the struct that is filled */
	int64_t min, max; /* bytes for strings and raw values (a string of min 1 is not empty) */
};

/* One line of a table: FIELD(struct room_join, room, STRING, true, 1, 255) */
/* clang-format off */
#define FIELD(type_, member_, kind_, required_, min_, max_) \
	{#member_, FIELD_##kind_, required_, offsetof(type_, member_), min_, max_}
/* clang-format on */

struct params_problem {
	struct str field;    /* its name, as it came or from the table */
	const char *message; /* a sentence without the name */
	int64_t limit;       /* 0: none */
};

/* Fills out, whose bytes are all zero: what is absent stays so (str.p is NULL). The object has been
 * through json_check(). Strings are decoded where they stand, so the text changes: call it once.
 * ERR_PARAMS or ERR_TOO_LARGE with *ret_problem. */
enum err params_decode(struct str object, const struct field *fields, void *out,
	struct params_problem *ret_problem);
/* The same with a walk of the object that has not begun. */
enum err params_decode_walk(struct str object, struct json_walk w, const struct field *fields,
	void *out, struct params_problem *ret_problem);
