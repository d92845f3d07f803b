#include "auth/server/device.h"

#include "auth/server/issuer.h"
#include "core/client_address.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MAX = 4096, ADDRESS_MAX = 1200 };

/* Consonants: no word comes of them, and none looks like a digit (RFC 8628 section 6.1). */
static const char letters_known[] = "BCDFGHJKLMNPQRSTVWXZ";

/* ---- user codes ---- */

bool user_code_read(struct str typed, char ret_letters[USER_CODE_LETTERS + 1])
{
	size_t n = 0;
	for (size_t i = 0; i < typed.n; i++) {
		char c = typed.p[i];
		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c < 'A' || c > 'Z')
			continue;
		if (n == USER_CODE_LETTERS || !strchr(letters_known, c))
			return false;
		ret_letters[n++] = c;
	}
	ret_letters[n] = 0;
	return n == USER_CODE_LETTERS;
}

void user_code_show(const char letters[USER_CODE_LETTERS + 1], char out[USER_CODE_SHOWN + 1])
{
	snprintf(out, USER_CODE_SHOWN + 1, "%.4s-%.4s", letters, letters + 4);
}

void user_code_hash(const char letters[USER_CODE_LETTERS + 1], unsigned char out[SECRET_HASH])
{
	secret_hash((struct str){letters, USER_CODE_LETTERS}, out);
}

static void make_user_code(char out[USER_CODE_LETTERS + 1])
{
	size_t n = 0, known = sizeof(letters_known) - 1;
	while (n < USER_CODE_LETTERS) {
		unsigned char byte;
		if (RAND_bytes(&byte, 1) != 1)
			abort();                /* as in secret.c */
		if (byte < 256 / known * known) /* so that each is as likely as any other */
			out[n++] = letters_known[byte % known];
	}
	out[n] = 0;
}

/* ---- POST /oauth/device_authorization ---- */

/* What only the device and its user will know, while the store works. */
struct asking {
	struct client_request *r;
	char device_code[SECRET_TEXT + 1], user_code[USER_CODE_LETTERS + 1];
};

static void answer(struct asking *a)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct json_out o = JSON_OUT(&b);
	char shown[USER_CODE_SHOWN + 1], address[ADDRESS_MAX];
	user_code_show(a->user_code, shown);
	json_open(&o, NULL, '{');
	json_text(&o, "device_code", a->device_code);
	json_text(&o, "user_code", shown);
	snprintf(address, sizeof(address), STR_FMT "/oauth/device", STR_ARG(issuer->url));
	json_text(&o, "verification_uri", address);
	snprintf(address, sizeof(address), STR_FMT "/oauth/device?user_code=%s",
		STR_ARG(issuer->url), shown);
	json_text(&o, "verification_uri_complete", address);
	json_int(&o, "expires_in", DEVICE_CODE_LIFETIME);
	json_int(&o, "interval", DEVICE_INTERVAL);
	json_close(&o, '}');
	http_reply_json(client_request_leave(&a->r), 200, &b);
}

static void added(struct store_op *op)
{
	struct asking *a = op->context;
	if (op->err == ERR_NOT_FOUND) {
		http_header(a->r->x, "Retry-After", STR("60"));
		client_request_refuse(a->r, 429, "slow_down",
			"Too many devices are waiting for somebody already.");
	} else if (op->err) {
		client_request_failed(a->r); /* a user code that is taken, too: one in billions */
	} else {
		answer(a);
	}
	OPENSSL_cleanse(a, sizeof(*a));
	free(a);
}

static void add(struct client_request *r, struct scope_set scope)
{
	struct asking *a = mem_new(struct asking);
	unsigned char device[SECRET_HASH], user[SECRET_HASH];
	char text[SCOPE_SET_TEXT_MAX];
	struct client_address client = client_address_of(r->x->in.peer);
	a->r = r;
	secret_make(a->device_code);
	make_user_code(a->user_code);
	secret_hash(str_of(a->device_code), device);
	user_code_hash(a->user_code, user);
	store_ask(STORE_DEVICE_ADD, added, a, STORE_HASH(device), STORE_HASH(user),
		STORE_TEXT(r->client->id), STORE_INT(r->now),
		STORE_TEXT(scope_set_text(scope, text)), STORE_TEXT(r->x->in.peer),
		STORE_INT(DEVICE_CODE_LIFETIME), STORE_INT(DEVICE_WAITING_MAX),
		STORE_INT(DEVICE_INTERVAL), STORE_BLOB(client_address_limited(&client)),
		STORE_INT(DEVICE_CODES_MAX), STORE_END);
}

static void begin(struct client_request *r)
{
	struct scope_set scope = client_grant(r->client, client_request_field(r, "scope"));
	if (r->fields.broken)
		client_request_refuse(r, 400, "invalid_request", "scope is there twice.");
	else if (!client_may(r->client, "device_code"))
		client_request_refuse(r, 400, "unauthorized_client",
			"This client is not registered for this grant.");
	else if (scope_set_empty(scope))
		client_request_refuse(
			r, 400, "invalid_scope", "None of these scopes is open to this client.");
	else
		add(r, scope);
}

void serve_device_authorization(struct http_exchange *x)
{
	client_request_begin(x, begin);
}
