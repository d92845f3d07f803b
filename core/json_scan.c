#include "core/json_scan.h"

/* What may stand next. */
enum want {
	WANT_VALUE,
	WANT_VALUE_OR_CLOSE, /* just behind '[' */
	WANT_KEY,
	WANT_KEY_OR_CLOSE, /* just behind '{' */
	WANT_COMMA_OR_CLOSE,
};

enum { OUTLINE_DEPTH = 2 };

struct checker {
	const char *p, *end;
	uint64_t objects; /* one bit a level, the innermost lowest: 1 is an object, 0 an array */
	unsigned depth;
	enum want want;
	const char *behind;                          /* the last token */
	struct json_outline *outline;                /* NULL: nothing is noted, or not any more */
	struct json_member *open[OUTLINE_DEPTH + 1]; /* of each level */
};

_Static_assert(JSON_DEPTH_MAX <= 64, "the levels are bits of a uint64_t");

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* -1 when it is no hexadecimal digit. */
static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits at p (there are four bytes), or -1. */
static int32_t hex4(const char *p)
{
	int32_t n = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(p[i]);
		if (digit < 0)
			return -1;
		n = n * 16 + digit;
	}
	return n;
}

/* Over what needs no look inside a string. */
static const char *skip_plain(const char *p, const char *end)
{
	return p + str_plain((struct str){p, (size_t)(end - p)});
}

/* The run of bytes beyond ASCII at *p; whole sequences never go beyond such a run. */
static bool check_utf8(const char **p, const char *end)
{
	const char *q = *p;
	while (q < end && (unsigned char)*q >= 0x80)
		q++;
	if (!str_utf8_valid((struct str){*p, (size_t)(q - *p)}))
		return false;
	*p = q;
	return true;
}

/* *p is at the backslash. */
static bool check_escape(const char **p, const char *end)
{
	if (end - *p < 2)
		return false;
	char c = (*p)[1];
	if (c == 'u') {
		if (end - *p < 6 || hex4(*p + 2) < 0)
			return false;
		*p += 6;
		return true;
	}
	*p += 2;
	switch (c) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return true;
	default:
		*p -= 2;
		return false;
	}
}

/* *p is at the opening quote; afterwards behind the closing one, or at what is wrong. */
static bool check_string(const char **p, const char *end)
{
	++*p;
	for (;;) {
		*p = skip_plain(*p, end);
		if (*p >= end)
			return false;
		unsigned char c = (unsigned char)**p;
		if (c == '"')
			break;
		if (c < 0x20)
			return false;
		if (c == '\\') {
			if (!check_escape(p, end))
				return false;
		} else if (c >= 0x80) {
			if (!check_utf8(p, end))
				return false;
		} else {
			++*p;
		}
	}
	++*p;
	return true;
}

static bool check_digits(const char **p, const char *end)
{
	const char *first = *p;
	while (*p < end && is_digit(**p))
		++*p;
	return *p > first;
}

static bool check_number(const char **p, const char *end)
{
	if (**p == '-')
		++*p;
	if (*p < end && **p == '0')
		++*p;
	else if (!check_digits(p, end))
		return false;
	if (*p < end && **p == '.') {
		++*p;
		if (!check_digits(p, end))
			return false;
	}
	if (*p < end && (**p == 'e' || **p == 'E')) {
		++*p;
		if (*p < end && (**p == '+' || **p == '-'))
			++*p;
		return check_digits(p, end);
	}
	return true;
}

static bool check_word(const char **p, const char *end, struct str word)
{
	if ((size_t)(end - *p) < word.n || memcmp(*p, word.p, word.n) != 0)
		return false;
	*p += word.n;
	return true;
}

static bool push(struct checker *c, bool object)
{
	if (c->depth == JSON_DEPTH_MAX)
		return false;
	c->objects = c->objects << 1 | object;
	c->depth++;
	c->want = object ? WANT_KEY_OR_CLOSE : WANT_VALUE_OR_CLOSE;
	c->p++;
	return true;
}

static bool pop(struct checker *c)
{
	c->objects >>= 1;
	c->depth--;
	c->want = WANT_COMMA_OR_CLOSE;
	c->p++;
	return true;
}

static bool check_value(struct checker *c)
{
	c->want = WANT_COMMA_OR_CLOSE;
	switch (*c->p) {
	case '{':
		return push(c, true);
	case '[':
		return push(c, false);
	case '"':
		return check_string(&c->p, c->end);
	case 't':
		return check_word(&c->p, c->end, STR("true"));
	case 'f':
		return check_word(&c->p, c->end, STR("false"));
	case 'n':
		return check_word(&c->p, c->end, STR("null"));
	default:
		return (*c->p == '-' || is_digit(*c->p)) && check_number(&c->p, c->end);
	}
}

/* Only objects are around what comes next, and not too many. */
static bool is_noted(const struct checker *c)
{
	return c->outline && c->depth <= OUTLINE_DEPTH &&
		c->objects == (UINT64_C(1) << c->depth) - 1;
}

/* A member whose value begins at c->p. */
static void note_member(struct checker *c, struct str key)
{
	if (!is_noted(c))
		return;
	struct json_outline *o = c->outline;
	if (o->count == JSON_OUTLINE_MAX) {
		o->count = 0;
		c->outline = NULL;
		return;
	}
	struct json_member *m = &o->members[o->count++];
	*m = (struct json_member){.key = key, .value.p = c->p};
	for (unsigned level = 1; level < c->depth; level++)
		c->open[level]->own++;
	c->open[c->depth] = m;
}

static void note_end(struct checker *c)
{
	if (!is_noted(c))
		return;
	struct str *value = &c->open[c->depth]->value;
	value->n = (size_t)(c->behind - value->p);
}

static bool check_key(struct checker *c)
{
	const char *key = c->p + 1;
	if (*c->p != '"' || !check_string(&c->p, c->end))
		return false;
	size_t n = (size_t)(c->p - key) - 1;
	c->p = skip_space(c->p, c->end);
	if (c->p == c->end || *c->p != ':')
		return false;
	c->p = skip_space(c->p + 1, c->end);
	c->want = WANT_VALUE;
	note_member(c, (struct str){key, n});
	return true;
}

static bool check_separator(struct checker *c)
{
	bool in_object = c->objects & 1;
	if (!c->depth)
		return false; /* bytes behind the value */
	if (in_object)
		note_end(c);
	if (*c->p == (in_object ? '}' : ']'))
		return pop(c);
	if (*c->p != ',')
		return false;
	c->want = in_object ? WANT_KEY : WANT_VALUE;
	c->p++;
	return true;
}

/* One token; c->p is not at the end and not at white space. */
static bool check_token(struct checker *c)
{
	switch (c->want) {
	case WANT_VALUE_OR_CLOSE:
		return *c->p == ']' ? pop(c) : check_value(c);
	case WANT_VALUE:
		return check_value(c);
	case WANT_KEY_OR_CLOSE:
		return *c->p == '}' ? pop(c) : check_key(c);
	case WANT_KEY:
		return check_key(c);
	case WANT_COMMA_OR_CLOSE:
		return check_separator(c);
	}
	return false;
}

enum err json_check(struct str text, size_t *ret_at)
{
	return json_check_outline(text, ret_at, NULL);
}

enum err json_check_outline(struct str text, size_t *ret_at, struct json_outline *ret_outline)
{
	if (!text.n)
		text.p = "";
	struct checker c = {
		.p = text.p, .end = text.p + text.n, .want = WANT_VALUE, .outline = ret_outline};
	if (ret_outline)
		ret_outline->count = 0;
	for (;;) {
		c.behind = c.p;
		c.p = skip_space(c.p, c.end);
		if (c.p == c.end && !c.depth && c.want == WANT_COMMA_OR_CLOSE)
			return ERR_OK;
		if (c.p == c.end || !check_token(&c))
			break;
	}
	if (ret_at)
		*ret_at = (size_t)(c.p - text.p);
	return ERR_PARSE;
}

struct str json_trim(struct str text)
{
	while (text.n && is_space(text.p[text.n - 1]))
		text.n--;
	while (text.n && is_space(*text.p)) {
		text.p++;
		text.n--;
	}
	return text;
}

enum json_kind json_kind(struct str value)
{
	const char *end = value.p + value.n, *p = skip_space(value.p, end);
	if (p == end)
		return JSON_NONE;
	switch (*p) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
		return JSON_TRUE;
	case 'f':
		return JSON_FALSE;
	case 'n':
		return JSON_NULL;
	default:
		return *p == '-' || is_digit(*p) ? JSON_NUMBER : JSON_NONE;
	}
}

/* From here on the text has been checked: what follows looks only for where things end, and stays
 * inside the span whatever it holds. */

/* From the opening quote to behind the closing one. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		p = skip_plain(p, end);
		if (p >= end || *p == '"')
			break;
		if (*p == '\\' && p + 1 < end)
			p++;
	}
	return p < end ? p + 1 : end;
}

static const char *skip_container(const char *p, const char *end)
{
	size_t depth = 0;
	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		p++;
		if (!depth)
			break;
	}
	return p;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p < end && *p == '"')
		return skip_string(p, end);
	if (p < end && (*p == '{' || *p == '['))
		return skip_container(p, end);
	while (p < end && *p != ',' && *p != '}' && *p != ']' && !is_space(*p))
		p++;
	return p;
}

struct json_walk json_walk(struct str container)
{
	struct str c = json_trim(container);
	enum json_kind kind = json_kind(c);
	if (kind != JSON_OBJECT && kind != JSON_ARRAY)
		return (struct json_walk){0};
	return (struct json_walk){.p = c.p + 1, .end = c.p + c.n, .object = kind == JSON_OBJECT};
}

struct json_walk json_walk_outline(const struct json_outline *o)
{
	return (struct json_walk){
		.object = true, .known = o->members, .last = o->members + o->count};
}

struct json_walk json_walk_inside(const struct json_walk *w)
{
	const struct json_member *m = w->came;
	return (struct json_walk){
		.object = true, .known = m + 1, .last = m + 1 + m->own, .moved = w->moved};
}

struct json_walk json_walk_moved(struct json_walk w, const char *from, const char *to)
{
	ptrdiff_t moved = (ptrdiff_t)((uintptr_t)to - (uintptr_t)from);
	if (w.p) {
		w.p += moved;
		w.end += moved;
	}
	w.moved += moved;
	return w;
}

static bool next_known(struct json_walk *w, struct str *ret_key, struct str *ret_value)
{
	const struct json_member *m = w->known;
	if (m == w->last)
		return false;
	w->known += 1 + m->own;
	w->came = m;
	if (ret_key)
		*ret_key = (struct str){m->key.p + w->moved, m->key.n};
	if (ret_value)
		*ret_value = (struct str){m->value.p + w->moved, m->value.n};
	return true;
}

bool json_next(struct json_walk *w, struct str *ret_key, struct str *ret_value)
{
	if (w->known)
		return next_known(w, ret_key, ret_value);
	const char *p = skip_space(w->p, w->end);
	if (p < w->end && *p == ',')
		p = skip_space(p + 1, w->end);
	if (p == w->end || *p == ']' || *p == '}')
		return false;
	struct str key = {p, 0};
	if (w->object) {
		const char *behind = skip_string(p, w->end);
		key = (struct str){p + 1, (size_t)(behind - p) - (behind - p > 1 ? 2 : 1)};
		p = skip_space(behind, w->end);
		p = skip_space(p + (p < w->end), w->end);
	}
	w->p = skip_value(p, w->end);
	if (ret_key)
		*ret_key = key;
	if (ret_value)
		*ret_value = (struct str){p, (size_t)(w->p - p)};
	return true;
}

bool json_get(struct str object, const char *name, struct str *ret_value)
{
	struct str key, value;
	struct json_walk w = json_walk(object);
	while (w.object && json_next(&w, &key, &value)) {
		if (!json_string_is(key, name))
			continue;
		*ret_value = value;
		return true;
	}
	return false;
}

/* The character an escape letter stands for. */
static char unescape(char letter)
{
	switch (letter) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return letter; /* '"', '\\', '/' */
	}
}

/* The code point of a \u escape at p, and over it; a pair of surrogates counts as one. */
static uint32_t take_u(const char **p, const char *end)
{
	if (end - *p < 6)
		return 0xdc00; /* cannot be in checked text: as good as a lone surrogate */
	uint32_t high = (uint32_t)hex4(*p + 2);
	*p += 6;
	if (high < 0xd800 || high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
		return high;
	uint32_t low = (uint32_t)hex4(*p + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return high;
	*p += 6;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* One character between the quotes as UTF-8 into out; 0 for a lone surrogate. Bytes that are not
 * escaped come one at a time. */
static size_t take_char(const char **p, const char *end, char out[4])
{
	if (**p != '\\' || end - *p < 2) {
		out[0] = *(*p)++;
		return 1;
	}
	if ((*p)[1] != 'u') {
		out[0] = unescape((*p)[1]);
		*p += 2;
		return 1;
	}
	uint32_t c = take_u(p, end);
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if ((c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	size_t n = c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((n == 3 ? 0xe0 : 0xf0) | c);
	return n;
}

bool json_string_means(struct str inner, const char *text)
{
	const char *p = inner.p, *end = inner.p + inner.n;
	while (p < end) {
		if (*p != '\\') {
			if (!*text || *p++ != *text++)
				return false;
			continue;
		}
		char out[4];
		size_t n = take_char(&p, end, out);
		if (!n)
			return false;
		for (size_t i = 0; i < n; i++, text++)
			if (!*text || *text != out[i])
				return false;
	}
	return !*text;
}

struct units {
	const char *p, *end;
	char out[4];
	size_t n, i;
};

/* The next byte of what is meant; -1 at the end; lone surrogates are units of their own. */
static int take_unit(struct units *u)
{
	if (u->i == u->n) {
		if (u->p == u->end)
			return -1;
		const char *from = u->p;
		u->n = take_char(&u->p, u->end, u->out);
		u->i = 0;
		if (!u->n) /* past all bytes, and different for each */
			return 0x100 + (u->end - from >= 6 ? hex4(from + 2) : 0);
	}
	return (unsigned char)u->out[u->i++];
}

bool json_string_eq(struct str a, struct str b)
{
	if ((!a.n || !memchr(a.p, '\\', a.n)) && (!b.n || !memchr(b.p, '\\', b.n)))
		return str_eq(a, b);
	struct units ua = {.p = a.p, .end = a.p + a.n}, ub = {.p = b.p, .end = b.p + b.n};
	int unit;
	do {
		unit = take_unit(&ua);
		if (unit != take_unit(&ub))
			return false;
	} while (unit >= 0);
	return true;
}

enum err json_once(struct str object)
{
	struct str keys[JSON_ONCE_MAX], value;
	size_t count = 0;
	struct json_walk w = json_walk(object);
	struct str key;
	while (w.object && json_next(&w, &key, &value)) {
		if (count == JSON_ONCE_MAX)
			return ERR_TOO_LARGE;
		for (size_t i = 0; i < count; i++)
			if (json_string_eq(keys[i], key))
				return ERR_PARAMS;
		keys[count++] = key;
	}
	return ERR_OK;
}

enum err json_decode(struct str value, char *out, size_t *ret_n)
{
	if (value.n >= 2 && *value.p == '"') {
		value.p++;
		value.n -= 2;
	}
	const char *p = value.p, *end = value.p + value.n;
	size_t n = 0;
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash ? slash : end) - p);
		memmove(out + n, p, run); /* out may be where the value stands */
		n += run;
		p += run;
		if (p == end)
			break;
		char bytes[4];
		size_t step = take_char(&p, end, bytes);
		if (!step)
			return ERR_PARAMS;
		memcpy(out + n, bytes, step);
		n += step;
	}
	*ret_n = n;
	return ERR_OK;
}

enum err json_decode_int(struct str value, int64_t *ret_n)
{
	struct str v = json_trim(value);
	bool minus = v.n && *v.p == '-';
	size_t i = minus;
	int64_t n = 0;
	if (i == v.n)
		return ERR_PARAMS;
	for (; i < v.n; i++) {
		int digit = v.p[i] - '0';
		if (digit < 0 || digit > 9 || __builtin_mul_overflow(n, 10, &n) ||
			__builtin_sub_overflow(n, digit, &n)) /* downwards: INT64_MIN has no twin */
			return ERR_PARAMS;
	}
	if (!minus && __builtin_sub_overflow((int64_t)0, n, &n))
		return ERR_PARAMS;
	*ret_n = n;
	return ERR_OK;
}
