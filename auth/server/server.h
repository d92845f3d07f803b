/* server.h: the embedded OAuth2 authorization server: accounts sign in on its pages, clients get
 * tokens. RFC 6749 (authorization code, client credentials), 7636, 8252, 8414, 9068, 9207, 9728,
 * OpenID Connect Core and Discovery as far as the documents it serves say.
 *
 * Thread: issuer_start() and issuer_stop() on the main thread, with the store open and no worker
 * running; issuer_drain() on the main thread, between workers_drain() and workers_stop(); routes and
 * methods on any worker; the rest on any thread between start and stop. */
#pragma once

#include "auth/jwk.h"
#include "auth/withdrawal.h"
#include "core/call.h"
#include "core/http.h"
#include "core/worker.h"

/* Who may make an account on the pages. */
enum issuer_sign_up { ISSUER_SIGN_UP_OPEN, ISSUER_SIGN_UP_INVITATION, ISSUER_SIGN_UP_CLOSED };

struct issuer_options {
	struct str url;      /* "https://chat.example": an origin, without path */
	struct str audience; /* of access tokens; n 0: the issuer */
	enum issuer_sign_up sign_up;
	bool demo_client;     /* a public client "demo" for pages of the issuer and of loopback */
	const char *key_file; /* of auth/server/seal.h */
	int access_token_lifetime; /* seconds; 0: ACCESS_TOKEN_LIFETIME */
	/* How long a sign-in goes on by refresh tokens, at most and unused; 0: REFRESH_TOKEN_… */
	int64_t refresh_token_lifetime, refresh_token_idle;
	/* Tokens were withdrawn, the store has it: no worker takes them any more, and what they have
	 * open is to end. On a worker; NULL: they are only refused. */
	void (*on_withdrawn)(enum withdrawal_kind kind, struct str value);
	int64_t key_rotation; /* seconds that a signing key is used; 0: until somebody says so */
	/* On each worker: the keys of tokens are these from now on. NULL: nobody minds. */
	void (*on_keys)(struct jwk_set *keys);
};

enum {
	ACCESS_TOKEN_LIFETIME = 3600,
	REFRESH_TOKEN_LIFETIME = 90 * 24 * 3600,
	REFRESH_TOKEN_IDLE = 14 * 24 * 3600,
	EXPIRES_MAX = 366 * 24 * 3600, /* no token lives longer */
	ISSUER_WHY_MAX = 256,
};

/* Makes the signing keys when there are none yet. ERR_PARAMS, ERR_INTERNAL: nothing has started, and
 * a sentence for the operator is in ret_why (ISSUER_WHY_MAX bytes). */
enum err issuer_start(const struct issuer_options *options, char *ret_why);
/* Ends the threads that hash passwords and make keys, after what waits for them. */
void issuer_drain(void);
void issuer_stop(void);

/* Pages and endpoints; ends with a NULL path. */
extern const struct http_route issuer_routes[];

/* Accounts, clients and tokens for those who administer them: user.*, client.*, token.mint. */
extern const struct method issuer_methods[];

/* Signing keys that follow each other; behind what on_keys() needs. */
extern const struct worker_part keys_part;
/* On each worker, when the doors open: from now on keys that are missing or due are made. */
void keys_begin(struct worker *w);

/* The public keys as a JWK set, what /oauth/jwks serves: for the check of tokens. */
struct str issuer_jwks(void);

struct mint_request {
	struct str user;     /* whom it speaks for; n 0: the client itself */
	struct str client;   /* client_id */
	struct str name;     /* for people; may be empty */
	struct str scope;    /* words */
	struct str audience; /* n 0: the default one */
	struct str claims;   /* more claims, as one JSON object; may be empty */
	struct str sid;      /* the sign-in that it comes from; n 0: none */
	uint64_t seen;       /* withdrawals_seen() before the store was asked; 0: just now */
	int64_t issued_at; /* Unix seconds; 0: now. Moved behind withdrawals (auth/withdrawal.h) */
	int64_t lifetime;  /* seconds; 0: the configured one */
};

enum { TOKEN_MAX_BYTES = 8192 }; /* what the check takes */

/* Appends one signed access token (RFC 9068, ES256) to the buffer. ERR_PARAMS: the claims are no
 * object, hold a member twice, or one that is the issuer's to say; ERR_TOO_LARGE: past
 * TOKEN_MAX_BYTES; ERR_INTERNAL. The buffer is empty then. */
enum err issuer_mint(const struct mint_request *request, struct buf *ret_token);
