/* signin.h: the forms that sign people in and up, and what comes of them.
 * Thread: the exchange's worker. */
#pragma once

#include "auth/server/authorize.h"
#include "store/store.h"

/* Answers with the page; problem: a sentence above the form, or NULL. */
void show_sign_in(struct authorize *a, int status, const char *problem);
void show_sign_up(struct authorize *a, int status, const char *problem);

/* Answers a form that cannot be handled now with the same form: nothing that was typed is lost but
 * the password. */
void show_form_again(struct authorize *a);

/* Reads the form that was posted. False: it is no form of ours. */
bool sign_in_read_form(struct authorize *a);
/* Where somebody wanted to sign in; empty: at a page of our own. */
struct str sign_in_client(const struct authorize *a);
/* Never past its end: names that come here are checked ones. */
void sign_in_set_user(struct authorize *a, struct str name);

/* Somebody has shown all that has to be shown: a new login of this browser, then on with the request.
 * What they have shown has to be right still when the login is written down. */
void sign_in_let_in(struct authorize *a);
extern const char sign_in_changed[]; /* what to say else */
/* The hash that the password fitted, or a NULL. */
struct store_value sign_in_fitted(const struct authorize *a);

/* The password was right; asks for the second factor (second.c). */
void sign_in_second(struct authorize *a);
void show_second_again(struct authorize *a);
/* POST /oauth/second, with the query of an authorization request */
void serve_second(struct http_exchange *x);

/* GET and POST of /oauth/login and /oauth/signup, each with the query of an authorization request */
void serve_login(struct http_exchange *x);
void serve_signup(struct http_exchange *x);
