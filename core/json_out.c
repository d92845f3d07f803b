#include "core/json_out.h"

static void escape(struct buf *b, char c)
{
	static const char letters[128] = {['\b'] = 'b',
		['\t'] = 't',
		['\n'] = 'n',
		['\f'] = 'f',
		['\r'] = 'r',
		['"'] = '"',
		['\\'] = '\\'};
	if (letters[(unsigned char)c])
		buf_addf(b, "\\%c", letters[(unsigned char)c]);
	else
		buf_addf(b, "\\u%04x", (unsigned)c);
}

/* What does not go as it is, from the opening quote on. */
static void add_escaped(struct buf *b, struct str s)
{
	buf_addc(b, '"');
	while (s.n) {
		size_t step = str_plain(s);
		buf_add(b, s.p, step);
		s.p += step;
		s.n -= step;
		if (!s.n)
			break;
		unsigned char c = (unsigned char)*s.p;
		step = 1;
		if (c < 0x80) {
			escape(b, (char)c);
		} else {
			size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
			if (len <= s.n && str_utf8_valid((struct str){s.p, len})) {
				buf_add(b, s.p, len);
				step = len;
			} else {
				buf_add(b, "\xef\xbf\xbd", 3);
			}
		}
		s.p += step;
		s.n -= step;
	}
	buf_addc(b, '"');
}

static void put_quoted(char *at, struct str s)
{
	at[0] = '"';
	if (s.n)
		memcpy(at + 1, s.p, s.n);
	at[1 + s.n] = '"';
}

void json_add_string(struct buf *b, struct str s)
{
	char *at = NULL;
	if (str_plain(s) < s.n)
		add_escaped(b, s);
	else if ((at = buf_more(b, s.n + 2)))
		put_quoted(at, s);
}

/* What stands before a value; n bytes of it are the caller's to write, unless it answers NULL. */
static char *begin(struct json_out *o, const char *key, size_t n)
{
	size_t letters = key ? strlen(key) : 0, quotes = key ? 3 : 0;
	char *at = buf_more(o->b, o->comma + letters + quotes + n);
	if (!at)
		return NULL;
	if (o->comma)
		*at++ = ',';
	o->comma = true;
	if (!key)
		return at;
	put_quoted(at, (struct str){key, letters});
	at[letters + 2] = ':';
	return at + letters + 3;
}

void json_open(struct json_out *o, const char *key, char bracket)
{
	char *at = begin(o, key, 1);
	if (at)
		*at = bracket;
	o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
	buf_addc(o->b, bracket);
	o->comma = true;
}

void json_str(struct json_out *o, const char *key, struct str s)
{
	bool plain = str_plain(s) == s.n;
	char *at = begin(o, key, plain ? s.n + 2 : 0);
	if (at && plain)
		put_quoted(at, s);
	else if (at)
		add_escaped(o->b, s);
}

void json_text(struct json_out *o, const char *key, const char *s)
{
	if (s)
		json_str(o, key, str_of(s));
	else
		json_nothing(o, key);
}

void json_raw(struct json_out *o, const char *key, struct str s)
{
	char *at = begin(o, key, s.n);
	if (at && s.n)
		memcpy(at, s.p, s.n);
}

void json_int(struct json_out *o, const char *key, int64_t n)
{
	if (begin(o, key, 0))
		buf_addn(o->b, n);
}

void json_bool(struct json_out *o, const char *key, bool yes)
{
	json_raw(o, key, yes ? STR("true") : STR("false"));
}

void json_nothing(struct json_out *o, const char *key)
{
	json_raw(o, key, STR("null"));
}

void json_str_if(struct json_out *o, const char *key, struct str s)
{
	if (s.n)
		json_str(o, key, s);
	else
		json_nothing(o, key);
}

void json_int_if(struct json_out *o, const char *key, int64_t n)
{
	if (n)
		json_int(o, key, n);
	else
		json_nothing(o, key);
}
