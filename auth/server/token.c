/* POST /oauth/token (RFC 6749 sections 3.2, 4.1.3, 4.4 and 5; RFC 7636 section 4.5). */
#include "auth/server/token.h"

#include "auth/audit.h"
#include "auth/server/clients.h"
#include "auth/server/issuer.h"
#include "core/form.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <time.h>

enum { ANSWER_MAX = 4 * TOKEN_MAX_BYTES, BASIC_MAX = 1024 };
enum { VERIFIER_MIN = 43, VERIFIER_MAX = 128 };

struct token_request {
	struct http_exchange *x;
	char *text; /* the decoded values lie here: wiped */
	size_t text_n;
	struct str grant, client_id, client_secret, code, redirect_uri, verifier, scope;
	bool by_header;
	struct client *client;
};

static struct http_exchange *leave(struct token_request **ret_t)
{
	struct token_request *t = *ret_t;
	struct http_exchange *x = t->x;
	*ret_t = NULL;
	OPENSSL_cleanse(t->text, t->text_n);
	free(t->text);
	client_free(&t->client);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
	return x;
}

/* ---- answers ---- */

static void refuse(struct token_request *t, int status, const char *error, const char *description)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	if (status == 401 && t->by_header)
		http_header(t->x, "WWW-Authenticate", STR("Basic realm=\"signalbox\""));
	if (status == 503)
		http_header(t->x, "Retry-After", STR("2"));
	json_open(&o, NULL, '{');
	json_text(&o, "error", error);
	json_text(&o, "error_description", description);
	json_close(&o, '}');
	http_reply_json(leave(&t), status, &b);
}

static void refuse_failed(struct token_request *t)
{
	refuse(t, 503, "temporarily_unavailable",
		"The service could not reach its records. Try again in a few seconds.");
}

static void refuse_client(struct token_request *t)
{
	audit_add(.action = "client", .outcome = "invalid_client",
		.client = t->client ? t->client->id : STR(""), .address = t->x->in.peer,
		.detail = t->client ? STR("") : STR("an unknown client_id"));
	refuse(t, 401, "invalid_client", "The client is unknown or its secret is wrong.");
}

static void refuse_grant(struct token_request *t)
{
	refuse(t, 400, "invalid_grant",
		"The code is unknown, used, expired, or was given for another client, "
		"redirect_uri or code_verifier. Sign in again.");
}

static void answer(struct token_request *t, struct mint_request *mint, struct id_token_request *id,
	enum err err, struct buf *access)
{
	struct buf b = BUF_INIT(ANSWER_MAX), id_token = BUF_INIT(TOKEN_MAX_BYTES);
	struct json_out o = JSON_OUT(&b);
	if (!err && id) {
		id->access_token = buf_str(access);
		err = issuer_mint_id(id, &id_token);
	}
	json_open(&o, NULL, '{');
	json_str(&o, "access_token", buf_str(access));
	json_text(&o, "token_type", "Bearer");
	json_int(&o, "expires_in", issuer->access_token_lifetime);
	json_str(&o, "scope", mint->scope);
	if (id)
		json_str(&o, "id_token", buf_str(&id_token));
	json_close(&o, '}');
	if (err) {
		log_error("token not signed", LOG_TEXT("why", err_info(err)->reason));
		buf_free(&b);
		refuse_failed(t);
	} else {
		http_reply_json(leave(&t), 200, &b);
	}
	buf_free(&id_token);
}

/* id: NULL, or what to say in an ID token. */
static void give(struct token_request *t, struct mint_request *mint, struct id_token_request *id)
{
	struct buf access = BUF_INIT(TOKEN_MAX_BYTES);
	enum err err = issuer_mint(mint, &access);
	if (!err)
		audit_add(.action = "token", .actor = mint->user.n ? mint->user : STR(""),
			.user = mint->user, .client = mint->client, .address = t->x->in.peer,
			.detail = mint->scope);
	answer(t, mint, id, err, &access);
	buf_free(&access);
}

/* ---- authorization_code ---- */

static void looked_for_reuse(struct store_op *op)
{
	struct token_request *t = op->context;
	if (!op->err)
		audit_add(.action = "code.reuse", .outcome = "invalid_grant",
			.user = store_str(op, 0, 1), .client = store_str(op, 0, 0),
			.address = t->x->in.peer);
	if (op->err && op->err != ERR_NOT_FOUND)
		refuse_failed(t);
	else
		refuse_grant(t);
}

static bool fits(const struct token_request *t, struct str redirect_uri, struct str challenge)
{
	char computed[SECRET_TEXT + 1];
	secret_challenge(t->verifier, computed);
	return str_eq(t->redirect_uri, redirect_uri) && str_eq_secret(str_of(computed), challenge);
}

static struct store_value hash_value(struct str code, unsigned char out[SECRET_HASH])
{
	secret_hash(code, out);
	return STORE_BLOB(((struct str){(char *)out, SECRET_HASH}));
}

static void redeemed(struct store_op *op)
{
	struct token_request *t = op->context;
	unsigned char hash[SECRET_HASH];
	if (op->err == ERR_NOT_FOUND) {
		store_ask(
			STORE_CODE_USED, looked_for_reuse, t, hash_value(t->code, hash), STORE_END);
		return;
	}
	if (op->err) {
		refuse_failed(t);
		return;
	}
	if (!fits(t, store_str(op, 0, 2), store_str(op, 0, 5))) {
		refuse_grant(t); /* the code is spent all the same: whoever guesses has one try */
		return;
	}
	struct mint_request mint = {.user = store_str(op, 0, 0),
		.name = store_str(op, 0, 1),
		.client = t->client->id,
		.scope = store_str(op, 0, 3),
		.issued_at = time(NULL)};
	struct id_token_request id = {.user = mint.user,
		.name = mint.name,
		.client = mint.client,
		.nonce = store_str(op, 0, 4),
		.profile = words_have(mint.scope, "profile"),
		.auth_time = store_int(op, 0, 6),
		.issued_at = mint.issued_at};
	give(t, &mint, words_have(mint.scope, "openid") ? &id : NULL);
}

static void redeem(struct token_request *t)
{
	unsigned char hash[SECRET_HASH];
	if (!t->code.n || !t->redirect_uri.n)
		refuse(t, 400, "invalid_request", "code and redirect_uri are needed.");
	else if (t->verifier.n < VERIFIER_MIN || t->verifier.n > VERIFIER_MAX)
		refuse(t, 400, "invalid_request",
			"code_verifier (43 to 128 characters) is needed: PKCE is never optional.");
	else
		store_ask(STORE_CODE_USE, redeemed, t, hash_value(t->code, hash),
			STORE_TEXT(t->client->id), STORE_INT(time(NULL)), STORE_END);
}

/* ---- client_credentials ---- */

static void give_client(struct token_request *t)
{
	char text[SCOPE_SET_TEXT_MAX];
	struct scope_set scope = client_grant(t->client, t->scope);
	scope.openid = scope.profile = false; /* nobody signed in */
	if (scope_set_empty(scope)) {
		refuse(t, 400, "invalid_scope", "None of these scopes is open to this client.");
		return;
	}
	struct mint_request mint = {.name = t->client->name,
		.client = t->client->id,
		.scope = scope_set_text(scope, text)};
	give(t, &mint, NULL);
}

/* ---- the client ---- */

static const struct {
	const char *name;
	void (*run)(struct token_request *t);
} grants[] = {{"authorization_code", redeem}, {"client_credentials", give_client}};

static void run_grant(struct token_request *t)
{
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++) {
		if (!str_is(t->grant, grants[i].name))
			continue;
		if (client_may(t->client, grants[i].name))
			grants[i].run(t);
		else
			refuse(t, 400, "unauthorized_client",
				"This client is not registered for this grant.");
		return;
	}
	refuse(t, 400, "unsupported_grant_type",
		"grant_type is authorization_code or client_credentials.");
}

/* A public client has nothing to prove itself by; what it is given hangs on PKCE alone. */
static bool proven(const struct token_request *t)
{
	if (t->client->confidential)
		return client_secret_is(t->client, t->client_secret);
	return !t->client_secret.n;
}

static void got_client(void *context, enum err err, struct client *client)
{
	struct token_request *t = context;
	t->client = client;
	if (err && err != ERR_NOT_FOUND)
		refuse_failed(t);
	else if (err || !proven(t))
		refuse_client(t);
	else
		run_grant(t);
}

/* One half of the credentials: escaped as the value of a form is. */
static bool read_half(struct str escaped, char **at, struct str *ret_value)
{
	struct buf form = BUF_INIT(BASIC_MAX);
	buf_addf(&form, "v=");
	buf_adds(&form, escaped);
	bool fine = !memchr(escaped.p, '&', escaped.n) && !form.err &&
		form_get(buf_str(&form), "v", *at, ret_value) == ERR_OK;
	if (form.p)
		OPENSSL_cleanse(form.p, form.n);
	buf_free(&form);
	*at += fine ? ret_value->n : 0;
	return fine;
}

/* "Basic " base64(id ":" secret), RFC 6749 section 2.3.1. False: there is a header, but not such a
 * one. */
static bool read_basic(struct token_request *t, char **at)
{
	struct str text = t->x->in.authorization;
	unsigned char plain[BASIC_MAX];
	if (!text.n)
		return true;
	t->by_header = true;
	if (text.n < 6 || strncasecmp(text.p, "Basic ", 6) != 0)
		return false;
	text = (struct str){text.p + 6, text.n - 6};
	if (!text.n || text.n % 4 || text.n / 4 * 3 > sizeof(plain))
		return false;
	int n = EVP_DecodeBlock(plain, (const unsigned char *)text.p, (int)text.n);
	for (size_t i = 1; i <= 2 && n > 0 && text.p[text.n - i] == '='; i++)
		n--; /* padding was decoded, too */
	const char *colon = n > 0 ? memchr(plain, ':', (size_t)n) : NULL;
	bool fine = false;
	if (colon) {
		const char *start = (const char *)plain, *end = start + n;
		struct str id = {start, (size_t)(colon - start)};
		struct str secret = {colon + 1, (size_t)(end - colon - 1)};
		fine = read_half(id, at, &t->client_id) && read_half(secret, at, &t->client_secret);
	}
	OPENSSL_cleanse(plain, sizeof(plain));
	return fine;
}

static struct str field(struct token_request *t, const char *name, char **at, bool *broken)
{
	struct str value = {"", 0};
	enum err err = form_get(t->x->in.body, name, *at, &value);
	if (err == ERR_OK)
		*at += value.n;
	else if (err != ERR_NOT_FOUND)
		*broken = true;
	return value;
}

/* NULL, or what is wrong with the request. */
static const char *read_request(struct token_request *t, char **at)
{
	struct str type = STR("application/x-www-form-urlencoded");
	bool broken = false;
	if (!str_starts(t->x->in.content_type, type))
		return "The body must be application/x-www-form-urlencoded.";
	t->grant = field(t, "grant_type", at, &broken);
	t->code = field(t, "code", at, &broken);
	t->redirect_uri = field(t, "redirect_uri", at, &broken);
	t->verifier = field(t, "code_verifier", at, &broken);
	t->scope = field(t, "scope", at, &broken);
	struct str id = field(t, "client_id", at, &broken);
	struct str secret = field(t, "client_secret", at, &broken);
	if (broken)
		return "A parameter is there twice, or badly encoded.";
	if (!t->grant.n)
		return "grant_type is missing.";
	if (t->by_header && (secret.n || (id.n && !str_eq(id, t->client_id))))
		return "The client says who it is in two ways.";
	if (!t->by_header) {
		t->client_id = id;
		t->client_secret = secret;
	}
	return t->client_id.n ? NULL : "client_id is missing.";
}

void serve_token(struct http_exchange *x)
{
	struct token_request *t = mem_new(struct token_request);
	t->x = x;
	t->text_n = 2 * (x->in.body.n + BASIC_MAX) + 1;
	t->text = mem_alloc(t->text_n);
	char *at = t->text;
	if (!read_basic(t, &at)) {
		refuse_client(t);
		return;
	}
	const char *wrong = read_request(t, &at);
	if (wrong)
		refuse(t, 400, "invalid_request", wrong);
	else
		client_get(t->client_id, got_client, t);
}
