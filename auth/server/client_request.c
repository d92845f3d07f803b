#include "auth/server/client_request.h"

#include "auth/audit.h"
#include "auth/server/issuer.h"
#include "core/form.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <time.h>

enum { ERROR_MAX = 1024, BASIC_MAX = 1024 };

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

struct http_exchange *client_request_leave(struct client_request **ret_r)
{
	struct client_request *r = *ret_r;
	struct http_exchange *x = r->x;
	*ret_r = NULL;
	OPENSSL_cleanse(r->text, r->text_n);
	free(r->text);
	client_free(&r->client);
	client_assertion_free(&r->assertion);
	free(r);
	return x;
}

/* ---- answers ---- */

void client_request_refuse(
	struct client_request *r, int status, const char *error, const char *description)
{
	struct buf b = BUF_INIT(ERROR_MAX);
	struct json_out o = JSON_OUT(&b);
	if (status == 401 && r->by_header)
		http_header(r->x, "WWW-Authenticate", STR("Basic realm=\"signalbox\""));
	if (status == 503)
		http_header(r->x, "Retry-After", STR("2"));
	json_open(&o, NULL, '{');
	json_text(&o, "error", error);
	json_text(&o, "error_description", description);
	json_close(&o, '}');
	http_reply_json(client_request_leave(&r), status, &b);
}

void client_request_failed(struct client_request *r)
{
	client_request_refuse(r, 503, "temporarily_unavailable",
		"The service could not reach its records. Try again in a few seconds.");
}

/* What was wrong is for the operator; the caller hears the same of all clients. */
void client_request_refuse_client(struct client_request *r, const char *why)
{
	audit_add(.action = "client", .outcome = "invalid_client",
		.client = r->client ? r->client->id : STR(""), .address = r->x->in.peer,
		.detail = str_of(why));
	client_request_refuse(r, 401, "invalid_client",
		"The client is unknown, or has not proven itself in the way that it is registered "
		"for.");
}

/* ---- the proof ---- */

static void assertion_kept(struct store_op *op)
{
	struct client_request *r = op->context;
	if (op->err == ERR_CONFLICT)
		client_request_refuse_client(r, "its assertion was used before");
	else if (op->err)
		client_request_failed(r);
	else
		r->next(r);
}

/* What was signed is good once, on all workers and across restarts. */
static void prove_by_key(struct client_request *r)
{
	struct client_assertion *a = r->assertion;
	const char *why;
	enum err err = client_assertion_check(a, r->client, r->x->in.path, r->now, &why);
	if (err == ERR_NOMEM)
		client_request_failed(r);
	else if (err)
		client_request_refuse_client(r, why);
	else
		store_ask(STORE_ASSERTION_ADD, assertion_kept, r, STORE_TEXT(r->client->id),
			STORE_HASH(a->jti_hash), STORE_INT(a->expires_at), STORE_INT(r->now),
			STORE_END);
}

/* A public client has nothing to prove itself by; what it is given hangs on PKCE alone. */
static void prove(struct client_request *r)
{
	const struct client *client = r->client;
	if (client->jwks.n && r->assertion)
		prove_by_key(r);
	else if (client->jwks.n)
		client_request_refuse_client(r, "it is registered with keys, and signed nothing");
	else if (r->assertion)
		client_request_refuse_client(r, "it has no keys, and sent an assertion");
	else if (client->confidential && !client_secret_is(client, r->secret))
		client_request_refuse_client(r, "its secret is wrong or missing");
	else if (!client->confidential && (r->secret.n || r->by_header))
		client_request_refuse_client(r, "it is public, and sent a secret");
	else
		r->next(r);
}

static void got_client(void *context, enum err err, struct client *client)
{
	struct client_request *r = context;
	r->client = client;
	if (err == ERR_NOT_FOUND)
		client_request_refuse_client(r, "there is none of this id");
	else if (err)
		client_request_failed(r);
	else
		prove(r);
}

/* ---- reading ---- */

struct str client_request_field(struct client_request *r, const char *name)
{
	return form_take(&r->fields, name);
}

/* One half of the credentials: escaped as the value of a form is. */
static bool read_half(struct client_request *r, struct str escaped, struct str *ret_value)
{
	struct buf form = BUF_INIT(BASIC_MAX);
	buf_addf(&form, "v=");
	buf_adds(&form, escaped);
	bool fine = !memchr(escaped.p, '&', escaped.n) && !form.err &&
		form_get(buf_str(&form), "v", r->fields.at, ret_value) == ERR_OK;
	if (form.p)
		OPENSSL_cleanse(form.p, form.n);
	buf_free(&form);
	r->fields.at += fine ? ret_value->n : 0;
	return fine;
}

/* "Basic " base64(id ":" secret), RFC 6749 section 2.3.1. False: there is a header, but not such a
 * one. */
static bool read_basic(struct client_request *r)
{
	struct str text = r->x->in.authorization;
	unsigned char plain[BASIC_MAX];
	if (!text.n)
		return true;
	r->by_header = true;
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
		fine = read_half(r, id, &r->client_id) && read_half(r, secret, &r->secret);
	}
	OPENSSL_cleanse(plain, sizeof(plain));
	return fine;
}

/* NULL, or what is wrong with how the client says who it is. */
static const char *read_client(struct client_request *r)
{
	struct str id = client_request_field(r, "client_id");
	struct str secret = client_request_field(r, "client_secret");
	struct str type = client_request_field(r, "client_assertion_type");
	r->assertion_text = client_request_field(r, "client_assertion");
	if (r->fields.broken)
		return "A parameter is there twice, or badly encoded.";
	if (r->by_header + (secret.n > 0) + (r->assertion_text.n > 0) > 1 ||
		(r->by_header && id.n && !str_eq(id, r->client_id)))
		return "The client says who it is in two ways.";
	if (type.n || r->assertion_text.n) {
		if (!str_is(type, ASSERTION_TYPE) || !r->assertion_text.n)
			return "client_assertion comes with the client_assertion_type "
			       "urn:ietf:params:oauth:client-assertion-type:jwt-bearer.";
	}
	if (!r->by_header) {
		r->client_id = id;
		r->secret = secret;
	}
	return r->client_id.n || r->assertion_text.n ? NULL : "client_id is missing.";
}

/* False: it is none, or names another client than client_id does. */
static bool read_assertion(struct client_request *r, const char **ret_why)
{
	if (!r->assertion_text.n)
		return true;
	if (client_assertion_read(r->assertion_text, &r->assertion, ret_why))
		return false;
	if (r->client_id.n && !str_eq(r->client_id, r->assertion->client)) {
		*ret_why = "its assertion is another client's";
		return false;
	}
	r->client_id = r->assertion->client;
	return true;
}

void client_request_begin(struct http_exchange *x, void (*next)(struct client_request *r))
{
	struct client_request *r = mem_new(struct client_request);
	const char *wrong, *why;
	r->x = x;
	r->next = next;
	r->now = time(NULL);
	r->seen = withdrawals_seen();
	r->text_n = 2 * (x->in.body.n + BASIC_MAX) + 1;
	r->text = mem_alloc(r->text_n);
	r->fields = (struct form_fields){x->in.body, r->text, false};
	if (!form_is(x->in.content_type))
		client_request_refuse(r, 400, "invalid_request",
			"The body must be application/x-www-form-urlencoded.");
	else if (!read_basic(r))
		client_request_refuse_client(r, "its Authorization is not what Basic is");
	else if ((wrong = read_client(r)))
		client_request_refuse(r, 400, "invalid_request", wrong);
	else if (!read_assertion(r, &why))
		client_request_refuse_client(r, why);
	else
		client_get(r->client_id, got_client, r);
}
