/* session_open.h: between session_methods.c and session_request.c: the params of session.open. */
#pragma once

#include "service/session.h"

struct session_open_params {
	struct str token, client, resume;
	struct param_bool batch;
};

extern const struct field session_open_fields[];
