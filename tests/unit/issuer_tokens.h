/* issuer_tokens.h: sign-ins and tokens without pages, on a clock that the test puts forward: codes are
 * written into the store as the pages would. For tests/unit/test_issuer_refresh.c and _tokens.c. */
#pragma once

#include "auth/server/device.h"
#include "auth/server/refresh_token.h"
#include "auth/server/secret.h"

#include "issuer_fixture.h"

#include <time.h>

#define VERIFIER "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEF"
#define DEMO_URI "http://localhost:8080/"

static time_t begun, ahead; /* this process's clock stands still but for what the test adds */

/* In place of the C library's, for everything in this program. */
time_t time(time_t *out)
{
	struct timespec now;
	if (!begun) {
		clock_gettime(CLOCK_REALTIME, &now);
		begun = now.tv_sec;
	}
	if (out)
		*out = begun + ahead;
	return begun + ahead;
}

/* A code for a client, as if the user had just signed in. */
static inline void make_code(
	const char *client, const char *user, const char *scope, char *ret_code)
{
	char challenge[SECRET_TEXT + 1], sid[33];
	unsigned char hash[SECRET_HASH];
	secret_make(ret_code);
	secret_hash(str_of(ret_code), hash);
	secret_challenge(str_of(VERIFIER), challenge);
	secret_make_hex(sid, 32);
	struct store_op *op = store_ask_now(STORE_CODE_ADD,
		STORE_BLOB(((struct str){(char *)hash, sizeof(hash)})), STORE_TEXT(str_of(client)),
		STORE_TEXT(str_of(user)), STORE_TEXT(STR(DEMO_URI)), STORE_TEXT(str_of(scope)),
		STORE_TEXT(STR("n-1")), STORE_TEXT(str_of(challenge)), STORE_INT(time(NULL)),
		STORE_INT(time(NULL)), STORE_TEXT(str_of(sid)), STORE_NULL,
		STORE_TEXT(STR("127.0.0.1")), STORE_TEXT(STR("")), STORE_INT(3600), STORE_END);
	assert_int_equal(op->err, ERR_OK);
	store_op_free(&op);
}

/* Sends a form; more is appended as it stands. */
static inline int post_form(const char *path, const char *more, const char *name, const char *value)
{
	struct buf b = BUF_INIT(64 * 1024);
	form_add(&b, name, str_of(value));
	buf_addf(&b, "&%s", more);
	int status = send_request(HTTP_POST, path, .body = b.p);
	buf_free(&b);
	return status;
}

static inline int redeem(const char *client, const char *code)
{
	char more[512];
	snprintf(more, sizeof(more),
		"grant_type=authorization_code&client_id=%s&code_verifier=" VERIFIER
		"&redirect_uri=" DEMO_URI,
		client);
	return post_form("/oauth/token", more, "code", code);
}

static inline int refresh(const char *client, const char *token, const char *more)
{
	char fields[512];
	snprintf(fields, sizeof(fields), "grant_type=refresh_token&client_id=%s%s", client, more);
	return post_form("/oauth/token", fields, "refresh_token", token);
}

static inline int userinfo(const char *access)
{
	char header[TOKEN_MAX_BYTES + 8];
	snprintf(header, sizeof(header), "Bearer %s", access);
	return send_request(HTTP_GET, "/oauth/userinfo", .authorization = header);
}
