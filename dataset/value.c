#include "dataset/value.h"

#include "auth/b64url.h"
#include "core/json_out.h"
#include "core/json_scan.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Of SQLite. */

struct value value_of(sqlite3_stmt *s, int column)
{
	struct value v = {0};
	switch (sqlite3_column_type(s, column)) {
	case SQLITE_INTEGER:
		v.kind = VALUE_INT;
		v.number = sqlite3_column_int64(s, column);
		break;
	case SQLITE_FLOAT:
		v.kind = VALUE_REAL;
		v.real = sqlite3_column_double(s, column);
		break;
	case SQLITE_TEXT:
		v.kind = VALUE_TEXT;
		v.bytes.p = (const char *)sqlite3_column_text(s, column);
		v.bytes.n = (size_t)sqlite3_column_bytes(s, column);
		break;
	case SQLITE_BLOB:
		v.kind = VALUE_BLOB;
		v.bytes.p = sqlite3_column_blob(s, column);
		v.bytes.n = (size_t)sqlite3_column_bytes(s, column);
		break;
	default:
		break;
	}
	return v;
}

enum err value_bind(sqlite3_stmt *s, int index, struct value v)
{
	/* without an address SQLite would bind NULL */
	const char *bytes = v.bytes.n ? v.bytes.p : "";
	int rc = SQLITE_OK;
	switch (v.kind) {
	case VALUE_NULL:
		rc = sqlite3_bind_null(s, index);
		break;
	case VALUE_INT:
		rc = sqlite3_bind_int64(s, index, v.number);
		break;
	case VALUE_REAL:
		rc = sqlite3_bind_double(s, index, v.real);
		break;
	case VALUE_TEXT:
		rc = sqlite3_bind_text64(s, index, bytes, v.bytes.n, SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	case VALUE_BLOB:
		rc = sqlite3_bind_blob64(s, index, bytes, v.bytes.n, SQLITE_TRANSIENT);
		break;
	}
	return rc == SQLITE_OK        ? ERR_OK
		: rc == SQLITE_TOOBIG ? ERR_TOO_LARGE
		: rc == SQLITE_NOMEM  ? ERR_NOMEM
				      : ERR_INTERNAL;
}

bool value_eq(struct value a, struct value b)
{
	if (a.kind != b.kind)
		return false;
	switch (a.kind) {
	case VALUE_INT:
		return a.number == b.number;
	case VALUE_REAL:
		return memcmp(&a.real, &b.real, sizeof(a.real)) == 0;
	case VALUE_TEXT:
	case VALUE_BLOB:
		return str_eq(a.bytes, b.bytes);
	default:
		return true;
	}
}

/* To JSON. */

/* Up to here each whole number is a double, too, so that no reader of JSON changes it. */
#define PLAIN_INT_MAX ((int64_t)1 << 53)

/* Room for the longest double: sign, 17 digits, point, exponent. */
enum { REAL_TEXT = 32 };

/* The fewest digits that read back as the same. Fifteen always come back from a normal double, and %g leaves out the
 * zeros behind them; a subnormal one has fewer that count. */
static void real_text(double real, char out[REAL_TEXT])
{
	if (fabs(real) < 1e15 && real == trunc(real)) { /* most of them, and -0.0 */
		snprintf(out, REAL_TEXT, "%.1f", real);
		return;
	}
	int digits = fabs(real) < DBL_MIN ? 1 : 15;
	do
		snprintf(out, REAL_TEXT, "%.*g", digits, real);
	while (digits++ < 17 && strtod(out, NULL) != real);
	if (!strpbrk(out, ".e"))
		snprintf(out + strlen(out), REAL_TEXT - strlen(out), ".0");
}

static void write_real(struct buf *b, double real)
{
	char text[REAL_TEXT];
	if (isnan(real)) {
		buf_adds(b, STR("null"));
	} else if (isinf(real)) {
		buf_adds(b, real > 0 ? STR("{\"$r\":\"Inf\"}") : STR("{\"$r\":\"-Inf\"}"));
	} else {
		real_text(real, text);
		buf_adds(b, str_of(text));
	}
}

static void write_int(struct buf *b, int64_t n)
{
	bool plain = n >= -PLAIN_INT_MAX && n <= PLAIN_INT_MAX;
	buf_addf(b, plain ? "%" PRId64 : "{\"$i\":\"%" PRId64 "\"}", n);
}

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void write_base64(struct buf *b, struct str bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	char part[1024];
	size_t n = 0;
	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t left = bytes.n - i;
		uint32_t w = (uint32_t)p[i] << 16;
		if (left > 1)
			w |= (uint32_t)p[i + 1] << 8;
		if (left > 2)
			w |= p[i + 2];
		part[n++] = digits64[w >> 18];
		part[n++] = digits64[w >> 12 & 63];
		part[n++] = left > 1 ? digits64[w >> 6 & 63] : '=';
		part[n++] = left > 2 ? digits64[w & 63] : '=';
		if (n == sizeof(part)) {
			buf_add(b, part, n);
			n = 0;
		}
	}
	buf_add(b, part, n);
}

static void write_tagged(struct buf *b, const char *tag, struct str bytes)
{
	buf_addf(b, "{\"%s\":\"", tag);
	write_base64(b, bytes);
	buf_adds(b, STR("\"}"));
}

void value_write(struct buf *b, struct value v)
{
	switch (v.kind) {
	case VALUE_NULL:
		buf_adds(b, STR("null"));
		break;
	case VALUE_INT:
		write_int(b, v.number);
		break;
	case VALUE_REAL:
		write_real(b, v.real);
		break;
	case VALUE_TEXT:
		if (str_utf8_valid(v.bytes))
			json_add_string(b, v.bytes);
		else
			write_tagged(b, "$t", v.bytes);
		break;
	case VALUE_BLOB:
		write_tagged(b, "$b", v.bytes);
		break;
	}
}

void value_write_big(struct buf *b, struct value v)
{
	buf_addf(b, "{\"$big\":%zu}", v.bytes.n);
}

/* How long its JSON is, exactly for what can be large. */
static size_t length_of(struct value v)
{
	size_t tagged = sizeof("{\"$b\":\"\"}") - 1 + (v.bytes.n + 2) / 3 * 4;
	if (v.kind == VALUE_BLOB)
		return tagged;
	if (v.kind != VALUE_TEXT)
		return REAL_TEXT;
	if (!str_utf8_valid(v.bytes))
		return tagged;
	size_t n = 2;
	for (size_t i = 0; i < v.bytes.n; i++) {
		unsigned char c = (unsigned char)v.bytes.p[i];
		bool escaped = c < 0x20 || c == 0x7f || c == '"' || c == '\\';
		n += !escaped ? 1 : c && strchr("\b\t\n\f\r\"\\", c) ? 2 : 6;
	}
	return n;
}

/* Marks the largest cells, until what is left of the row is short enough. */
static void choose_big(
	const struct value *cells, size_t count, const bool *whole, bool big[CELLS_MAX])
{
	size_t lengths[CELLS_MAX], total = 2;
	for (size_t i = 0; i < count; i++) {
		lengths[i] = length_of(cells[i]);
		total += lengths[i] + 1;
		if (whole && whole[i])
			lengths[i] = 0;
	}
	while (total > CELL_BYTES_MAX) {
		size_t largest = 0;
		for (size_t i = 1; i < count; i++)
			if (lengths[i] > lengths[largest])
				largest = i;
		if (lengths[largest] <= REAL_TEXT)
			break; /* 256 numbers always fit */
		big[largest] = true;
		total -= lengths[largest] - REAL_TEXT;
		lengths[largest] = REAL_TEXT;
	}
}

void value_write_row_with(struct buf *b, const struct value *cells, size_t count, const bool *whole)
{
	bool big[CELLS_MAX] = {0};
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += REAL_TEXT + cells[i].bytes.n;
	if (bytes > CELL_BYTES_MAX / 6) /* no byte becomes more than six */
		choose_big(cells, count, whole, big);
	buf_addc(b, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_addc(b, ',');
		if (big[i])
			value_write_big(b, cells[i]);
		else
			value_write(b, cells[i]);
	}
	buf_addc(b, ']');
}

void value_write_row(struct buf *b, const struct value *cells, size_t count)
{
	value_write_row_with(b, cells, count, NULL);
}

/* As a record. */

void value_put(struct buf *b, struct value v)
{
	uint64_t bits = (uint64_t)v.number;
	if (v.kind == VALUE_REAL)
		memcpy(&bits, &v.real, sizeof(bits));
	record_put_int(b, v.kind);
	if (v.kind == VALUE_INT || v.kind == VALUE_REAL)
		record_put_int(b, bits);
	else if (v.kind != VALUE_NULL)
		record_put_str(b, v.bytes);
}

struct value value_get(struct record_reader *r, size_t max)
{
	struct value v = {.kind = (enum value_kind)record_int(r, VALUE_BLOB)};
	uint64_t bits = 0;
	if (v.kind == VALUE_INT || v.kind == VALUE_REAL)
		bits = record_int(r, UINT64_MAX);
	else if (v.kind != VALUE_NULL)
		v.bytes = record_str(r, max);
	if (v.kind == VALUE_REAL)
		memcpy(&v.real, &bits, sizeof(bits));
	else
		v.number = (int64_t)bits;
	return r->bad ? (struct value){0} : v;
}

/* From JSON. */

static enum err no_cell(const char **ret_why, const char *why)
{
	*ret_why = why;
	return ERR_PARAMS;
}

static bool is_whole(struct str number)
{
	for (size_t i = 0; i < number.n; i++)
		if (strchr(".eE", number.p[i]))
			return false;
	return true;
}

static enum err read_number(struct str json, struct value *ret, const char **ret_why)
{
	char text[CELL_NUMBER_MAX + 1];
	struct value v = {.kind = VALUE_INT};
	if (json_decode_int(json, &v.number) == ERR_OK) {
		*ret = v;
		return ERR_OK;
	}
	if (json.n > CELL_NUMBER_MAX)
		return no_cell(ret_why, "is a number of too many digits");
	memcpy(text, json.p, json.n);
	text[json.n] = 0;
	v = (struct value){.kind = VALUE_REAL, .real = strtod(text, NULL)};
	if (isinf(v.real))
		return no_cell(ret_why,
			is_whole(json) ? "is a number past what a real can hold"
				       : "is past what a real can hold: say {\"$r\": \"Inf\"} for "
					 "infinity");
	*ret = v;
	return ERR_OK;
}

/* Decodes in place: into the alphabet of b64url.h first, whose decoder is as strict. */
static bool decode_base64(struct str *text, char *arena)
{
	size_t n = text->n;
	if (n % 4)
		return false;
	for (int i = 0; i < 2 && n && arena[n - 1] == '='; i++)
		n--;
	for (size_t i = 0; i < n; i++) {
		if (arena[i] == '-' || arena[i] == '_')
			return false;
		if (arena[i] == '+' || arena[i] == '/')
			arena[i] = arena[i] == '+' ? '-' : '_';
	}
	return b64url_decode((struct str){arena, n}, (unsigned char *)arena, &text->n) == ERR_OK;
}

/* One spelling for each: as we write it. */
static bool read_int_text(struct str text, int64_t *ret)
{
	char again[24];
	if (!text.n || text.n > 20 || json_decode_int(text, ret) != ERR_OK)
		return false;
	snprintf(again, sizeof(again), "%" PRId64, *ret);
	return str_is(text, again);
}

static enum err read_tagged(struct str json, char *arena, struct value *ret, const char **ret_why)
{
	struct json_walk w = json_walk(json);
	struct str tag, item, text = {arena, 0};
	struct value v = {0};
	if (!json_next(&w, &tag, &item) || json_next(&w, NULL, NULL))
		return no_cell(ret_why, "is an object, which as a cell has one member: a tag");
	if (json_string_is(tag, "$big"))
		return no_cell(
			ret_why, "is a cell that was too large to be told, and says nothing");
	if (json_kind(item) != JSON_STRING || json_decode(item, arena, &text.n) != ERR_OK)
		return no_cell(ret_why, "has a tag with something else than a string");
	if (json_string_is(tag, "$i")) {
		v.kind = VALUE_INT;
		if (!read_int_text(text, &v.number))
			return no_cell(ret_why, "has a $i that is no whole number of 64 bits");
	} else if (json_string_is(tag, "$r")) {
		v.kind = VALUE_REAL;
		if (!str_is(text, "Inf") && !str_is(text, "-Inf"))
			return no_cell(ret_why, "has a $r that is neither Inf nor -Inf");
		v.real = *text.p == '-' ? -HUGE_VAL : HUGE_VAL;
	} else if (json_string_is(tag, "$b") || json_string_is(tag, "$t")) {
		v.kind = json_string_is(tag, "$b") ? VALUE_BLOB : VALUE_TEXT;
		v.bytes.p = arena;
		if (!decode_base64(&text, arena))
			return no_cell(ret_why, "has bytes that are no base64 with its padding");
		v.bytes = text;
	} else {
		return no_cell(ret_why, "has a tag that is not $b, $i, $r or $t");
	}
	*ret = v;
	return ERR_OK;
}

enum err value_read(struct str json, char *arena, struct value *ret, const char **ret_why)
{
	struct value v = {.kind = VALUE_TEXT};
	json = json_trim(json);
	switch (json_kind(json)) {
	case JSON_NULL:
		*ret = (struct value){.kind = VALUE_NULL};
		return ERR_OK;
	case JSON_NUMBER:
		return read_number(json, ret, ret_why);
	case JSON_STRING:
		v.bytes.p = arena;
		if (json_decode(json, arena, &v.bytes.n) != ERR_OK)
			return no_cell(ret_why, "holds half of a surrogate pair, which is no text");
		*ret = v;
		return ERR_OK;
	case JSON_OBJECT:
		return read_tagged(json, arena, ret, ret_why);
	case JSON_TRUE:
	case JSON_FALSE:
		return no_cell(ret_why, "is true or false, which SQLite has not: say 1 or 0");
	default:
		return no_cell(ret_why, "is an array, and no cell");
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool value_read_seq(struct str text, int64_t *ret_seq)
{
	return text.n && is_digit(text.p[0]) && is_digit(text.p[text.n - 1]) &&
		(text.n == 1 || text.p[0] != '0') && json_decode_int(text, ret_seq) == ERR_OK;
}
