#include "core/json_out.h"

#include <inttypes.h>

/* How many bytes from s on can be copied as they are. */
static size_t plain(struct str s)
{
	size_t i = 0;
	while (i < s.n && (unsigned char)s.p[i] >= 0x20 && s.p[i] != '"' && s.p[i] != '\\' &&
		(unsigned char)s.p[i] < 0x7f)
		i++;
	return i;
}

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

void json_add_string(struct buf *b, struct str s)
{
	buf_addc(b, '"');
	while (s.n) {
		size_t step = plain(s);
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

static void begin(struct json_out *o, const char *key)
{
	if (o->comma)
		buf_addc(o->b, ',');
	o->comma = true;
	if (key) {
		json_add_string(o->b, str_of(key));
		buf_addc(o->b, ':');
	}
}

void json_open(struct json_out *o, const char *key, char bracket)
{
	begin(o, key);
	buf_addc(o->b, bracket);
	o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
	buf_addc(o->b, bracket);
	o->comma = true;
}

void json_str(struct json_out *o, const char *key, struct str s)
{
	begin(o, key);
	json_add_string(o->b, s);
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
	begin(o, key);
	buf_adds(o->b, s);
}

void json_int(struct json_out *o, const char *key, int64_t n)
{
	begin(o, key);
	buf_addf(o->b, "%" PRId64, n);
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
