/* authorize.h: one authorization request (RFC 6749 section 4.1.1, 7636, 9207; OpenID Connect Core
 * section 3.1.2), from the query that came in to the answer. The forms on the way carry the same query
 * along, and it is checked again each time as if it had come for the first time: so nothing that a
 * page sends back has to be trusted.
 *
 * Sign-ins to the issuer's own pages come the same way: their query has page=account or the like
 * in the place of all the rest, and ends on that page.
 *
 * Thread: the exchange's worker. A step ends by answering the exchange (and freeing the request), or
 * by handing it to the next one. */
#pragma once

#include "auth/password.h"
#include "auth/server/clients.h"
#include "auth/server/posted.h"
#include "core/http.h"
#include "store/users.h"

enum { SID_DIGITS = 32, AGENT_MAX = 200 };

/* What a login may be old when something grave is asked of it. */
enum { LOGIN_FRESH = 600 }; /* seconds */

enum prompt {
	PROMPT_NONE = 1,
	PROMPT_LOGIN = 2,
	PROMPT_CONSENT = 4,
	PROMPT_SELECT = 8,
	PROMPT_CREATE = 16,
};

enum own_page {
	OWN_PAGE_NONE,
	OWN_PAGE_ACCOUNT,
	OWN_PAGE_PASSWORD,
	OWN_PAGE_FACTOR,
	OWN_PAGE_RECOVERY,
	OWN_PAGE_DEVICE,
	OWN_PAGES
};

/* The word in the query, and the path. */
const char *own_page_word(enum own_page page);
const char *own_page_path(enum own_page page);

struct authorize {
	struct http_exchange *x;
	void (*next)(struct authorize *a);
	char *text; /* the decoded values lie here */
	struct str client_id, redirect_uri, state, nonce, challenge, login_hint, user_code;
	struct scope_set scope;
	unsigned prompt; /* of enum prompt */
	int64_t max_age; /* -1: not said */
	bool wants_user; /* an ID token says who it has to be: */
	char wanted[USER_NAME_MAX + 1];
	enum own_page page;
	struct client *client; /* NULL with a page of our own */
	/* who signed in, once somebody has */
	char user[USER_NAME_MAX + 1];
	int64_t auth_time;
	bool has_login;
	unsigned char login_hash[SECRET_HASH]; /* of this browser */
	bool entered;                          /* by a form, just now */
	bool signed_up;                        /* their account was made by this request */
	/* of a form */
	struct posted posted;
	struct str name, display_name, password, half, code, invitation;
	const char *field; /* of the form: what is wrong is wrong with it; may be NULL */
	bool has_factor;   /* the account has a second one */
	char fitted
		[PASSWORD_HASH_MAX]; /* the hash that the password is compared with; may be empty */
	char half_made[SECRET_TEXT + 1];
	char login[SECRET_TEXT + 1]; /* the new cookie */
};

/* Checks the exchange's query; goes on with next() when all of it is right. Otherwise it answers:
 * with a page until client and redirect URI are proven, after that with a redirect. */
void authorize_begin(struct http_exchange *x, void (*next)(struct authorize *a));

/* Looks who is signed in with this browser, then next(): a->has_login says whether anybody is. */
void authorize_find_login(struct authorize *a, void (*next)(struct authorize *a));

/* Somebody is signed in: asks what has to be asked of them, and grants. */
void authorize_settle(struct authorize *a);

/* Sends the browser back with an error of RFC 6749 section 4.1.2.1. */
void authorize_refuse(struct authorize *a, const char *error, const char *description);

/* Sends it back with a code for a->user, or to the page of our own. */
void authorize_grant(struct authorize *a);

/* The store or the pool cannot do it now: answers a form with the same form, else with a page that
 * says so, or where no page may be shown (prompt=none) with a redirect. */
void authorize_fail(struct authorize *a);

/* What the browser calls itself, cut to what is kept of it; may be empty. */
struct str browser_words(const struct http_exchange *x);

/* Frees it; the exchange is answered by the caller. */
struct http_exchange *authorize_leave(struct authorize **a);

/* GET /oauth/authorize */
void serve_authorize(struct http_exchange *x);
/* POST /oauth/consent, with the query of an authorization request */
void serve_consent(struct http_exchange *x);
