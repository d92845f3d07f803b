/* hint.h: an ID token of our own that comes back to say who is meant (id_token_hint). Whether it has
 * expired does not matter (OpenID Connect Core section 3.1.2.1, RP-Initiated Logout section 2): it
 * proves nothing but that it once was given.
 * Any thread. */
#pragma once

#include "auth/server/clients.h"
#include "store/users.h"

struct id_hint {
	char user[USER_NAME_MAX + 1], client[CLIENT_ID_MAX + 1];
	/* False: the key that it names has gone, as keys do; anybody could have written it. A client may
	 * keep its ID token for longer. */
	bool proven;
};

/* False: it is none of ours, or no ID token. */
bool id_hint_read(struct str token, struct id_hint *ret_hint);
