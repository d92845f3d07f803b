/* service_methods.h: methods of the service as a whole: rpc.discover, rpc.methods, token.verify. */
#pragma once

#include "core/call.h"

extern const struct method service_methods[];
