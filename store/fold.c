#include "store/fold.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

/* Letter by letter, so that one finds another wherever it stands: one to one, as towlower() has it. */
enum { BROKEN = 0xfffd, LONGEST = 4 };

/* The character that begins here, and how many bytes it has; one that is broken has one. */
static unsigned character_at(const unsigned char *at, size_t left, size_t *ret_bytes)
{
	size_t n = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
	unsigned c = n == 1 ? *at : *at & (0x7fu >> n);
	*ret_bytes = 1;
	if (n > left || (n > 1 && *at < 0xc2))
		return BROKEN;
	for (size_t i = 1; i < n; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return BROKEN;
		c = c << 6 | (at[i] & 0x3f);
	}
	*ret_bytes = n;
	return c;
}

static size_t put_character(unsigned c, unsigned char *out)
{
	if (c < 0x80) {
		out[0] = (unsigned char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (unsigned char)(0x80 | (c & 0x3f));
	out[0] = (unsigned char)((0xf00u >> n) | c);
	return n;
}

static locale_t letters(sqlite3_context *context)
{
	return sqlite3_user_data(context);
}

static void fold(sqlite3_context *context, int count, sqlite3_value **args)
{
	const unsigned char *text = sqlite3_value_text(args[0]);
	size_t n = (size_t)sqlite3_value_bytes(args[0]), used = 0, bytes = 0;
	(void)count;
	if (!text)
		return;
	unsigned char *out = malloc(n * LONGEST + 1);
	if (!out) {
		sqlite3_result_error_nomem(context);
		return;
	}
	for (size_t at = 0; at < n; at += bytes) {
		unsigned c = character_at(text + at, n - at, &bytes);
		used += put_character(
			(unsigned)towlower_l((wint_t)c, letters(context)), out + used);
	}
	sqlite3_result_text64(context, (char *)out, used, free, SQLITE_UTF8);
}

static void drop_letters(void *locale)
{
	freelocale(locale);
}

int fold_add(sqlite3 *handle)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	return locale &&
		sqlite3_create_function_v2(handle, "fold", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
			locale, fold, NULL, NULL, drop_letters) == SQLITE_OK;
}
