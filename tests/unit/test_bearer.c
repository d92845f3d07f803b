/* bearer and keyring: the whole check with several issuers, the cache, and when keys are fetched. */
#include "auth/bearer.h"

#include "auth/keyring.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "tests/unit/token_made.h"

enum { NOW = 1800000000, OWN = 0, CORP = 1, SHARED = 2 };

static const struct str audiences[] = {{"https://signalbox.example", 25}};
static struct issuer_rule rules[] = {
	{.issuer = {"https://signalbox.example", 25}},
	{.issuer = {"https://id.example", 18},
		.alias = {"corp", 4},
		.typ_jwt = true,
		.default_scopes = SCOPES_DEFAULT},
	{.issuer = {"urn:shared", 10}, .alias = {"shared", 6}, .typ_jwt = true},
};
static const char secret[33] = "0123456789abcdef0123456789abcdef";
static struct keypair own_key, corp_key, other_key;
static struct jwk_set *own_set, *corp_set, *shared_set;
static struct bearer *bearer;
static struct bearer_fail failed;

static int make_keys(void **state)
{
	(void)state;
	const struct keypair *own[] = {&own_key}, *corp[] = {&corp_key};
	for (size_t i = 0; i < COUNT(rules); i++) {
		rules[i].audiences = audiences;
		rules[i].audience_count = 1;
		rules[i].algs = i == SHARED ? jwa_of_kind(JWK_OCT) : jwa_default();
	}
	assert_int_equal(keypair_generate(JWA_ES256, &own_key), ERR_OK);
	assert_int_equal(keypair_generate(JWA_RS256, &corp_key), ERR_OK);
	assert_int_equal(keypair_generate(JWA_ES256, &other_key), ERR_OK);
	own_set = made_set(own, 1);
	corp_set = made_set(corp, 1);
	return (int)jwk_set_of_secret(str_of(secret), &shared_set);
}

static int free_keys(void **state)
{
	(void)state;
	keypair_finish(&own_key);
	keypair_finish(&corp_key);
	keypair_finish(&other_key);
	jwk_set_unref(&own_set);
	jwk_set_unref(&corp_set);
	jwk_set_unref(&shared_set);
	return 0;
}

static int begin(void **state)
{
	(void)state;
	bearer = bearer_new(rules, COUNT(rules), 4);
	bearer_set_keys(bearer, OWN, own_set);
	bearer_set_keys(bearer, CORP, corp_set);
	bearer_set_keys(bearer, SHARED, shared_set);
	return 0;
}

static int end(void **state)
{
	(void)state;
	bearer_free(&bearer);
	assert_null(bearer);
	bearer_free(&bearer);
	return 0;
}

/* A token of this issuer for sub; more is spliced into the claims. */
static struct buf token_of(size_t issuer, const struct keypair *pair, const char *sub,
	int64_t expires, const char *more)
{
	struct buf payload = BUF_INIT(JWS_MAX), token = BUF_INIT(JWS_MAX);
	buf_addf(&payload,
		"{\"iss\":\"%s\",\"aud\":\"https://signalbox.example\",\"sub\":\"%s\","
		"\"exp\":%lld,\"jti\":\"j-%s\",\"client_id\":\"web\"%s}",
		rules[issuer].issuer.p, sub, (long long)expires, sub, more);
	assert_int_equal(jws_sign(pair, "at+jwt", buf_str(&payload), &token), ERR_OK);
	buf_free(&payload);
	return token;
}

static struct buf own_token(const char *sub)
{
	return token_of(OWN, &own_key, sub, NOW + 600, "");
}

/* The user that the token makes, "" when it is refused. The answer stays until the next call. */
static const char *user_at(struct buf token, int64_t now)
{
	static char user[600];
	struct principal *p = NULL;
	enum err err = bearer_check(bearer, buf_str(&token), now, &p, &failed);
	user[0] = 0;
	if (err) {
		assert_true(!p && failed.why && err == ERR_UNAUTHENTICATED);
		return user;
	}
	memcpy(user, p->user.p, p->user.n);
	user[p->user.n] = 0;
	principal_unref(&p);
	return user;
}

/* The same for a token that is not needed any longer. */
static const char *user_of(struct buf token)
{
	const char *user = user_at(token, NOW);
	buf_free(&token);
	return user;
}

static void who(void **state)
{
	(void)state;
	assert_string_equal(user_of(own_token("ann")), "ann");
	assert_string_equal(user_of(token_of(CORP, &corp_key, "ann", NOW + 1, "")), "corp|ann");
	struct buf header = made_header("HS256", "JWT", NULL);
	struct str payload = STR("{\"iss\":\"urn:shared\",\"aud\":\"https://signalbox.example\","
				 "\"sub\":\"ann\",\"exp\":1800000600}");
	assert_string_equal(
		user_of(made_hmac_token(buf_str(&header), payload, str_of(secret), EVP_sha256())),
		"shared|ann");
	buf_free(&header);
	struct bearer_counts counts = bearer_counts(bearer);
	assert_int_equal(counts.verified, 3);
	assert_int_equal(counts.cached, 3);
}

/* One issuer's key says nothing about another's users, whatever the kid. */
static void issuers_are_apart(void **state)
{
	(void)state;
	struct keypair fake = other_key;
	memcpy(fake.kid, corp_key.kid, sizeof(fake.kid));
	assert_string_equal(user_of(token_of(CORP, &own_key, "ann", NOW + 600, "")), "");
	assert_true(failed.wants_keys); /* corp has no such kid */
	assert_int_equal(failed.issuer, CORP);
	assert_true(str_is((struct str){failed.kid, failed.kid_n}, own_key.kid));
	memcpy(fake.kid, own_key.kid, sizeof(fake.kid));
	assert_string_equal(user_of(token_of(OWN, &fake, "ann", NOW + 600, "")), "");
	assert_false(failed.wants_keys);
	/* the same kid at both, each with a key of its own */
	const struct keypair *one[] = {&fake};
	struct jwk_set *same_kid = made_set(one, 1);
	bearer_set_keys(bearer, CORP, same_kid);
	assert_string_equal(user_of(token_of(CORP, &fake, "ann", NOW + 600, "")), "corp|ann");
	assert_string_equal(user_of(token_of(CORP, &own_key, "ann", NOW + 600, "")), "");
	assert_string_equal(user_of(token_of(OWN, &own_key, "ann", NOW + 600, "")), "ann");
	assert_string_equal(user_of(token_of(OWN, &fake, "ann", NOW + 600, "")), "");
	jwk_set_unref(&same_kid);
}

static void refused(void **state)
{
	(void)state;
	assert_string_equal(user_of(token_of(OWN, &own_key, "ann", NOW, "")), "");
	assert_string_equal(user_of(token_of(OWN, &own_key, "", NOW + 600, "")), "");
	assert_string_equal(user_of(token_of(OWN, &own_key, "a|b", NOW + 600, "")), "");
	assert_string_equal(
		user_of(token_of(OWN, &own_key, "ann", NOW + 600, ",\"sub\":\"bob\"")), "");
	assert_string_equal(
		user_of(token_of(OWN, &own_key, "ann", NOW + 600, ",\"iss\":\"x\"")), "");
	assert_string_equal(user_of(token_of(OWN, &own_key, "ann", NOW + 600, ",\"cnf\":{}")), "");
	assert_int_equal(failed.issuer, OWN);
	assert_false(failed.no_jwt || failed.wants_keys);
	struct buf nobody = BUF_INIT(JWS_MAX);
	assert_int_equal(
		jws_sign(&own_key, "at+jwt", STR("{\"iss\":\"https://evil\"}"), &nobody), ERR_OK);
	assert_string_equal(user_of(nobody), "");
	assert_int_equal(failed.issuer, -1);
	static const char *const texts[] = {"", "opaque", "a.b", ".e30.AA", "a.b.c.d.e"};
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct buf b = BUF_INIT(100);
		buf_adds(&b, str_of(texts[i]));
		assert_string_equal(user_of(b), "");
		assert_true(failed.no_jwt);
	}
	struct buf huge = BUF_INIT(1 << 20);
	buf_addf(&huge, "%0*d.e30.AA", 300 * 1024, 1);
	assert_string_equal(user_of(huge), "");
	assert_int_equal(bearer_counts(bearer).cached, 0);
	assert_int_equal(bearer_counts(bearer).refused, 13);
}

static void alg_not_allowed(void **state)
{
	(void)state;
	struct issuer_rule strict = rules[CORP];
	strict.algs = JWA_BIT(JWA_PS256);
	struct bearer *b = bearer_new(&strict, 1, 4);
	struct principal *p;
	struct buf token = token_of(CORP, &corp_key, "ann", NOW + 600, "");
	bearer_set_keys(b, 0, corp_set);
	assert_int_equal(bearer_check(b, buf_str(&token), NOW, &p, &failed), ERR_UNAUTHENTICATED);
	bearer_free(&b);
	buf_free(&token);
}

static void cached(void **state)
{
	(void)state;
	struct buf token = own_token("ann");
	for (int i = 0; i < 5; i++)
		assert_string_equal(user_at(token, NOW + i), "ann");
	assert_int_equal(bearer_counts(bearer).verified, 1);
	assert_int_equal(bearer_counts(bearer).hits, 4);
	/* to its last second, and not beyond */
	assert_string_equal(user_at(token, NOW + 599), "ann");
	assert_string_equal(user_at(token, NOW + 600), "");
	assert_string_equal(failed.why, "the token has expired");
	assert_int_equal(bearer_counts(bearer).cached, 0);
	/* one digit of the signature more or less is another token */
	assert_string_equal(user_at(token, NOW), "ann");
	token.p[token.n - 5] = token.p[token.n - 5] == 'A' ? 'B' : 'A';
	assert_string_equal(user_at(token, NOW), "");
	buf_free(&token);
}

/* Who shows a token again gets the claims that a rule has named since. */
static void cached_with_other_claims(void **state)
{
	(void)state;
	static const struct str wanted[] = {{"team", 4}};
	struct buf token = token_of(OWN, &own_key, "ann", NOW + 600, ",\"team\":\"red\"");
	struct principal *p = NULL;
	struct str json;
	assert_string_equal(user_at(token, NOW), "ann");
	claims_keep(wanted, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bearer_check(bearer, buf_str(&token), NOW, &p, &failed), ERR_OK);
		assert_true(principal_claim(p, STR("team"), &json) && str_is(json, "\"red\""));
		principal_unref(&p);
	}
	assert_int_equal(bearer_counts(bearer).verified, 2);
	assert_int_equal(bearer_counts(bearer).cached, 1);
	claims_keep(NULL, 0);
	buf_free(&token);
}

static void cache_is_bounded(void **state)
{
	(void)state;
	static const char *const subs[] = {"a", "b", "c", "d", "e", "f"};
	struct buf tokens[COUNT(subs)];
	for (size_t i = 0; i < COUNT(subs); i++) {
		tokens[i] = own_token(subs[i]);
		assert_string_equal(user_at(tokens[i], NOW), subs[i]);
		assert_string_equal(user_at(tokens[0], NOW), "a"); /* used, so it stays */
		assert_in_range(bearer_counts(bearer).cached, 1, 4);
	}
	uint64_t verified = bearer_counts(bearer).verified;
	assert_string_equal(user_at(tokens[5], NOW), "f");
	assert_string_equal(user_at(tokens[0], NOW), "a");
	assert_int_equal(bearer_counts(bearer).verified, verified);
	assert_string_equal(user_at(tokens[1], NOW), "b");
	assert_int_equal(bearer_counts(bearer).verified, verified + 1);
	struct bearer *none = bearer_new(rules, COUNT(rules), 0);
	struct principal *p;
	bearer_set_keys(none, OWN, own_set);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bearer_check(none, buf_str(&tokens[0]), NOW, &p, &failed), ERR_OK);
		principal_unref(&p);
	}
	assert_int_equal(bearer_counts(none).verified, 2);
	bearer_free(&none);
	for (size_t i = 0; i < COUNT(subs); i++)
		buf_free(&tokens[i]);
}

static void forgotten(void **state)
{
	(void)state;
	static const struct {
		enum bearer_match match;
		const char *value;
		size_t count;
	} rows[] = {{BEARER_JTI, "j-ann", 2}, {BEARER_JTI, "j-", 0}, {BEARER_USER, "ann", 1},
		{BEARER_USER, "corp|ann", 1}, {BEARER_CLIENT, "web", 3}, {BEARER_CLIENT, "", 0},
		{BEARER_ALL, "", 3}};
	struct buf tokens[] = {own_token("ann"), own_token("bob"),
		token_of(CORP, &corp_key, "ann", NOW + 600, "")};
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t t = 0; t < COUNT(tokens); t++)
			assert_true(*user_at(tokens[t], NOW));
		assert_int_equal(
			bearer_forget(bearer, rows[i].match, str_of(rows[i].value)), rows[i].count);
		assert_int_equal(bearer_counts(bearer).cached, 3 - rows[i].count);
	}
	for (size_t t = 0; t < COUNT(tokens); t++)
		buf_free(&tokens[t]);
}

/* Keys that go take with them what they let in; the same keys again take nothing. */
static void keys_change(void **state)
{
	(void)state;
	const struct keypair *others[] = {&other_key};
	struct jwk_set *other_set = made_set(others, 1);
	struct buf text = made_jwks((const struct keypair *[]){&own_key}, 1);
	struct jwk_set *again;
	const char *why;
	assert_int_equal(jwk_set_parse(buf_str(&text), &again, &why), ERR_OK);
	struct buf own = own_token("ann"), corp = token_of(CORP, &corp_key, "ann", NOW + 600, "");
	assert_string_equal(user_at(own, NOW), "ann");
	assert_string_equal(user_at(corp, NOW), "corp|ann");
	bearer_set_keys(bearer, OWN, again);
	jwk_set_unref(&again);
	assert_int_equal(bearer_counts(bearer).cached, 2);
	bearer_set_keys(bearer, OWN, other_set);
	jwk_set_unref(&other_set);
	assert_int_equal(bearer_counts(bearer).cached, 1);
	assert_string_equal(user_at(own, NOW), "");
	assert_true(failed.wants_keys);
	assert_string_equal(user_of(token_of(OWN, &other_key, "bob", NOW + 600, "")), "bob");
	bearer_set_keys(bearer, CORP, NULL);
	assert_string_equal(user_at(corp, NOW), "");
	assert_true(failed.wants_keys && failed.issuer == CORP);
	buf_free(&own);
	buf_free(&corp);
	buf_free(&text);
}

/* Keyring. */

static struct keyring ring;

static int begin_ring(void **state)
{
	(void)state;
	keyring_init(&ring);
	return 0;
}

static int end_ring(void **state)
{
	(void)state;
	keyring_finish(&ring);
	keyring_finish(&ring);
	return 0;
}

static void first_fetch(void **state)
{
	(void)state;
	assert_null(keyring_keys(&ring, NOW));
	assert_int_equal(keyring_tick(&ring, NOW), KEYRING_FETCH);
	assert_int_equal(keyring_tick(&ring, NOW), KEYRING_IDLE);
	assert_int_equal(keyring_unknown(&ring, STR("a"), NOW), KEYRING_WAIT);
	keyring_failed(&ring, NOW + 5);
	assert_int_equal(keyring_unknown(&ring, STR("a"), NOW + 34), KEYRING_REFUSE);
	assert_int_equal(keyring_tick(&ring, NOW + 34), KEYRING_IDLE);
	assert_int_equal(keyring_unknown(&ring, STR("a"), NOW + 35), KEYRING_FETCH);
	assert_int_equal(keyring_unknown(&ring, STR("a"), NOW + 35), KEYRING_WAIT);
	assert_true(keyring_arrived(&ring, corp_set, NOW + 36));
	assert_ptr_equal(keyring_keys(&ring, NOW + 36), corp_set);
	assert_int_equal(keyring_unknown(&ring, STR("a"), NOW + 36), KEYRING_REFUSE);
}

static void ages(void **state)
{
	(void)state;
	assert_int_equal(keyring_tick(&ring, NOW), KEYRING_FETCH);
	assert_true(keyring_arrived(&ring, corp_set, NOW));
	assert_int_equal(keyring_tick(&ring, NOW + KEYRING_TTL - 1), KEYRING_IDLE);
	assert_int_equal(keyring_tick(&ring, NOW + KEYRING_TTL), KEYRING_FETCH);
	assert_false(keyring_arrived(&ring, corp_set, NOW + KEYRING_TTL));
	int64_t from = NOW + KEYRING_TTL, now = from + KEYRING_TTL;
	int fetches = 0;
	for (; now < from + KEYRING_STALE + 600; now++) {
		if (keyring_tick(&ring, now) == KEYRING_FETCH) {
			keyring_failed(&ring, now);
			fetches++;
		}
		assert_int_equal(keyring_keys(&ring, now) != NULL, now < from + KEYRING_STALE);
	}
	assert_in_range(
		fetches, KEYRING_STALE / KEYRING_COOLDOWN - 30, KEYRING_STALE / KEYRING_COOLDOWN);
	assert_int_equal(keyring_tick(&ring, now + 60), KEYRING_FETCH);
	assert_false(keyring_arrived(&ring, corp_set, now + 60));
	assert_non_null(keyring_keys(&ring, now + 60));
}

/* Random kids by the thousand: one request each half minute. */
static void flood(void **state)
{
	(void)state;
	int fetches = 0;
	for (int i = 0; i < 60000; i++) {
		char kid[32];
		int64_t now = NOW + i / 100;
		int n = snprintf(kid, sizeof(kid), "k%ld", random());
		enum keyring_step step = keyring_unknown(&ring, (struct str){kid, (size_t)n}, now);
		if (step == KEYRING_FETCH)
			fetches++;
		if (step == KEYRING_FETCH || (ring.fetching && i % 50 == 49))
			continue;
		if (ring.fetching)
			keyring_arrived(&ring, own_set, now);
	}
	assert_in_range(fetches, 18, 20);
	/* a new key of the issuer is found all the same, by whatever fetch comes next */
	assert_ptr_equal(keyring_keys(&ring, NOW + 600), own_set);
}

static void remembered(void **state)
{
	(void)state;
	assert_int_equal(keyring_tick(&ring, NOW), KEYRING_FETCH);
	keyring_arrived(&ring, own_set, NOW);
	int64_t now = NOW + KEYRING_COOLDOWN;
	assert_int_equal(keyring_unknown(&ring, STR("bad"), now), KEYRING_FETCH);
	assert_int_equal(keyring_unknown(&ring, str_of(corp_key.kid), now), KEYRING_WAIT);
	assert_false(keyring_arrived(&ring, own_set, now));
	/* for five minutes nobody is asked about these again, though others are */
	now += KEYRING_COOLDOWN;
	assert_int_equal(keyring_unknown(&ring, STR("bad"), now), KEYRING_REFUSE);
	assert_int_equal(keyring_unknown(&ring, STR("more"), now), KEYRING_FETCH);
	/* until the set changes */
	assert_true(keyring_arrived(&ring, corp_set, now));
	now += KEYRING_COOLDOWN;
	assert_int_equal(keyring_unknown(&ring, STR("more"), now), KEYRING_REFUSE);
	assert_int_equal(keyring_unknown(&ring, STR("bad"), now), KEYRING_FETCH);
	keyring_failed(&ring, now);
	/* a fetch that failed says nothing of a kid */
	assert_int_equal(keyring_unknown(&ring, STR("bad"), now + KEYRING_COOLDOWN), KEYRING_FETCH);
	keyring_arrived(&ring, corp_set, now);
	assert_int_equal(
		keyring_unknown(&ring, STR("bad"), now + KEYRING_UNKNOWN_TIME - 1), KEYRING_REFUSE);
	assert_int_equal(
		keyring_unknown(&ring, STR("bad"), now + KEYRING_UNKNOWN_TIME), KEYRING_FETCH);
	keyring_failed(&ring, now);
	/* a token without a kid */
	assert_int_equal(keyring_unknown(&ring, STR(""), now + 100), KEYRING_FETCH);
	keyring_failed(&ring, now + 100);
}

#define WITH_BEARER(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define WITH_RING(test) cmocka_unit_test_setup_teardown(test, begin_ring, end_ring)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BEARER(who),
		WITH_BEARER(issuers_are_apart),
		WITH_BEARER(refused),
		WITH_BEARER(alg_not_allowed),
		WITH_BEARER(cached),
		WITH_BEARER(cached_with_other_claims),
		WITH_BEARER(cache_is_bounded),
		WITH_BEARER(forgotten),
		WITH_BEARER(keys_change),
		WITH_RING(first_fetch),
		WITH_RING(ages),
		WITH_RING(flood),
		WITH_RING(remembered),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
