/* scope_set.h: what a token is asked for and given: the service's own scopes, and the words of
 * OpenID Connect that this issuer knows. Any thread. */
#pragma once

#include "core/principal.h"

struct scope_set {
	uint32_t scopes; /* of enum scope */
	bool openid, profile;
	bool offline; /* "offline_access": a refresh token */
};

enum { SCOPE_SET_TEXT_MAX = SCOPES_TEXT_MAX + 32 };

/* Unknown words are passed over. */
struct scope_set scope_set_parse(struct str words);
struct scope_set scope_set_common(struct scope_set a, struct scope_set b);
struct scope_set scope_set_both(struct scope_set a, struct scope_set b);
bool scope_set_empty(struct scope_set s);

/* The words; out has room for SCOPE_SET_TEXT_MAX bytes. */
struct str scope_set_text(struct scope_set s, char *out);

/* Takes the next word off a text with spaces between words; n 0: there is none. */
struct str word_next(struct str *rest);
bool words_have(struct str words, const char *word);
