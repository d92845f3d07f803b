/* check.h: the steps of the check of an access token, in their order, as one table: how each is
 * called in the log and in `token verify --explain`. Read-only, any thread. */
#pragma once

/* STEP(name, word, what it asks) */
#define CHECK_STEPS(STEP) \
	STEP(FORM, "form", \
		"Is it a JWT of at most 8 KiB, or else a token that an issuer is asked about?") \
	STEP(HEADER, "header", "Is the header one that can be followed?") \
	STEP(ISSUER, "issuer", "Is its issuer one of those configured?") \
	STEP(ALGORITHM, "algorithm", "May this issuer sign so?") \
	STEP(KEY, "key", "Does the issuer have the key?") \
	STEP(SIGNATURE, "signature", "Did that key sign this?") \
	STEP(ACTIVE, "active", "Does the issuer say that it is in force?") \
	STEP(CLAIMS, "claims", "Are the claims an object in which each stands once?") \
	STEP(AUDIENCE, "audience", "Is it meant for this service?") \
	STEP(BINDING, "binding", "May whoever holds it use it?") \
	STEP(TYPE, "type", "Is it an access token?") \
	STEP(TIMES, "times", "Is it in force now?") \
	STEP(SUBJECT, "subject", "Does it name a user?") \
	STEP(GRANT, "grant", "Can what it allows be understood?") \
	STEP(WITHDRAWN, "withdrawn", "Is it, its session, its client and its user still welcome?")

enum check_step {
#define STEP(name, word, asks) CHECK_##name,
	CHECK_STEPS(STEP)
#undef STEP
		CHECK_STEPS_COUNT
};

const char *check_step_word(enum check_step step);
const char *check_step_asks(enum check_step step);
