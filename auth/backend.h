/* backend.h: asks the operator's own backend whether somebody may do something (the section authorize of
 * the configuration, docs/WEBHOOKS.md): one signed POST (auth/signed_request.h), and its word counts.
 *
 * No answer in time, or none that can be read, is answered as authorize.when_down says. After
 * BACKEND_FAILURES of them in a row a worker does not ask for BACKEND_REST_MS: a backend that hangs would
 * else hold up everybody for its whole timeout. At most BACKEND_ASKED_MAX questions of a worker are under
 * way; more are answered as if it was down. A drain answers them all so.
 *
 * Thread: any worker, for itself. Configuring while no worker runs or all are paused. */
#pragma once

#include "core/fetch.h"
#include "core/json_out.h"
#include "core/principal.h"
#include "core/refusal.h"

enum backend_act { BACKEND_CONNECT, BACKEND_JOIN, BACKEND_PUBLISH, BACKEND_CREATE };

enum {
	BACKEND_ASKED_MAX = 512,
	BACKEND_FAILURES = 5,
	BACKEND_REST_MS = 1000,
	BACKEND_MESSAGE_MAX = 256,
	BACKEND_ROLE_MAX = 16,
};

struct backend_options {
	struct str url, secret, previous_secret; /* url n 0: nobody is asked */
	unsigned acts;                           /* a bit for each */
	long timeout_ms;
	bool allow_when_down;
	const struct network *networks; /* see core/fetch.h */
	size_t network_count;
};

/* What is pointed to is not copied, and good until the second change after this. */
void backend_configure(const struct backend_options *o);

extern unsigned backend_acts; /* only read outside */

static inline bool backend_asked(enum backend_act act)
{
	return backend_acts >> act & 1;
}

/* What it said; err: ERR_OK yes, ERR_FORBIDDEN no, ERR_OVERLOADED nothing, and then nobody may. */
struct backend_answer {
	enum err err;
	struct refusal why; /* of all but yes; its message lies in the question */
	struct str role;    /* of a yes, and n 0 if it gives none; the same */
};

/* A question on its way: whoever waits for it has a pointer, until done() was called. */
struct backend_question;
typedef void backend_done(void *context, const struct backend_answer *answer);

/* Begins one; its members beside type, time, user and name are written into the result. */
struct json_out *backend_begin(
	enum backend_act act, const struct principal *who, struct backend_question **ret_q);
/* Asks; done() is called once, never before this returns, and the question is gone after it. */
void backend_ask(struct backend_question *q, backend_done *done, void *context);
/* Whether many more may be asked: else one that need not be asked yet is asked later. */
bool backend_is_at_ease(void);
/* done() will not be called. */
void backend_cancel(struct backend_question **q);

/* Whatever it answers is kept from what asks: for whoever wants to say it. */
extern const struct worker_part backend_part;
