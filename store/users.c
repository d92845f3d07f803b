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

bool user_display_name_valid(struct str name)
{
	if (name.n > USER_DISPLAY_NAME_MAX || !str_utf8_valid(name) || str_has_control(name))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] != ' ')
			return true;
	return false;
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
