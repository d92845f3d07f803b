#include "service/handshake.h"

#include "core/mem.h"
#include "core/form.h"
#include "core/metrics.h"
#include "service/authn.h"
#include "service/quota.h"
#include "service/routes.h"
#include "service/ticket.h"

static bool lists_protocol(struct str list)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str word = {list.p, comma ? (size_t)(comma - list.p) : list.n};
		size_t step = word.n + (comma ? 1 : 0);
		list.p += step;
		list.n -= step;
		while (word.n && *word.p == ' ')
			word.p++, word.n--;
		while (word.n && word.p[word.n - 1] == ' ')
			word.n--;
		if (str_is(word, "signalbox.v1"))
			return true;
	}
	return false;
}

/* What is wrong with the request itself, or NULL. */
static const char *fault(const struct handshake *h, bool internal)
{
	const struct http_request *in = h->request;
	if (strcasecmp(h->upgrade, "websocket") != 0)
		return "Only an upgrade to websocket is possible here.";
	if (internal)
		return "There are no sessions at the internal address.";
	if (!str_is(in->path, "/ws") || in->verb != HTTP_GET || in->head)
		return "WebSockets are opened with GET /ws.";
	if (h->protocols_length > HANDSHAKE_PROTOCOLS_MAX)
		return "Sec-WebSocket-Protocol is too long: list signalbox.v1 and nothing else. A "
		       "token belongs into session.open.";
	if (!lists_protocol((struct str){h->protocols, (size_t)h->protocols_length}))
		return "List the subprotocol signalbox.v1 in Sec-WebSocket-Protocol.";
	if (h->version_length != 2 || strcmp(h->version, "13") != 0)
		return "Sec-WebSocket-Version must be 13.";
	if (h->key_length != 24)
		return "Sec-WebSocket-Key must be 24 characters.";
	if (h->extensions_length > HANDSHAKE_EXTENSIONS_MAX)
		return "Sec-WebSocket-Extensions is too long.";
	if (h->has_body)
		return "A handshake has no body.";
	if (str_has_control(in->host) || str_has_control(in->origin))
		return "Host or Origin holds a control character.";
	return NULL;
}

static bool refuse(
	struct handshake_refusal *out, int status, const char *challenge, const char *message)
{
	*out = (struct handshake_refusal){status, challenge, {.message = message}};
	return false;
}

/* What its address may use. */
static bool has_room(const struct peer *peer, struct refusal *ret_why)
{
	struct str address = str_of(peer->text);
	if (peer->crowded) {
		metric_add(METRIC_CONNECTIONS_LIMITED, 1);
		*ret_why = quota_crowded();
	}
	return !peer->crowded && !quota_handshake(address, ret_why) &&
		!quota_opening(address, ret_why);
}

/* A handshake is answered at once. Where its token cannot be, because its issuer has to be asked, the
 * WebSocket begins, and the check goes on there: nothing is refused only because keys have changed. */
struct token_check {
	struct authn authn; /* first */
	bool done;
	enum err err;
	struct principal *who;
};

static void on_checked(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct token_check *c = (struct token_check *)a;
	c->done = true;
	c->err = err;
	c->who = who;
	(void)why; /* the check has said it */
}

static bool check_token(
	const struct http_request *in, struct peer *peer, struct handshake_refusal *out)
{
	struct str token = {0};
	enum err err = authn_bearer_token(in->authorization, &token);
	if (err == ERR_NOT_FOUND)
		return true;
	if (err)
		return refuse(out, 400, "Bearer error=\"invalid_request\"",
			"Authorization must be one Bearer token.");
	struct token_check c = {.authn = {.done = on_checked}};
	authn_check(&c.authn, token, in->peer);
	if (!c.done) {
		authn_cancel(&c.authn);
		peer->unproven = mem_copy(token);
		return true;
	}
	if (c.err == ERR_OVERLOADED) {
		refuse(out, 503, NULL, "The token's issuer cannot be reached; try again.");
		out->why.retry_after = 1;
		return false;
	}
	if (!c.err) {
		peer->token = c.who;
		return true;
	}
	if (c.err == ERR_RATE_LIMITED) {
		refuse(out, 429, NULL, "");
		out->why.retry_after = 1;
		quota_token(in->peer, &out->why);
		return false;
	}
	if (c.err == ERR_FORBIDDEN)
		return refuse(out, 403, "Bearer error=\"insufficient_scope\"",
			"The token does not allow this.");
	return refuse(out, 401, "Bearer error=\"invalid_token\"", "The token is not valid here.");
}

static bool check_ticket(
	const struct http_request *in, struct peer *peer, struct handshake_refusal *out)
{
	static const char one[] = "Send one ticket, or one token, not two credentials.";
	struct http_ticket t = http_ticket(in);
	if (t.err == ERR_REQUEST)
		return refuse(out, 400, "Bearer error=\"invalid_request\"", one);
	if (t.err == ERR_RATE_LIMITED) {
		refuse(out, 429, NULL, "");
		out->why = t.why;
		out->why.retry_after = t.why.retry_after ? t.why.retry_after : 1;
		return false;
	}
	if (t.err)
		return refuse(out, 401, "Bearer error=\"invalid_token\"",
			"The ticket is not valid here (any more).");
	peer->token = t.who;
	return true;
}

bool handshake_check(
	const struct handshake *h, struct peer *peer, struct handshake_refusal *ret_refusal)
{
	const struct http_request *in = h->request;
	const char *wrong = fault(h, peer->internal);
	struct str other;
	if (wrong)
		return refuse(ret_refusal, 400, NULL, wrong);
	if (in->origin.n && !origin_allowed(in->origin, in->host))
		return refuse(ret_refusal, 403, NULL, origin_refused);
	if (!form_has_only(in->query, (const char *const[]){"ticket", NULL}, &other))
		return refuse(ret_refusal, 400, NULL,
			"In the address only a ticket is taken; a token belongs into "
			"session.open.");
	struct refusal why;
	if (!has_room(peer, &why)) {
		*ret_refusal = (struct handshake_refusal){.status = 429, .why = why};
		return false;
	}
	return in->query.n ? check_ticket(in, peer, ret_refusal)
			   : check_token(in, peer, ret_refusal);
}
