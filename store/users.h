/* users.h: users as the store keeps them (schema/sql/001_settings_users.sql): what a name may be, and
 * a record out of an answer.
 *
 * A name is found in any case ("ann" finds Ann) but is kept as it was first written; what else is
 * kept or sent about a user uses the record's own spelling. Names have no ':' and no '|', so they can
 * be told from the other words that stand for a principal.
 *
 * Any thread. */
#pragma once

#include "store/store.h"

enum { USER_NAME_MAX = 64, USER_DISPLAY_NAME_MAX = 128 }; /* bytes */

#define USER_NAME_RULE \
	"A name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit."
#define USER_DISPLAY_NAME_RULE \
	"A display name has 1 to 128 bytes of UTF-8, nothing that controls or turns text around, " \
	"and " \
	"something to be seen."

bool user_name_valid(struct str name);
bool user_display_name_valid(struct str name);

struct user_record {
	struct str name, display_name;
	struct str password; /* a PHC string; n 0: none, or not asked for */
	int64_t created_at;  /* Unix seconds */
	int64_t disabled_at; /* 0: is not disabled */
	bool second_factor;  /* with STORE_USER_GET alone */
};

/* A row of STORE_USER_GET or STORE_USER_LIST that ended with ERR_OK. Its strings live as long as
 * the op. */
struct user_record user_record_of(const struct store_op *op, size_t row);
