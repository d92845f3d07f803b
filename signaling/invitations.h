/* invitations.h: links into a room. Who has the token of one gets its role there, as often as it has
 * uses; or comes in without an account, as a guest, where it is for guests (service/guest_http.h). The
 * store has a hash of the token. All that is wrong with one is told as one thing, and who tries too
 * often has to wait (auth/guesses.h).
 *
 * Thread: any worker. Limits: INVITATIONS_MAX a room, those included that are over but whose guests may
 * be there still. */
#pragma once

#include "auth/server/secret.h"
#include "core/call.h"
#include "store/store.h"

enum { INVITATION_ID_DIGITS = 20, INVITATIONS_MAX = 10000, INVITATION_TOKEN_MAX = 128 };

/* A row of STORE_ROOM_INVITATION_GET; points into the answer. */
struct invitation {
	struct str room, title, role;
	bool guests;
	int64_t expires_at, uses_left;
	struct str mine; /* what the user is in the room without it; empty: nothing */
	bool banned;     /* the user */
	bool kept;       /* mine is written down: it is not only what everybody is */
	int64_t roles;   /* that the room has given */
};
struct invitation invitation_of_row(const struct store_op *op);

/* The `sid` of the tokens of its guests (out: INVITATION_SID_MAX bytes). */
enum { INVITATION_SID_MAX = 64 };
struct str invitation_sid(struct str id, char *out);
