/* issuer.h: what the files of the authorization server share: its configuration, read-only while
 * workers run. Nobody outside of auth/server/ includes this. */
#pragma once

#include "auth/jwa.h"
#include "auth/server/server.h"

struct issuer {
	struct str url; /* without a slash at the end */
	struct str audience;
	bool secure; /* https: cookies are Secure and have the __Host- prefix */
	enum issuer_sign_up sign_up;
	bool demo_client;
	int64_t access_token_lifetime, refresh_token_lifetime, refresh_token_idle;
	void (*on_withdrawn)(enum withdrawal_kind kind, struct str value); /* or NULL */
};

extern const struct issuer *const issuer;

/* To be called on a worker when the store has taken the row of `withdrawals` (withdrawals_note()). */
static inline void issuer_withdrawn(
	enum withdrawal_kind kind, struct str value, int64_t at, int64_t until)
{
	withdrawals_note(kind, value, at, until);
	if (issuer->on_withdrawn)
		issuer->on_withdrawn(kind, value);
}

enum { LOGIN_LIFETIME = 7 * 24 * 3600 }; /* seconds that a browser stays signed in */

struct id_token_request {
	struct str user, name, client, nonce, access_token;
	bool profile; /* say who it is */
	enum jwa alg; /* ES256 or RS256 */
	int64_t auth_time, issued_at;
};

/* Appends an ID token (OpenID Connect Core section 2). ERR_INTERNAL. */
enum err issuer_mint_id(const struct id_token_request *request, struct buf *ret_token);
