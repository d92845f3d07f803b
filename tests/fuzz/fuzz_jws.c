/* Any bytes as a token, as a token's header, and as its payload. The only signature that can be
 * right is that of RFC 7515 appendix A.3, whose private key nobody here uses: nothing else passes. */
#include "auth/claims.h"

#include "core/json_scan.h"

#include <stdlib.h>

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
			   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
			   "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
			   "{\"kid\":\"ed\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","
			   "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
static const char payload[] =
	"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

static struct jwk_set *set, *secret;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *why;
	(void)argc, (void)argv;
	MUST(!jwk_set_parse(STR(keys), &set, &why));
	MUST(!jwk_set_of_secret(STR("0123456789abcdef0123456789abcdef"), &secret));
	return 0;
}

static bool within(struct str part, const char *from, size_t n)
{
	return !part.n || (part.p >= from && part.p + part.n <= from + n);
}

static void as_token(struct str token)
{
	static struct jws jws;
	const char *why = NULL;
	enum err err = jws_parse(token, &jws, &why);
	if (err) {
		MUST(err == ERR_UNAUTHENTICATED && why);
		return;
	}
	MUST(jws_form(token) && token.n <= JWS_MAX);
	MUST(within(jws.kid, jws.kid_text, sizeof(jws.kid_text)) && !str_has_control(jws.kid));
	MUST(within(jws.typ, jws.typ_text, sizeof(jws.typ_text)) && !str_has_control(jws.typ));
	MUST(within(jws.signed_part, token.p, token.n) && jws.signature.n && jws.payload.n);
	MUST(jws_verify(&jws, secret, UINT32_MAX, &why) != ERR_OK);
	MUST(jws_verify(&jws, set, 0, &why) == ERR_UNAUTHENTICATED);
	if (jws_verify(&jws, set, UINT32_MAX, &why) == ERR_OK)
		MUST(str_is(jws.payload, payload) && jws.alg == JWA_ES256);
}

static void as_header(struct str header)
{
	struct buf token = BUF_INIT(JWS_MAX);
	b64url_add(&token, header.p, header.n);
	buf_adds(&token, STR(".e30.AAAA"));
	if (!token.err)
		as_token(buf_str(&token));
	buf_free(&token);
}

static void must_be_clean(struct str s)
{
	MUST(str_utf8_valid(s) && !str_has_control(s));
}

static void as_payload(struct str text)
{
	static const struct str audience = {"a", 1};
	static const struct issuer_rule rules[] = {
		{.issuer = {"i", 1}, .audiences = &audience, .audience_count = 1},
		{.issuer = {"i", 1},
			.alias = {"x", 1},
			.audiences = &audience,
			.audience_count = 1,
			.typ_jwt = true,
			.default_scopes = SCOPE_ADMIN}};
	static struct claims claims;
	struct str iss;
	bool peeked = claims_peek_issuer(text, &iss);
	for (size_t i = 0; i < 2; i++) {
		const char *why = NULL;
		if (claims_read(text, STR("at+jwt"), &rules[i], 1000, &claims, &why)) {
			MUST(why);
			continue;
		}
		MUST(peeked && json_string_is(iss, "i"));
		MUST(claims.exp > 1000 && claims.nbf <= 1030 && claims.iat <= 1030);
		struct principal *p = claims_principal(&claims, &rules[i]);
		must_be_clean(p->user);
		must_be_clean(p->name);
		must_be_clean(p->client);
		must_be_clean(p->jti);
		MUST(p->user.n && p->subject.n <= CLAIM_TEXT_MAX);
		MUST(i == 0 || str_starts(p->user, STR("x|")));
		for (size_t r = 0; r < p->room_count; r++)
			must_be_clean(p->rooms[r]);
		principal_unref(&p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	as_token(text);
	as_header(text);
	as_payload(text);
	return 0;
}
