/* Access tokens are signed here and not by libjwt, which cannot write typ at+jwt; ID tokens by
 * libjwt, so that two implementations meet in one sign-in. */
#include "auth/server/issuer.h"
#include "auth/server/keys.h"
#include "auth/jws.h"
#include "auth/server/clients.h"
#include "auth/server/secret.h"
#include "auth/withdrawal.h"
#include "core/json_scan.h"

#include <jwt.h>
#include <stdlib.h>
#include <time.h>

enum { JTI_DIGITS = 32, CLAIMS_MAX_BYTES = 4096 };

/* What the issuer says itself. */
static const char *const reserved[] = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id",
	"scope", "name", "sid", "cnf", "act"};

static enum err check_claims(struct str claims)
{
	struct str key;
	if (!claims.n)
		return ERR_OK;
	if (json_check(claims, NULL) || json_kind(claims) != JSON_OBJECT || json_once(claims))
		return ERR_PARAMS;
	for (struct json_walk w = json_walk(claims); json_next(&w, &key, NULL);)
		for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
			if (json_string_is(key, reserved[i]))
				return ERR_PARAMS;
	return ERR_OK;
}

static void write_more(struct json_out *o, struct str claims)
{
	struct str key, value;
	for (struct json_walk w = json_walk(claims); json_next(&w, &key, &value);) {
		buf_addf(o->b, ",\"" STR_FMT "\":", STR_ARG(key)); /* escaped as it came */
		buf_adds(o->b, value);
	}
}

/* The user that the token will be checked as (auth/claims.h). */
static struct str user_of(const struct mint_request *r, char *out)
{
	static const char before[] = "client:";
	if (r->user.n)
		return r->user;
	memcpy(out, before, sizeof(before) - 1);
	memcpy(out + sizeof(before) - 1, r->client.p, r->client.n);
	return (struct str){out, sizeof(before) - 1 + r->client.n};
}

static void write_payload(struct buf *b, const struct mint_request *r)
{
	char jti[JTI_DIGITS + 1];
	struct json_out o = JSON_OUT(b);
	char client_user[8 + CLIENT_ID_MAX];
	struct str user = user_of(r, client_user);
	int64_t now = r->issued_at ? r->issued_at : time(NULL);
	int64_t iat = withdrawals_issue(user, r->client, now, r->seen);
	secret_make_hex(jti, JTI_DIGITS);
	json_open(&o, NULL, '{');
	json_str(&o, "iss", issuer->url);
	json_str(&o, "sub", r->user.n ? r->user : r->client);
	json_str(&o, "aud", r->audience.n ? r->audience : issuer->audience);
	json_int(&o, "exp", now + (r->lifetime ? r->lifetime : issuer->access_token_lifetime));
	json_int(&o, "iat", iat);
	json_text(&o, "jti", jti);
	if (r->sid.n)
		json_str(&o, "sid", r->sid);
	json_str(&o, "client_id", r->client);
	json_str(&o, "scope", r->scope);
	if (r->name.n)
		json_str(&o, "name", r->name);
	write_more(&o, r->claims);
	json_close(&o, '}');
}

enum err issuer_mint(const struct mint_request *request, struct buf *ret_token)
{
	enum err err = check_claims(request->claims);
	if (err)
		return err;
	struct buf payload = BUF_INIT(TOKEN_MAX_BYTES), token = BUF_INIT(TOKEN_MAX_BYTES);
	write_payload(&payload, request);
	err = payload.err;
	if (!err)
		err = jws_sign(&key_for(JWA_ES256)->pair, "at+jwt", buf_str(&payload), &token);
	if (!err) {
		buf_adds(ret_token, buf_str(&token));
		err = ret_token->err;
	}
	buf_free(&payload);
	buf_free(&token);
	return err;
}

/* Half of the hash of the access token that comes with it. */
static void write_at_hash(struct json_out *o, struct str access_token)
{
	unsigned char hash[SECRET_HASH];
	struct buf b = BUF_INIT(64);
	secret_hash(access_token, hash);
	b64url_add(&b, hash, sizeof(hash) / 2);
	json_str(o, "at_hash", buf_str(&b));
	buf_free(&b);
}

static void write_id_payload(struct buf *b, const struct id_token_request *r)
{
	struct json_out o = JSON_OUT(b);
	json_open(&o, NULL, '{');
	json_str(&o, "iss", issuer->url);
	json_str(&o, "sub", r->user);
	json_str(&o, "aud", r->client);
	json_int(&o, "exp", r->issued_at + issuer->access_token_lifetime);
	json_int(&o, "iat", r->issued_at);
	json_int(&o, "auth_time", r->auth_time);
	if (r->nonce.n)
		json_str(&o, "nonce", r->nonce);
	write_at_hash(&o, r->access_token);
	if (r->profile) {
		json_str(&o, "name", r->name);
		json_str(&o, "preferred_username", r->user);
	}
	json_close(&o, '}');
}

enum err issuer_mint_id(const struct id_token_request *request, struct buf *ret_token)
{
	const struct signing_key *key = key_for(request->alg);
	jwt_alg_t alg = request->alg == JWA_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256;
	struct buf payload = BUF_INIT(CLAIMS_MAX_BYTES);
	enum err err = ERR_INTERNAL;
	char *text = NULL;
	jwt_t *jwt = NULL;
	write_id_payload(&payload, request);
	if (payload.err || jwt_new(&jwt))
		goto out;
	if (jwt_add_grants_json(jwt, payload.p) || jwt_add_header(jwt, "kid", key->pair.kid) ||
		jwt_set_alg(jwt, alg, (const unsigned char *)key->pem, (int)strlen(key->pem)))
		goto out;
	text = jwt_encode_str(jwt);
	if (!text)
		goto out;
	buf_adds(ret_token, str_of(text));
	err = ret_token->err;
out:
	free(text);
	jwt_free(jwt);
	buf_free(&payload);
	return err;
}
