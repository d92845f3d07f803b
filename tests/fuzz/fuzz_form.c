/* Form bodies and cookies. What is read is never longer than it was, is UTF-8 without NUL, and comes
 * back the same when it is written and read again. */
#include "core/form.h"

#include <stdint.h>
#include <stdlib.h>

static void check(struct str form, const char *name)
{
	char *out = malloc(form.n + 1), *again = malloc(form.n * 3 + 64);
	struct str value, second;
	struct buf b = BUF_INIT(form.n * 3 + 64);
	if (form_get(form, name, out, &value) == ERR_OK) {
		if (value.n > form.n || !str_utf8_valid(value) ||
			(value.n && memchr(value.p, 0, value.n)))
			abort();
		form_add(&b, name, value);
		if (b.err || form_get(buf_str(&b), name, again, &second) || !str_eq(value, second))
			abort();
	}
	buf_free(&b);
	free(again);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct str form = {(const char *)bytes, n};
	check(form, "a");
	check(form, "client_id");
	struct str cookie = cookie_get(form, "signalbox");
	if (cookie.n && (cookie.p < form.p || cookie.p + cookie.n > form.p + n))
		abort();
	return 0;
}
