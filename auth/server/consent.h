/* consent.h: what a scope means, in words for people. Any thread. */
#pragma once

#include "auth/server/scope_set.h"
#include "core/buf.h"

/* Appends a list of what a token with these scopes can do. */
void scope_set_describe(struct buf *b, struct scope_set s);
