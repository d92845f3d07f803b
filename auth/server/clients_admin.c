/* client.add, client.list, client.remove. */
#include "auth/server/admin.h"
#include "auth/server/issuer.h"
#include "auth/jwk.h"
#include "auth/server/redirect.h"
#include "core/mem.h"
#include "store/store.h"

#include <openssl/crypto.h>
#include <time.h>

enum { ITEMS_MAX = 16 };

static const char *const grants[] = {
	"authorization_code", "refresh_token", "client_credentials", "device_code"};

/* While the store works. */
struct adding {
	char id[1 + CLIENT_ID_DIGITS + 1];
	char secret[SECRET_TEXT + 1];
	bool has_secret;
};

static bool is_grant(struct str word)
{
	for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++)
		if (str_is(word, grants[i]))
			return true;
	return false;
}

/* Makes words of an array of strings, each of which must pass the check. */
static bool join(struct str array, bool (*check)(struct str), struct buf *words)
{
	struct str item;
	int count = 0;
	for (struct json_walk w = json_walk(array); json_next(&w, NULL, &item);) {
		char text[CLIENT_URIS_MAX];
		size_t n;
		if (json_kind(item) != JSON_STRING || item.n > sizeof(text) ||
			json_decode(item, text, &n) || !check((struct str){text, n}) ||
			++count > ITEMS_MAX)
			return false;
		if (words->n)
			buf_addc(words, ' ');
		buf_add(words, text, n);
	}
	return !words->err;
}

static const char *wrong_with(const struct client_add *p, struct str grant_words, struct str uris)
{
	if (!words_have(grant_words, "authorization_code") &&
		!words_have(grant_words, "client_credentials") &&
		!words_have(grant_words, "device_code"))
		return "Name at least one grant: authorization_code, client_credentials or "
		       "device_code; refresh_token goes on from the first or the last.";
	if (words_have(grant_words, "client_credentials") && p->public.yes)
		return "A public client cannot have client_credentials: it has no secret.";
	if (p->jwks.n && p->public.yes)
		return "A public client has no keys.";
	if (words_have(grant_words, "authorization_code") && !uris.n)
		return "A client with authorization_code needs a redirect URI.";
	return NULL;
}

static void added(struct store_op *op)
{
	struct call *c = op->context;
	struct adding *a = c->state;
	c->state = NULL;
	if (op->err) {
		call_refuse(c, op->err);
	} else {
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_text(o, "client_id", a->id);
		if (a->has_secret)
			json_text(o, "client_secret", a->secret);
		json_close(o, '}');
		call_reply(c);
	}
	OPENSSL_cleanse(a, sizeof(*a));
	free(a);
}

/* NULL, or what is wrong with the keys. A private one is refused: it is not ours to know. */
static const char *wrong_with_keys(struct str jwks)
{
	struct jwk_set *set = NULL;
	const char *why = "they make no sense";
	if (!jwks.n)
		return NULL;
	if (jwk_set_parse(jwks, &set, &why))
		return why;
	bool all = jwk_set_count(set) > 0 && !jwk_set_skipped(set);
	jwk_set_unref(&set);
	return all ? NULL : "every one of them has to be a public key that can sign";
}

struct scope_set client_scope(struct str words, struct str grant_words)
{
	struct scope_set scope = {.scopes = SCOPES_DEFAULT};
	if (words.n)
		scope = scope_set_parse(words);
	if (words_have(grant_words, "authorization_code") || words_have(grant_words, "device_code"))
		scope.openid = scope.profile = true;
	scope.offline = words_have(grant_words, "refresh_token");
	return scope;
}

static void add(struct call *c, struct str grant_words, struct str uris, struct str logout_uris)
{
	const struct client_add *p = c->params;
	struct adding *a = mem_new(struct adding);
	unsigned char hash[SECRET_HASH];
	char scope[SCOPE_SET_TEXT_MAX];
	a->has_secret = !p->public.yes && !p->jwks.n;
	a->id[0] = '_';
	secret_make_hex(a->id + 1, CLIENT_ID_DIGITS);
	secret_make(a->secret);
	secret_hash(str_of(a->secret), hash);
	struct store_value secret = STORE_NULL, jwks = STORE_NULL;
	struct str alg = p->id_token_alg.n ? p->id_token_alg : STR("ES256");
	if (p->jwks.n)
		jwks = STORE_TEXT(p->jwks);
	if (a->has_secret)
		secret = STORE_HASH(hash);
	c->state = a;
	store_ask(STORE_CLIENT_ADD, added, c, STORE_TEXT(str_of(a->id)), STORE_TEXT(p->name),
		secret, STORE_TEXT(grant_words), STORE_TEXT(uris),
		STORE_TEXT(scope_set_text(client_scope(p->scope, grant_words), scope)),
		STORE_INT(time(NULL)), STORE_INT(p->trusted.yes), STORE_TEXT(logout_uris), jwks,
		STORE_TEXT(alg), STORE_END);
}

const char client_uri_rule[] =
	"A redirect URI is https, http on this machine (localhost, 127.0.0.1, [::1]) or of a "
	"scheme "
	"with a dot, without fragment, and at most 512 bytes; at most 16 of them.";

bool client_join_uris(struct str array, struct buf *words)
{
	return join(array, redirect_valid, words);
}

void client_add_run(struct call *c)
{
	const struct client_add *p = c->params;
	struct buf words = BUF_INIT(256), uris = BUF_INIT(CLIENT_URIS_MAX);
	struct buf logout_uris = BUF_INIT(CLIENT_URIS_MAX);
	const char *wrong = NULL;
	if (!join(p->grants, is_grant, &words))
		call_refuse(c, ERR_PARAMS, .field = STR("grants"),
			.message = "Grants are authorization_code, refresh_token, "
				   "client_credentials and device_code.");
	else if (!join(p->redirect_uris, redirect_valid, &uris))
		call_refuse(
			c, ERR_PARAMS, .field = STR("redirect_uris"), .message = client_uri_rule);
	else if (!join(p->post_logout_redirect_uris, redirect_valid, &logout_uris))
		call_refuse(c, ERR_PARAMS, .field = STR("post_logout_redirect_uris"),
			.message = client_uri_rule);
	else if (!scopes_known(p->scope))
		call_refuse(c, ERR_PARAMS, .field = STR("scope"),
			.message = "One of these words is not a scope.");
	else if (p->id_token_alg.n && !str_is(p->id_token_alg, "ES256") &&
		!str_is(p->id_token_alg, "RS256"))
		call_refuse(c, ERR_PARAMS, .field = STR("id_token_alg"),
			.message = "ID tokens are signed with ES256 or RS256.");
	else if ((wrong = wrong_with_keys(p->jwks)))
		call_refuse(c, ERR_PARAMS, .field = STR("jwks"), .message = wrong);
	else if ((wrong = wrong_with(p, buf_str(&words), buf_str(&uris))))
		call_refuse(c, ERR_PARAMS, .message = wrong);
	else
		add(c, buf_str(&words), buf_str(&uris), buf_str(&logout_uris));
	buf_free(&words);
	buf_free(&uris);
	buf_free(&logout_uris);
}

/* ---- list ---- */

static void write_words(struct json_out *o, const char *key, struct str words)
{
	struct str word;
	json_open(o, key, '[');
	while ((word = word_next(&words)).n)
		json_str(o, NULL, word);
	json_close(o, ']');
}

void client_write(struct json_out *o, const struct store_op *op, size_t row)
{
	json_open(o, NULL, '{');
	json_str(o, "client_id", store_str(op, row, 0));
	json_str(o, "name", store_str(op, row, 1));
	json_bool(o, "public", store_int(op, row, 2) != 0);
	write_words(o, "grants", store_str(op, row, 3));
	write_words(o, "redirect_uris", store_str(op, row, 4));
	json_str(o, "scope", store_str(op, row, 5));
	json_int(o, "created_at", store_int(op, row, 6));
	json_bool(o, "trusted", store_int(op, row, 7) != 0);
	write_words(o, "post_logout_redirect_uris", store_str(op, row, 8));
	json_bool(o, "keys", store_int(op, row, 9) != 0);
	json_str(o, "id_token_alg", store_str(op, row, 10));
	json_close(o, '}');
}

static void listed(struct store_op *op)
{
	admin_reply_list(op, "clients", client_write);
}

void client_list_run(struct call *c)
{
	admin_list(c, STORE_CLIENT_LIST, listed);
}

/* ---- remove ---- */

static void removed(struct store_op *op)
{
	struct call *c = op->context;
	if (!call_refused(c, op->err, .message = "There is no client of this id.")) {
		issuer_withdrawn(WITHDRAWN_CLIENT, op->args[0].bytes, op->args[1].number, 0);
		call_reply_empty(c);
	}
}

/* Its tokens end with it. */
void client_remove_run(struct call *c)
{
	const struct client_remove *p = c->params;
	int64_t now = (int64_t)time(NULL);
	store_ask(STORE_CLIENT_REMOVE, removed, c, STORE_TEXT(p->client_id), STORE_INT(now),
		STORE_INT(withdrawal_until(WITHDRAWN_CLIENT, p->client_id, now)), STORE_END);
}
