/* caller.h: what a rule knows of who asks: their values as SQL parameters, and which columns are there for them.
 *
 *   :user :sub :iss :client   texts, as the token says; NULL where it does not
 *   :name                     the account's name, of accounts of our own; NULL for all others
 *   :scope_WORD               1 or 0; every character of the scope's word that is no letter or digit is _ here. Our own
 *                             scopes as they were granted, other words as the token's claims scope and scp say
 *   :claim_NAME               a claim of the token: text, integer, real, 1 or 0; of objects and arrays their JSON text;
 *                             NULL where it is absent
 *
 * Any thread. */
#pragma once

#include "core/principal.h"
#include "dataset/definition.h"
#include "dataset/layout.h"
#include "dataset/value.h"

/* Whether a rule may name this (":user"). */
bool caller_knows(struct str param);

/* The value of one that caller_knows(); lies in the principal, or in *ret_own, which is the caller's to free. */
struct value caller_value(const struct principal *who, struct str param, char **ret_own);

/* The claims of a token that a rule's text needs: claim() is told each, some more than once. */
void caller_claims(struct str rule, void (*claim)(void *context, struct str name), void *context);

/* Which columns of the layout are there for the caller, rules apart: ret_visible has a place for each. A hidden one is
 * as if it did not exist. */
void caller_columns(const struct definition *d, const struct layout *l, const struct principal *who,
	bool *ret_visible);
