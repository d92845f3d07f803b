#include "auth/server/posted.h"

#include "auth/server/pages.h"
#include "core/form.h"
#include "core/mem.h"

#include <openssl/crypto.h>

const char posted_expired[] = "This form was too old, or your browser does not keep cookies for "
			      "this site. Allow them and send the form again.";

static void wipe_body(struct http_exchange *x)
{
	if (x->in.body.n)
		OPENSSL_cleanse((char *)(uintptr_t)x->in.body.p, x->in.body.n);
	x->in.body.n = 0;
}

bool posted_read(
	struct posted *p, struct http_exchange *x, const char *const *names, struct str *ret_fields)
{
	posted_finish(p);
	p->n = 2 * x->in.body.n + 1;
	p->text = mem_alloc(p->n);
	struct form_fields fields = {x->in.body, p->text, false};
	struct str csrf = form_take(&fields, "csrf");
	for (size_t i = 0; names[i]; i++)
		ret_fields[i] = form_take(&fields, names[i]);
	wipe_body(x);
	return !fields.broken && form_is(x->in.content_type) && page_csrf_fits(x, csrf);
}

void posted_finish(struct posted *p)
{
	if (p->text)
		OPENSSL_cleanse(p->text, p->n);
	free(p->text);
	*p = (struct posted){0};
}
