/* role.h: what somebody is in a room; a later one may more. Any thread. */
#pragma once

#include "core/str.h"

/* ROLE(name, word) */
#define ROLES(ROLE) \
	ROLE(NONE, "none") /* nobody said anything; enough for no private room */ \
	ROLE(BANNED, "banned") \
	ROLE(VIEWER, "viewer") /* receives, does not signal or publish */ \
	ROLE(MEMBER, "member") \
	ROLE(MODERATOR, "moderator") \
	ROLE(OWNER, "owner")

enum role {
#define ROLE(name, word) ROLE_##name,
	ROLES(ROLE)
#undef ROLE
};

const char *role_word(enum role role);
enum role role_parse(struct str word); /* ROLE_NONE for other words */
