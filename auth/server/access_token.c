#include "auth/server/access_token.h"

#include "auth/claims.h"
#include "auth/server/issuer.h"
#include "auth/server/keys.h"
#include "core/json_scan.h"
#include "core/mem.h"

void access_token_free(struct access_token **token)
{
	free(*token);
	*token = NULL;
}

/* A string of the payload; empty when it is not there. What we signed we also wrote. */
static struct str text_of(struct access_token *t, const char *name)
{
	struct str value;
	size_t n;
	char *out = t->text + t->used;
	if (!json_get(t->jws.payload, name, &value) || json_kind(value) != JSON_STRING ||
		value.n > sizeof(t->text) - t->used || json_decode(value, out, &n))
		return STR("");
	t->used += n;
	return (struct str){out, n};
}

static int64_t date_of(const struct access_token *t, const char *name)
{
	struct str value;
	int64_t date = 0;
	if (json_get(t->jws.payload, name, &value) && claims_date(value, &date))
		date = 0;
	return date;
}

static bool is_signed(const struct jws *jws)
{
	const char *why;
	return str_is(jws->typ, "at+jwt") &&
		jws_verify(jws, keys_now()->public, JWA_BIT(JWA_ES256), &why) == ERR_OK;
}

static bool is_withdrawn(const struct access_token *t)
{
	char client_user[8 + CLAIM_TEXT_MAX];
	enum withdrawal_kind kind;
	struct principal who = {.user = t->sub,
		.subject = t->sub,
		.client = t->client,
		.jti = t->jti,
		.sid = t->sid,
		.issued_at = t->issued_at};
	if (t->of_client && t->sub.n <= CLAIM_TEXT_MAX) {
		memcpy(client_user, "client:", 7);
		memcpy(client_user + 7, t->sub.p, t->sub.n);
		who.user = (struct str){client_user, 7 + t->sub.n};
	}
	return withdrawals_fit(&who, &kind);
}

static void read_claims(struct access_token *t)
{
	t->sub = text_of(t, "sub");
	t->client = text_of(t, "client_id");
	t->scope = text_of(t, "scope");
	t->jti = text_of(t, "jti");
	t->sid = text_of(t, "sid");
	t->of_client = str_eq(t->sub, t->client);
	t->issued_at = date_of(t, "iat");
	t->expires_at = date_of(t, "exp");
	if (!json_get(t->jws.payload, "aud", &t->audience))
		t->audience = STR("null");
}

enum err access_token_read(struct str text, int64_t now, struct access_token **ret_token)
{
	struct access_token *t = mem_new(struct access_token);
	const char *why;
	bool good = jws_parse(text, &t->jws, &why) == ERR_OK && is_signed(&t->jws) &&
		json_check(t->jws.payload, NULL) == ERR_OK;
	if (good)
		read_claims(t);
	if (!good || t->expires_at <= now || is_withdrawn(t)) {
		access_token_free(&t);
		return ERR_UNAUTHENTICATED;
	}
	*ret_token = t;
	return ERR_OK;
}

bool access_token_is_for_us(const struct access_token *token)
{
	char text[B64URL_BYTES(JWS_MAX)];
	size_t n;
	struct str audience = token->audience;
	if (json_kind(audience) != JSON_STRING || audience.n > sizeof(text) ||
		json_decode(audience, text, &n))
		return false;
	struct str value = {text, n};
	return str_eq(value, issuer->url) || str_eq(value, issuer->audience);
}
