#include "core/role.h"

static const char *const words[] = {
#define ROLE(name, word) word,
	ROLES(ROLE)
#undef ROLE
};

const char *role_word(enum role role)
{
	return words[role];
}

enum role role_parse(struct str word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_is(word, words[i]))
			return (enum role)i;
	return ROLE_NONE;
}
