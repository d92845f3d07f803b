#include "store/users.h"

#include <assert.h>

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The same rule stands in the schema, for what comes in by another way. */
bool user_name_valid(struct str name)
{
	if (name.n < 1 || name.n > USER_NAME_MAX || !is_letter_or_digit(name.p[0]))
		return false;
	for (size_t i = 1; i < name.n; i++)
		if (!is_letter_or_digit(name.p[i]) && name.p[i] != '.' && name.p[i] != '_' &&
			name.p[i] != '-')
			return false;
	return true;
}

struct range {
	unsigned first, last;
};

/* What makes the text around it read otherwise than it was written: marks and overrides of direction,
 * line and paragraph separators, annotations. (Unicode 15, Bidi_Control, and what is like it.) */
static const struct range turning[] = {{0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e},
	{0x2066, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}};

/* Spaces of all kinds, and what is drawn as nothing; all of it may stand in a name beside others. */
static const struct range unseen[] = {{' ', ' '}, {0xa0, 0xa0}, {0xad, 0xad}, {0x34f, 0x34f},
	{0x115f, 0x1160}, {0x1680, 0x1680}, {0x17b4, 0x17b5}, {0x180b, 0x180e}, {0x2000, 0x200d},
	{0x202f, 0x202f}, {0x205f, 0x2064}, {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164},
	{0xfe00, 0xfe0f}, {0xffa0, 0xffa0}, {0xe0000, 0xe0fff}};

static bool is_in(const struct range *ranges, size_t count, unsigned letter)
{
	for (size_t i = 0; i < count; i++)
		if (letter >= ranges[i].first && letter <= ranges[i].last)
			return true;
	return false;
}
#define IN(ranges, letter) is_in(ranges, sizeof(ranges) / sizeof(*(ranges)), letter)

/* The code point at p, of text that is well-formed. */
static unsigned letter_at(const char *p, size_t *ret_step)
{
	const unsigned char *b = (const unsigned char *)p;
	size_t step = *b < 0x80 ? 1 : *b < 0xe0 ? 2 : *b < 0xf0 ? 3 : 4;
	unsigned letter = step == 1 ? *b : *b & (0xffu >> (step + 1));
	for (size_t i = 1; i < step; i++)
		letter = letter << 6 | (b[i] & 0x3f);
	*ret_step = step;
	return letter;
}

bool user_display_name_valid(struct str name)
{
	bool seen = false;
	size_t step = 0;
	if (name.n > USER_DISPLAY_NAME_MAX || !str_utf8_valid(name) || str_has_control(name))
		return false;
	for (size_t i = 0; i < name.n; i += step) {
		unsigned letter = letter_at(name.p + i, &step);
		if (IN(turning, letter))
			return false;
		seen |= !IN(unseen, letter);
	}
	return seen;
}

struct user_record user_record_of(const struct store_op *op, size_t row)
{
	assert(op->verb == STORE_USER_GET || op->verb == STORE_USER_LIST);
	struct user_record user = {
		.name = store_str(op, row, 0),
		.display_name = store_str(op, row, 1),
	};
	size_t column = 2;
	if (op->verb == STORE_USER_GET)
		user.password = store_str(op, row, column++);
	user.created_at = store_int(op, row, column);
	user.disabled_at = store_int(op, row, column + 1);
	user.second_factor = op->verb == STORE_USER_GET && store_int(op, row, column + 2);
	return user;
}
