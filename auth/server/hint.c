#include "auth/server/hint.h"

#include "auth/jws.h"
#include "auth/server/issuer.h"
#include "auth/server/keys.h"
#include "core/json_scan.h"
#include "core/mem.h"

/* A string claim without NUL, which fits. */
static bool take(struct str payload, const char *name, char *out, size_t size)
{
	struct str value;
	char text[256];
	size_t n;
	if (!json_get(payload, name, &value) || json_kind(value) != JSON_STRING ||
		value.n > sizeof(text))
		return false;
	if (json_decode(value, text, &n) || !n || n >= size || memchr(text, 0, n))
		return false;
	memcpy(out, text, n);
	out[n] = 0;
	return true;
}

static bool read_payload(struct str payload, struct id_hint *hint)
{
	struct str iss;
	if (json_check(payload, NULL) || json_kind(payload) != JSON_OBJECT || json_once(payload))
		return false;
	if (!json_get(payload, "iss", &iss) || json_kind(iss) != JSON_STRING ||
		!json_string_eq((struct str){iss.p + 1, iss.n - 2}, issuer->url))
		return false;
	return take(payload, "sub", hint->user, sizeof(hint->user)) &&
		take(payload, "aud", hint->client, sizeof(hint->client));
}

bool id_hint_read(struct str token, struct id_hint *ret_hint)
{
	struct jws *jws = mem_new(struct jws); /* too large for the stack */
	struct id_hint hint = {0};
	const char *why;
	enum err err = jws_parse(token, jws, &why);
	bool fine = !err && str_is(jws->typ, "JWT");
	if (fine)
		err = jws_verify(
			jws, keys_now()->public, JWA_BIT(JWA_ES256) | JWA_BIT(JWA_RS256), &why);
	hint.proven = !err;
	fine = fine && (!err || err == ERR_NOT_FOUND) && read_payload(jws->payload, &hint);
	free(jws);
	if (fine)
		*ret_hint = hint;
	return fine;
}
