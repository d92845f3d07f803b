#include "core/form.h"

#include <strings.h>

bool form_is(struct str content_type)
{
	static const struct str form = {"application/x-www-form-urlencoded", 33};
	if (content_type.n < form.n || strncasecmp(content_type.p, form.p, form.n) != 0)
		return false;
	size_t i = form.n;
	while (i < content_type.n && (content_type.p[i] == ' ' || content_type.p[i] == '\t'))
		i++;
	return i == content_type.n || content_type.p[i] == ';';
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Takes the next byte off the escaped text, which is not empty; -1 when its escape is broken. */
static int take(struct str *s)
{
	char c = *s->p;
	size_t used = 1;
	int byte = c == '+' ? ' ' : (unsigned char)c;
	if (c == '%') {
		int high = s->n > 2 ? hex(s->p[1]) : -1;
		int low = s->n > 2 ? hex(s->p[2]) : -1;
		byte = high < 0 || low < 0 ? -1 : high * 16 + low;
		used = 3;
	}
	if (used > s->n)
		used = s->n;
	s->p += used;
	s->n -= used;
	return byte;
}

static bool name_is(struct str escaped, const char *name)
{
	for (; escaped.n && *name; name++)
		if (take(&escaped) != (unsigned char)*name)
			return false;
	return !escaped.n && !*name;
}

/* Cuts the text in two at the first mark; without one all of it is the first part. */
static struct str cut(struct str *rest, char mark)
{
	const char *at = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
	struct str first = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
	size_t step = first.n + (at ? 1 : 0);
	if (step) {
		rest->p += step;
		rest->n -= step;
	}
	return first;
}

static enum err decode(struct str escaped, char *out, struct str *ret_value)
{
	size_t n = 0;
	while (escaped.n) {
		int byte = take(&escaped);
		if (byte <= 0)
			return ERR_PARAMS;
		out[n++] = (char)byte;
	}
	struct str value = {out, n};
	if (!str_utf8_valid(value))
		return ERR_PARAMS;
	*ret_value = value;
	return ERR_OK;
}

enum err form_get(struct str form, const char *name, char *out, struct str *ret_value)
{
	struct str found = {0};
	bool there = false;
	while (form.n) {
		struct str value = cut(&form, '&');
		struct str key = cut(&value, '=');
		if (!name_is(key, name))
			continue;
		if (there)
			return ERR_PARAMS;
		there = true;
		found = value;
	}
	return there ? decode(found, out, ret_value) : ERR_NOT_FOUND;
}

struct str form_take(struct form_fields *f, const char *name)
{
	struct str value = {"", 0};
	enum err err = form_get(f->form, name, f->at, &value);
	if (err == ERR_OK)
		f->at += value.n;
	else if (err != ERR_NOT_FOUND)
		f->broken = true;
	return value;
}

bool form_has_only(struct str form, const char *const *names, struct str *ret_other)
{
	while (form.n) {
		struct str value = cut(&form, '&');
		struct str key = cut(&value, '=');
		const char *const *name = names;
		while (*name && !name_is(key, *name))
			name++;
		if (!*name) {
			*ret_other = key;
			return false;
		}
	}
	return true;
}

static void escape(struct buf *b, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (letter || (c >= '0' && c <= '9') || (c && strchr("*-._", c))) {
			buf_addc(b, (char)c);
		} else if (c == ' ') {
			buf_addc(b, '+');
		} else {
			buf_addc(b, '%');
			buf_addc(b, digits[c >> 4]);
			buf_addc(b, digits[c & 15]);
		}
	}
}

void form_add(struct buf *b, const char *name, struct str value)
{
	if (b->n)
		buf_addc(b, '&');
	escape(b, str_of(name));
	buf_addc(b, '=');
	escape(b, value);
}

static struct str trim(struct str s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct str cookie_get(struct str header, const char *name)
{
	while (header.n) {
		struct str value = cut(&header, ';');
		struct str key = trim(cut(&value, '='));
		if (str_is(key, name))
			return trim(value);
	}
	return (struct str){"", 0};
}
