/* Any bytes as a PROXY header: read as a whole, or byte by byte as they may come, it is the same. */
#include "service/proxy_header.h"

#include <stdint.h>
#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole = {0}, part = {0};
	enum proxy_word want = proxy_header_read((struct str){(const char *)data, size}, &whole);
	enum proxy_word got = PROXY_MORE;
	size_t n = 0;
	while (got == PROXY_MORE && n < size) {
		char *copy = malloc(++n); /* exactly: so that reading past it is seen */
		memcpy(copy, data, n);
		got = proxy_header_read((struct str){copy, n}, &part);
		free(copy);
	}
	MUST(got == want);
	MUST(got != PROXY_MORE || size < PROXY_HEADER_MAX);
	if (got == PROXY_DONE)
		MUST(part.length == n && whole.length == n && part.known == whole.known &&
			ip_eq(&part.client, &whole.client));
	return 0;
}
