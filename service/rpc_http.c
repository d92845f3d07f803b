#include "service/rpc_http.h"

#include "core/mem.h"
#include "service/dispatch.h"
#include "service/http_bearer.h"
#include "service/quota.h"

enum { BODY_MAX = 128 * 1024, ANSWER_MAX = FRAME_MAX_BYTES };

struct rpc {
	struct caller caller;
	struct http_bearer bearer;
	struct http_exchange *x;
};

static void write_error(struct buf *b, enum err err, const struct refusal *why)
{
	struct json_out o = JSON_OUT(b);
	call_error_text(&o, (struct str){0}, err, why);
}

static void finish(struct rpc *r, int status, struct buf *answer)
{
	if (answer->n || answer->err)
		http_reply_json(r->x, status, answer);
	else
		http_reply(r->x, 204, NULL, STR(""));
	caller_end(&r->caller, true);
	free(r);
}

static void on_answers(struct caller *c, struct answer *list, size_t count, bool array)
{
	struct rpc *r = (struct rpc *)c;
	struct buf b = BUF_INIT(ANSWER_MAX);
	for (size_t i = 0; i < count; i++) {
		if (array)
			buf_addc(&b, i ? ',' : '[');
		buf_adds(&b, frame_str(list[i].frame));
		frame_unref(&list[i].frame);
	}
	if (array && count)
		buf_addc(&b, ']');
	if (b.err) { /* all has been done; only the telling is too much */
		buf_free(&b);
		write_error(&b, ERR_TOO_LARGE,
			&(struct refusal){.limit = ANSWER_MAX,
				.message = "The answers are too large together: send fewer "
					   "requests in one batch."});
	}
	finish(r, 200, &b);
}

/* Nothing subscribes without a session. */
static void on_event(struct caller *c, struct frame *f)
{
	(void)c;
	frame_unref(&f);
}

static struct str on_address(const struct caller *c)
{
	return ((const struct rpc *)c)->x->in.peer;
}

static const struct caller_ops ops = {
	.answers = on_answers, .event = on_event, .address = on_address};

static void on_known(struct http_bearer *b, struct principal *who)
{
	struct rpc *r = (struct rpc *)(void *)((char *)b - offsetof(struct rpc, bearer));
	if (!who) {
		free(r);
		return;
	}
	struct str body = r->x->in.body;
	struct refusal why = {0};
	if (!(who->scopes & SCOPE_ADMIN) && quota_requests(who->user, dispatch_count(body), &why)) {
		http_refuse_why(r->x, ERR_RATE_LIMITED, &why);
		principal_unref(&who);
		free(r);
		return;
	}
	caller_begin(&r->caller, &ops, who);
	principal_unref(&who);
	size_t at = 0;
	if (json_check(body, &at)) { /* told by the status, too */
		struct buf answer = BUF_INIT(4096);
		write_error(&answer, ERR_PARSE, &(struct refusal){0});
		finish(r, 400, &answer);
		return;
	}
	dispatch(&r->caller, body, 0);
}

static void serve(struct http_exchange *x)
{
	if (x->in.query.n) {
		http_refuse(x, ERR_REQUEST, .message = "Nothing is taken in the address here.");
		return;
	}
	struct rpc *r = mem_new(struct rpc);
	r->x = x;
	r->bearer = (struct http_bearer){.x = x, .done = on_known};
	http_bearer_check(&r->bearer);
}

const struct http_route rpc_routes[] = {
	{.path = "/v1/rpc",
		.verbs = HTTP_POST,
		.serve = serve,
		.body_max = BODY_MAX,
		.cors = HTTP_CORS_LISTED},
	{0},
};
