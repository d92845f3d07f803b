/* pages.h: what all pages that people see have in common: their frame, the pieces of their forms,
 * cookies, and pages that say what went wrong and what to do. Without JavaScript, styled by web/pages/pages.css.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

/* Appends text with the five characters escaped that mean something in HTML. */
void html_add(struct buf *b, struct str text);

/* Answers with a page that says what went wrong and what to do. */
void page_error(struct http_exchange *x, int status, const char *title, const char *sentence);
/* Answers with a page that says that something is done. */
void page_notice(struct http_exchange *x, const char *title, const char *sentence);
/* The same as an error when the store or the pool cannot do it now: 503, and when to try again. */
void page_failed(struct http_exchange *x);
extern const char page_cannot_now[]; /* its sentence */

/* A page is written between page_begin() and page_end(), which answers and frees the buffer. Titles,
 * labels and sentences are our own texts, and HTML; what came from outside goes through html_add(). */
enum { PAGE_MAX_BYTES = 64 * 1024 };
void page_begin(struct buf *b, const char *title);
/* redirect_uri: where the forms of the page may lead in the end; n 0: nowhere else. */
void page_end(struct http_exchange *x, int status, struct buf *b, struct str redirect_uri);

/* Begins a form with its token; query: goes along with the action. */
void page_form(struct buf *b, const char *action, struct str query, struct str csrf);
void page_hidden(struct buf *b, const char *name, struct str value);
void page_input(
	struct buf *b, const char *id, const char *label, struct str value, const char *attributes);
void page_link(struct buf *b, const char *to, struct str query, const char *text);
/* A sentence above a form, with the id "problem"; NULL: none. */
void page_problem(struct buf *b, const char *problem);

/* A sentence about too many attempts, and the header that says the same. */
enum { PAGE_WAIT_TEXT = 160 };
const char *page_wait(struct http_exchange *x, int64_t seconds, char out[PAGE_WAIT_TEXT]);
/* the same for another reason, a sentence */
const char *page_wait_for(
	struct http_exchange *x, const char *why, int64_t seconds, char out[PAGE_WAIT_TEXT]);

/* The token that a form sends back. The cookie that it is compared with is set when the browser has
 * none yet. out has room for CSRF_TEXT bytes. */
enum { CSRF_TEXT = 43 };
struct str page_csrf(struct http_exchange *x, char *out);
bool page_csrf_fits(struct http_exchange *x, struct str from_form);

/* The cookie that says who is signed in; n 0: none. */
struct str page_login_cookie(const struct http_exchange *x);
/* n 0: takes it away. */
void page_set_login_cookie(struct http_exchange *x, struct str value);

/* GET /oauth/pages.css */
void serve_style(struct http_exchange *x);
