/* Any bytes as an issuer's discovery document, and as an issuer's name. */
#include "auth/discovery.h"

#include <stdint.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static void must_be_text(const char *url)
{
	size_t n = strnlen(url, DISCOVERY_URL_MAX + 1);
	MUST(n <= DISCOVERY_URL_MAX && !str_has_control((struct str){url, n}));
}

static void as_document(struct str text)
{
	static const struct str issuers[] = {{"https://id.example/a", 20}, {"", 0}};
	struct discovery d;
	const char *why = NULL;
	for (size_t i = 0; i < 2; i++) {
		if (discovery_read(text, issuers[i], &d, &why)) {
			MUST(why);
			continue;
		}
		MUST(text.n <= DISCOVERY_MAX && memmem(text.p, text.n, "issuer", 6));
		must_be_text(d.jwks_uri);
		must_be_text(d.introspection_endpoint);
	}
}

static void as_name(struct str text)
{
	char url[DISCOVERY_URL_MAX + 1];
	for (int which = 0; which < 3; which++) {
		if (!discovery_address(text, which, url))
			continue;
		size_t n = strnlen(url, sizeof(url));
		MUST(which < 2 && n < sizeof(url) && strncmp(url, "http", 4) == 0);
		MUST(memmem(url, n, "/.well-known/", 13) || memchr(text.p, 0, text.n));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	as_document(text);
	as_name(text);
	return 0;
}
