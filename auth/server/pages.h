/* pages.h: the HTML that people see: pages that sign in and sign up, and pages that say what went
 * wrong and what to do. Without JavaScript, styled by web/pages/pages.css.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

/* Appends text with the five characters escaped that mean something in HTML. */
void html_add(struct buf *b, struct str text);

/* Answers with a page that says what went wrong and what to do. */
void page_error(struct http_exchange *x, int status, const char *title, const char *sentence);
/* The same when the store or the pool cannot do it now: 503, and when to try again. */
void page_failed(struct http_exchange *x);
extern const char page_cannot_now[]; /* its sentence */

struct form_page {
	int status;
	struct str query;        /* of the authorization request, as it came: it goes along */
	struct str redirect_uri; /* where the form may lead in the end */
	struct str client_name;
	struct str csrf;
	struct str name, display_name; /* filled in */
	const char *problem;           /* a sentence above the form, or NULL */
	bool sign_up_open;
};
void page_sign_in(struct http_exchange *x, const struct form_page *p);
void page_sign_up(struct http_exchange *x, const struct form_page *p);

/* The token that a form sends back. The cookie that it is compared with is set when the browser has
 * none yet. out has room for CSRF_TEXT bytes. */
enum { CSRF_TEXT = 43 };
struct str page_csrf(struct http_exchange *x, char *out);
bool page_csrf_fits(struct http_exchange *x, struct str from_form);

/* The cookie that says who is signed in; n 0: none. */
struct str page_login_cookie(const struct http_exchange *x);
void page_set_login_cookie(struct http_exchange *x, struct str value);

/* GET /oauth/pages.css */
void serve_style(struct http_exchange *x);
