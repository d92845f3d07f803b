/* presence_ask.h: how many users are, asked of all their homes at once: presence.get and presence.watch.
 * Thread: the call's worker. Limits: ASK_MAX users a question. */
#pragma once

#include "core/call.h"

enum { ASK_MAX = 256, ASK_USER_MAX = 511 };

/* Answers the call with how they are; each is named once. follow: this worker is told of their changes
 * from now on, and the call's session, who watches them, of what comes behind the answer. */
void presence_ask(struct call *c, const struct str *users, size_t count, bool follow);

/* The same without a call: the worker wants to follow them as the process before did. */
void presence_ask_again(const struct str *users, size_t count);
