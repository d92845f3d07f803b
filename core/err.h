/* err.h: the one set of outcomes. A function that can fail returns enum err; ERR_OK is 0.
 * The table is core/err.def; docs/PROTOCOL.md explains the codes to clients. */
#pragma once

enum err {
	ERR_OK = 0,
#define ERR(name, code, http, reason, text) ERR_##name,
#include "core/err.def"
#undef ERR
	ERR_COUNT
};

/* The row of the table. For ERR_OK: {0, 200, "ok", ""}. */
struct err_info {
	int code;           /* JSON-RPC error code */
	int http;           /* HTTP status that says the same */
	const char *reason; /* stable word for error.data.reason */
	const char *text;   /* sentence for a person */
};

const struct err_info *err_info(enum err err);
