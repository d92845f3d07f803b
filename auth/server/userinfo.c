/* OpenID Connect Core section 5.3; the token as RFC 6750 sections 2.1 and 2.2 have it, never in an
 * address. */
#include "auth/server/access_token.h"
#include "auth/server/issuer.h"
#include "auth/server/scope_set.h"
#include "auth/server/token_endpoints.h"
#include "core/form.h"
#include "core/json_out.h"
#include "core/mem.h"
#include "store/store.h"
#include "store/users.h"

#include <openssl/crypto.h>
#include <time.h>

enum { ANSWER_MAX = 4096 };

struct asking {
	struct http_exchange *x;
	bool profile;
};

/* error NULL: nothing was sent, so there is nothing to say about it. */
static void refuse(struct http_exchange *x, int status, const char *error, const char *sentence)
{
	struct buf challenge = BUF_INIT(512), b = BUF_INIT(512);
	struct json_out o = JSON_OUT(&b);
	buf_addf(&challenge, "Bearer realm=\"signalbox\"");
	if (error)
		buf_addf(&challenge, ", error=\"%s\", error_description=\"%s\"", error, sentence);
	if (status != 503)
		http_header(x, "WWW-Authenticate", buf_str(&challenge));
	else
		http_header(x, "Retry-After", STR("2"));
	json_open(&o, NULL, '{');
	json_text(&o, "error", error ? error : "invalid_request");
	json_text(&o, "error_description", sentence);
	json_close(&o, '}');
	http_reply_json(x, status, &b);
	buf_free(&challenge);
}

static void got_user(struct store_op *op)
{
	struct asking asking = *(struct asking *)op->context;
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	struct user_record user = {0};
	free(op->context);
	if (!op->err)
		user = user_record_of(op, 0);
	if (op->err == ERR_NOT_FOUND || user.disabled_at) {
		refuse(asking.x, 401, "invalid_token", "The account is disabled.");
		return;
	}
	if (op->err) {
		refuse(asking.x, 503, "temporarily_unavailable", "Try again in a few seconds.");
		return;
	}
	json_open(&o, NULL, '{');
	json_str(&o, "sub", user.name);
	if (asking.profile) {
		json_str(&o, "name", user.display_name);
		json_str(&o, "preferred_username", user.name);
	}
	json_close(&o, '}');
	http_reply_json(asking.x, 200, &b);
}

static void answer(struct http_exchange *x, struct str text)
{
	struct access_token *token = NULL;
	if (access_token_read(text, time(NULL), &token) || !access_token_is_for_us(token)) {
		refuse(x, 401, "invalid_token", "The access token is not valid here.");
	} else if (!words_have(token->scope, "openid") || token->of_client) {
		refuse(x, 403, "insufficient_scope", "The access token has not the scope openid.");
	} else {
		struct asking *asking = mem_new(struct asking);
		*asking = (struct asking){x, words_have(token->scope, "profile")};
		store_ask(STORE_USER_GET, got_user, asking, STORE_TEXT(token->sub), STORE_END);
	}
	access_token_free(&token);
}

/* The token in the form of a POST. ERR_NOT_FOUND: there is none. */
static enum err read_form(const struct http_request *in, char *out, struct str *ret_token)
{
	if (in->verb != HTTP_POST || !form_is(in->content_type))
		return ERR_NOT_FOUND;
	return form_get(in->body, "access_token", out, ret_token);
}

void serve_userinfo(struct http_exchange *x)
{
	struct str header = x->in.authorization, token = STR("");
	size_t room = x->in.body.n + 1;
	char *text = mem_alloc(room);
	enum err err = read_form(&x->in, text, &token);
	bool bearer = header.n > 7 && strncasecmp(header.p, "Bearer ", 7) == 0;
	if (bearer && err == ERR_NOT_FOUND)
		answer(x, (struct str){header.p + 7, header.n - 7});
	else if (!header.n && !err)
		answer(x, token);
	else if (!header.n && err == ERR_NOT_FOUND)
		refuse(x, 401, NULL, "An access token is needed.");
	else
		refuse(x, 400, "invalid_request",
			"The access token comes once: as Authorization: Bearer, or in the form.");
	OPENSSL_cleanse(text, room);
	free(text);
}
