/* call_news.h: what the homes of a call tell each other: that of the call itself, of who placed it, of its
 * room (calls.h says which is which). Always by the inbox, also on the same worker: so all that one home
 * tells another arrives in the order told, and nothing happens within a visit of a room.
 *
 * Thread: sending from any worker; run() on the worker that it was sent to. */
#pragma once

#include "core/worker.h"
#include "signaling/line.h"

struct call_news {
	struct post post;
	void (*run)(const struct call_news *n);
	char id[CALL_ID_CHARS + 1];
	struct addr addr; /* a session */
	int what;
	struct str text; /* lies behind it */
	char bytes[];
};

/* Sends a copy of it with this text. */
void call_news_send(struct worker *to, struct call_news news, const char *id, struct str text);
