/* authorize.h: one authorization request (RFC 6749 section 4.1.1, 7636, 9207), from the query that
 * came in to the answer. The sign-in and sign-up forms carry the same query along, and it is checked
 * again each time as if it had come for the first time: so nothing that a page sends back has to be
 * trusted.
 *
 * Thread: the exchange's worker. A step ends by answering the exchange (and freeing the request), or
 * by handing it to the next one. */
#pragma once

#include "auth/server/clients.h"
#include "core/http.h"
#include "store/users.h"

enum { SID_DIGITS = 32, AGENT_MAX = 200 };

struct authorize {
	struct http_exchange *x;
	void (*next)(struct authorize *a);
	char *text; /* the decoded values lie here */
	struct str client_id, redirect_uri, state, nonce, challenge, login_hint;
	struct scope_set scope;
	bool prompt_none, prompt_login, prompt_create;
	int64_t max_age; /* -1: not said */
	struct client *client;
	/* who signed in, once somebody has */
	char user[USER_NAME_MAX + 1];
	int64_t auth_time;
	bool has_login;
	unsigned char login_hash[SECRET_HASH]; /* of this browser */
	bool signed_up;                        /* their account was made by this request */
	/* of a form */
	char *form; /* the decoded values lie here: wiped */
	size_t form_n;
	struct str name, display_name, password, csrf;
	char login[SECRET_TEXT + 1]; /* the new cookie */
};

/* Checks the exchange's query; goes on with next() when all of it is right. Otherwise it answers:
 * with a page until client and redirect URI are proven, after that with a redirect. */
void authorize_begin(struct http_exchange *x, void (*next)(struct authorize *a));

/* Sends the browser back with an error of RFC 6749 section 4.1.2.1. */
void authorize_refuse(struct authorize *a, const char *error, const char *description);

/* Sends it back with a code for a->user. */
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
