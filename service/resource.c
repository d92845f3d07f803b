#include "service/resource.h"

#include "core/json_out.h"
#include "core/mem.h"
#include "service/issuers.h"

enum { DOCUMENT_MAX = 64 * 1024 };

static char *document;

/* Whoever signs with a key that is written down here is asked for tokens in a way of its own. */
static void write_issuers(struct json_out *o)
{
	json_open(o, "authorization_servers", '[');
	for (size_t i = 0; i < issuers_count(); i++)
		if (!issuers_rules()[i].alias.n || !issuers_at(i)->fixed)
			json_str(o, NULL, issuers_rules()[i].issuer);
	json_close(o, ']');
}

void resource_configure(struct str url)
{
	struct buf b = BUF_INIT(DOCUMENT_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_str(&o, "resource", url);
	write_issuers(&o);
	json_open(&o, "scopes_supported", '[');
	for (unsigned i = 0; i < SCOPE_BITS; i++)
		json_text(&o, NULL, scope_word((enum scope)(1u << i)));
	json_close(&o, ']');
	json_open(&o, "bearer_methods_supported", '[');
	json_text(&o, NULL, "header");
	json_close(&o, ']');
	json_text(&o, "resource_name", "Signalbox");
	json_close(&o, '}');
	free(document);
	document = buf_take(&b);
}

void resource_finish(void)
{
	free(document);
	document = NULL;
}

static void serve(struct http_exchange *x)
{
	http_header(x, "Cache-Control", STR("public, max-age=300"));
	http_reply(x, 200, "application/json", str_of(document));
}

const struct http_route resource_routes[] = {
	{.path = "/.well-known/oauth-protected-resource",
		.verbs = HTTP_GET,
		.serve = serve,
		.cors = HTTP_CORS_ANY},
	{0},
};
