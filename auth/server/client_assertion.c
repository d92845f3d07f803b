#include "auth/server/client_assertion.h"

#include "auth/claims.h"
#include "auth/server/issuer.h"
#include "core/json_scan.h"
#include "core/mem.h"

static enum err refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return ERR_UNAUTHENTICATED;
}

void client_assertion_free(struct client_assertion **assertion)
{
	free(*assertion);
	*assertion = NULL;
}

/* A member that is a string; decoded into out (size bytes). */
static bool text_of(struct str payload, const char *name, char *out, size_t size, struct str *ret)
{
	struct str value;
	size_t n;
	if (!json_get(payload, name, &value) || json_kind(value) != JSON_STRING || value.n > size ||
		json_decode(value, out, &n))
		return false;
	*ret = (struct str){out, n};
	return true;
}

static bool date_of(struct str payload, const char *name, int64_t *ret_date)
{
	struct str value;
	return !json_get(payload, name, &value) || claims_date(value, ret_date) == ERR_OK;
}

enum err client_assertion_read(
	struct str text, struct client_assertion **ret_assertion, const char **ret_why)
{
	struct client_assertion *a = mem_new(struct client_assertion);
	char id[CLIENT_ID_MAX + 2], issuer_text[CLIENT_ID_MAX + 2]; /* with quotes */
	struct str subject, signer;
	enum err err = jws_parse(text, &a->jws, ret_why);
	struct str payload = a->jws.payload;
	if (!err &&
		(json_check(payload, NULL) || json_kind(payload) != JSON_OBJECT ||
			json_once(payload)))
		err = refuse("its assertion holds no claims", ret_why);
	if (!err &&
		(!text_of(payload, "sub", id, sizeof(id), &subject) ||
			!text_of(payload, "iss", issuer_text, sizeof(issuer_text), &signer) ||
			!str_eq(subject, signer) || subject.n > sizeof(a->client_text)))
		err = refuse("its assertion has not the client as iss and as sub", ret_why);
	if (err) {
		client_assertion_free(&a);
		return err;
	}
	memcpy(a->client_text, subject.p, subject.n);
	a->client = (struct str){a->client_text, subject.n};
	*ret_assertion = a;
	return ERR_OK;
}

/* The issuer, its token endpoint (as RFC 7523 has it), or the endpoint that was asked. */
static bool is_ours(struct str audience, struct str path)
{
	char text[CLAIM_TEXT_MAX + 2];
	size_t n;
	if (json_kind(audience) != JSON_STRING || audience.n > sizeof(text) ||
		json_decode(audience, text, &n))
		return false;
	struct str value = {text, n};
	if (!str_starts(value, issuer->url))
		return false;
	struct str rest = {value.p + issuer->url.n, value.n - issuer->url.n};
	return !rest.n || str_is(rest, "/oauth/token") || str_eq(rest, path);
}

/* A list is right when it names nobody else: who could use it elsewhere would be somebody else here. */
static bool made_for_us(struct str payload, struct str path)
{
	struct str audience, one;
	size_t count = 0;
	if (!json_get(payload, "aud", &audience))
		return false;
	if (json_kind(audience) == JSON_STRING)
		return is_ours(audience, path);
	if (json_kind(audience) != JSON_ARRAY)
		return false;
	for (struct json_walk w = json_walk(audience); json_next(&w, NULL, &one); count++)
		if (!is_ours(one, path))
			return false;
	return count > 0;
}

static enum err check_claims(
	struct client_assertion *a, struct str path, int64_t now, const char **ret_why)
{
	struct str payload = a->jws.payload, jti;
	int64_t not_before = 0, issued_at = 0;
	char text[CLAIM_TEXT_MAX + 2];
	a->expires_at = 0;
	if (!made_for_us(payload, path))
		return refuse("its assertion is not for this issuer alone", ret_why);
	if (!date_of(payload, "exp", &a->expires_at) || !date_of(payload, "nbf", &not_before) ||
		!date_of(payload, "iat", &issued_at))
		return refuse("its assertion has a date that is none", ret_why);
	if (a->expires_at <= now)
		return refuse("its assertion has run out, or has no exp", ret_why);
	if (a->expires_at > now + ASSERTION_LIFETIME_MAX)
		return refuse("its assertion would live for more than an hour", ret_why);
	if (not_before > now + CLAIM_SKEW || issued_at > now + CLAIM_SKEW)
		return refuse("its assertion is of the future", ret_why);
	if (!text_of(payload, "jti", text, sizeof(text), &jti) || !jti.n)
		return refuse("its assertion has no jti", ret_why);
	secret_hash(jti, a->jti_hash);
	return ERR_OK;
}

enum err client_assertion_check(struct client_assertion *assertion, const struct client *client,
	struct str path, int64_t now, const char **ret_why)
{
	struct jwk_set *keys = NULL;
	enum err err = jwk_set_parse(client->jwks, &keys, ret_why);
	if (!err)
		err = jws_verify(&assertion->jws, keys, jwa_default(), ret_why);
	jwk_set_unref(&keys);
	if (err == ERR_NOT_FOUND)
		return refuse("its assertion was signed by a key that is not registered", ret_why);
	return err ? err : check_claims(assertion, path, now, ret_why);
}
