#include "core/err.h"

#include <assert.h>

static const struct err_info table[ERR_COUNT] = {
	[ERR_OK] = {0, 200, "ok", ""},
#define ERR(name, code, http, reason, text) [ERR_##name] = {code, http, reason, text},
#include "core/err.def"
#undef ERR
};

const struct err_info *err_info(enum err err)
{
	assert(err >= 0 && err < ERR_COUNT);
	return &table[err];
}
