/* Tickets over HTTP: POST /v1/tickets, and what an address brings. */
#include "core/form.h"
#include "core/json_out.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/params.h"
#include "service/http_bearer.h"
#include "service/quota.h"
#include "service/ticket.h"

#include <openssl/crypto.h>

enum { BODY_MAX = 1024, ANSWER_MAX = 256 };

struct ticket_params {
	struct str origin;
};

static const struct field fields[] = {
	FIELD(struct ticket_params, origin, STRING, false, 1, TICKET_ORIGIN_MAX),
	{0},
};

struct asking {
	struct http_bearer bearer; /* first */
	struct str origin;
	char text[BODY_MAX];
};

static void answer(struct asking *a, const struct principal *who)
{
	char ticket[TICKET_TEXT + 1];
	unsigned expires_in = 0;
	struct refusal why = {0};
	enum err err = ticket_issue(who, a->origin, ticket, &expires_in, &why);
	if (err) {
		http_refuse_why(a->bearer.x, err, &why);
		return;
	}
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_text(&o, "ticket", ticket);
	json_int(&o, "expires_in", expires_in);
	json_close(&o, '}');
	http_reply_json(a->bearer.x, 200, &b);
}

static void on_caller(struct http_bearer *b, struct principal *who)
{
	struct asking *a = (struct asking *)b;
	struct refusal why = {0};
	if (who && !(who->scopes & SCOPE_ADMIN) && quota_requests(who->user, 1, &why))
		http_refuse_why(b->x, ERR_RATE_LIMITED, &why);
	else if (who)
		answer(a, who);
	principal_unref(&who);
	free(a);
}

/* False: answered with a refusal. The Origin that will use it: of the body, or else of the request. */
static bool read_body(struct http_exchange *x, struct asking *a)
{
	struct str body = json_trim(x->in.body);
	struct ticket_params params = {0};
	struct params_problem problem = {0};
	size_t at = 0;
	a->origin = x->in.origin;
	if (!x->in.body.n)
		return true;
	if (x->in.body.n > sizeof(a->text) || json_check(x->in.body, &at) ||
		json_kind(body) != JSON_OBJECT) {
		http_refuse(x, ERR_PARSE, .message = "The body is {\"origin\": …}, or empty.");
		return false;
	}
	memcpy(a->text, body.p, body.n);
	body.p = a->text;
	enum err err = params_decode(body, fields, &params, &problem);
	if (err) {
		http_refuse(x, err, .field = problem.field, .limit = problem.limit,
			.message = "The body is {\"origin\": …}, or empty.");
		return false;
	}
	if (params.origin.n)
		a->origin = params.origin;
	return true;
}

static void serve(struct http_exchange *x)
{
	if (x->in.query.n) {
		http_refuse(x, ERR_REQUEST, .message = "Nothing is taken in the address here.");
		return;
	}
	struct asking *a = mem_new(struct asking);
	a->bearer = (struct http_bearer){.x = x, .done = on_caller};
	if (read_body(x, a))
		http_bearer_check(&a->bearer);
	else
		free(a);
}

struct http_ticket http_ticket(const struct http_request *in)
{
	struct http_ticket t = {.err = ERR_REQUEST};
	struct str ticket = {0};
	if (in->authorization.n)
		return t;
	char *text = mem_alloc(in->query.n + 1);
	bool one = form_get(in->query, "ticket", text, &ticket) == ERR_OK;
	if (one && quota_token(in->peer, &t.why)) {
		metric_add(METRIC_AUTH_LIMITED, 1);
		t.err = ERR_RATE_LIMITED;
	} else if (one) {
		t.who = ticket_use(ticket, in->origin, in->peer);
		t.err = t.who ? ERR_OK : ERR_UNAUTHENTICATED;
	}
	if (t.err == ERR_UNAUTHENTICATED) {
		metric_add(METRIC_AUTH_FAILED, 1);
		quota_token_failed(in->peer);
	}
	OPENSSL_cleanse(text, in->query.n);
	free(text);
	return t;
}

const struct http_route ticket_routes[] = {
	{.path = "/v1/tickets",
		.verbs = HTTP_POST,
		.serve = serve,
		.body_max = BODY_MAX,
		.cors = HTTP_CORS_LISTED},
	{0},
};
