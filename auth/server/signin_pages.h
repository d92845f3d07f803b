/* signin_pages.h: the pages that sign people in and up.
 * Thread: the exchange's worker. */
#pragma once

#include "core/http.h"

struct form_page {
	int status;
	struct str query;        /* of the authorization request, as it came: it goes along */
	struct str redirect_uri; /* where the form may lead in the end */
	struct str client_name;
	struct str csrf;
	struct str name, display_name; /* filled in */
	const char *problem;           /* a sentence above the form, or NULL */
	const char *field;             /* the id of the field that it is about, or NULL */
	bool sign_up;                  /* there is a way to sign up */
	bool by_invitation;            /* but only with one: */
	struct str invitation;
};
void page_sign_in(struct http_exchange *x, const struct form_page *p);
void page_sign_up(struct http_exchange *x, const struct form_page *p);
