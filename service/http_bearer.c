#include "service/http_bearer.h"

#include "service/quota.h"

#include <stdio.h>

enum { REFUSAL_MAX = 4096, RETRY_S = 5 };

static void refuse(struct http_exchange *x, enum err err, int status, const char *challenge,
	const struct refusal *why)
{
	struct buf b = BUF_INIT(REFUSAL_MAX);
	struct json_out o = JSON_OUT(&b);
	call_error_text(&o, (struct str){0}, err, why);
	char seconds[32];
	snprintf(seconds, sizeof(seconds), "%lld", (long long)why->retry_after);
	if (challenge)
		http_header(x, "WWW-Authenticate", str_of(challenge));
	if (why->retry_after)
		http_header(x, "Retry-After", str_of(seconds));
	http_reply_json(x, status, &b);
}

void http_refuse_why(struct http_exchange *x, enum err err, const struct refusal *why)
{
	struct refusal full = *why;
	if (err == ERR_OVERLOADED && !full.retry_after)
		full.retry_after = RETRY_S;
	refuse(x, err, err_info(err)->http,
		err == ERR_UNAUTHENTICATED     ? "Bearer error=\"invalid_token\""
			: err == ERR_FORBIDDEN ? "Bearer error=\"insufficient_scope\""
					       : NULL,
		&full);
}

static void on_checked(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct http_bearer *b = (struct http_bearer *)a;
	(void)why; /* the check has said it */
	struct refusal why_not = {.retry_after = err == ERR_RATE_LIMITED};
	if (err == ERR_RATE_LIMITED)
		quota_token(b->x->in.peer, &why_not);
	if (err)
		http_refuse_why(b->x, err, &why_not);
	b->done(b, err ? NULL : who);
}

void http_bearer_check(struct http_bearer *b)
{
	struct str token = {0};
	enum err err = authn_bearer_token(b->x->in.authorization, &token);
	if (!err) {
		b->check.done = on_checked;
		authn_check(&b->check, token, b->x->in.peer);
		return;
	}
	if (err == ERR_NOT_FOUND)
		refuse(b->x, ERR_UNAUTHENTICATED, 401, "Bearer", &(struct refusal){0});
	else
		refuse(b->x, ERR_REQUEST, 400, "Bearer error=\"invalid_request\"",
			&(struct refusal){.message = "Authorization must be one Bearer token."});
	b->done(b, NULL);
}
