#include "auth/bearer.h"

#include "auth/b64url.h"
#include "core/json_scan.h"
#include "core/map.h"
#include "core/mem.h"

#include <assert.h>
#include <openssl/sha.h>

/* A token that passed. Those in use are in a ring, the one looked at last in front. */
struct entry {
	struct entry *before, *behind;
	struct principal *principal;
	size_t issuer;
	unsigned kept; /* claims_kept_generation() when it was checked */
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* the map's key */
};

struct bearer {
	const struct issuer_rule *rules;
	size_t rule_count, cache;
	struct jwk_set *sets[BEARER_ISSUERS_MAX];
	struct map entries;
	struct entry ring; /* holds no token: what is behind it is newest, before it oldest */
	uint64_t hits, verified, refused;
};

struct bearer *bearer_new(const struct issuer_rule *rules, size_t count, size_t cache)
{
	assert(count <= BEARER_ISSUERS_MAX);
	struct bearer *b = mem_new(struct bearer);
	b->rules = rules;
	b->rule_count = count;
	b->cache = cache;
	b->ring.before = b->ring.behind = &b->ring;
	return b;
}

static struct str key_of(const struct entry *e)
{
	return (struct str){(const char *)e->digest, sizeof(e->digest)};
}

static void unlink_entry(struct entry *e)
{
	e->before->behind = e->behind;
	e->behind->before = e->before;
}

static void put_in_front(struct bearer *b, struct entry *e)
{
	e->before = &b->ring;
	e->behind = b->ring.behind;
	e->before->behind = e->behind->before = e;
}

static void drop(struct bearer *b, struct entry *e)
{
	map_remove(&b->entries, key_of(e));
	unlink_entry(e);
	principal_unref(&e->principal);
	free(e);
}

void bearer_free(struct bearer **b)
{
	if (!*b)
		return;
	bearer_forget(*b, BEARER_ALL, STR(""));
	for (size_t i = 0; i < BEARER_ISSUERS_MAX; i++)
		jwk_set_unref(&(*b)->sets[i]);
	map_free(&(*b)->entries);
	free(*b);
	*b = NULL;
}

static void forget_issuer(struct bearer *b, size_t issuer)
{
	struct entry *next;
	for (struct entry *e = b->ring.behind; e != &b->ring; e = next) {
		next = e->behind;
		if (e->issuer == issuer)
			drop(b, e);
	}
}

void bearer_set_keys(struct bearer *b, size_t issuer, struct jwk_set *set)
{
	assert(issuer < b->rule_count);
	struct jwk_set *old = b->sets[issuer];
	if (!jwk_set_same(old, set))
		forget_issuer(b, issuer);
	b->sets[issuer] = set ? jwk_set_ref(set) : NULL;
	jwk_set_unref(&old);
}

struct jwk_set *bearer_keys(const struct bearer *b, size_t issuer)
{
	return b->sets[issuer];
}

bool bearer_matches(const struct principal *p, enum bearer_match match, struct str value)
{
	switch (match) {
	case BEARER_JTI:
		return str_eq(p->jti, value);
	case BEARER_SID:
		return str_eq(p->sid, value);
	case BEARER_USER:
		return str_eq(p->user, value);
	case BEARER_CLIENT:
		return str_eq(p->client, value);
	case BEARER_ALL:
		break;
	}
	return true;
}

size_t bearer_forget(struct bearer *b, enum bearer_match match, struct str value)
{
	struct entry *next;
	size_t count = 0;
	for (struct entry *e = b->ring.behind; e != &b->ring; e = next) {
		next = e->behind;
		if (!bearer_matches(e->principal, match, value))
			continue;
		drop(b, e);
		count++;
	}
	return count;
}

/* Keeps the principal (a reference of its own) for this token; the oldest makes place. */
static void keep(struct bearer *b, const unsigned char *digest, size_t issuer, unsigned generation,
	const struct principal *principal)
{
	if (!b->cache)
		return;
	if (b->entries.count >= b->cache)
		drop(b, b->ring.before);
	struct entry *e = mem_new(struct entry);
	memcpy(e->digest, digest, sizeof(e->digest));
	e->principal = principal_ref(principal);
	e->issuer = issuer;
	e->kept = generation;
	put_in_front(b, e);
	map_put(&b->entries, key_of(e), e);
}

static enum err refuse(const char *why, struct bearer_fail *fail)
{
	fail->why = why;
	return ERR_UNAUTHENTICATED;
}

/* Which issuer the token says it is of: only to find its keys, which then decide. */
static int find_rule(const struct bearer *b, struct str payload)
{
	struct str iss;
	if (!claims_peek_issuer(payload, &iss))
		return -1;
	for (size_t i = 0; i < b->rule_count; i++)
		if (json_string_eq(iss, b->rules[i].issuer))
			return (int)i;
	return -1;
}

static void want_keys(struct bearer_fail *fail)
{
	fail->wants_keys = true;
	fail->step = CHECK_KEY;
}

/* What the token says of itself, for the log; cut where it is too long to be anybody's. */
static void note_kid(const struct jws *jws, struct bearer_fail *fail)
{
	fail->kid_n = jws->kid.n;
	memcpy(fail->kid, jws->kid.p, jws->kid.n);
}

static void note_issuer(struct str payload, struct bearer_fail *fail)
{
	struct str iss;
	if (!claims_peek_issuer(payload, &iss))
		return;
	fail->iss_n = iss.n < sizeof(fail->iss) ? iss.n : sizeof(fail->iss);
	memcpy(fail->iss, iss.p, fail->iss_n);
}

/* Steps 1 to 4. */
static enum err verify(
	struct bearer *b, struct str token, struct jws *jws, struct bearer_fail *fail)
{
	enum err err = jws_parse(token, jws, &fail->why);
	if (err) {
		fail->no_jwt = !jws_form(token);
		fail->step = fail->no_jwt ? CHECK_FORM : CHECK_HEADER;
		return err;
	}
	note_kid(jws, fail);
	fail->step = CHECK_ISSUER;
	fail->issuer = find_rule(b, jws->payload);
	if (fail->issuer < 0) {
		note_issuer(jws->payload, fail);
		return refuse("the token's iss is none of the issuers", fail);
	}
	const struct issuer_rule *rule = &b->rules[fail->issuer];
	fail->step = CHECK_ALGORITHM;
	if (!(rule->algs & JWA_BIT(jws->alg))) /* before anybody is asked for keys */
		return refuse("the header's alg is not allowed for this issuer", fail);
	const struct jwk_set *set = b->sets[fail->issuer];
	if (!set) {
		want_keys(fail);
		return refuse("the issuer's keys are not there", fail);
	}
	fail->step = jws->has_kid ? CHECK_SIGNATURE : CHECK_KEY;
	err = jws_verify(jws, set, rule->algs, &fail->why);
	if (err == ERR_NOT_FOUND) {
		want_keys(fail);
		err = ERR_UNAUTHENTICATED;
	}
	return err;
}

/* A token that has no name of its own gets one, so that it can be revoked: of what is signed, for a
 * signature can be written in more than one way. */
static struct str make_jti(struct str token, char *out)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	const char *dot = memrchr(token.p, '.', token.n);
	SHA256((const unsigned char *)token.p, dot ? (size_t)(dot - token.p) : token.n, digest);
	return bearer_made_jti(digest, out);
}

struct str bearer_made_jti(const unsigned char digest[32], char out[BEARER_JTI_MADE])
{
	struct buf b = BUF_INIT(BEARER_JTI_MADE);
	buf_addc(&b, '~');
	b64url_add(&b, digest, SHA256_DIGEST_LENGTH);
	size_t n = b.n;
	memcpy(out, b.p, n);
	buf_free(&b);
	return (struct str){out, n};
}

/* All steps, without the cache. */
static enum err check(struct bearer *b, struct str token, int64_t now, struct principal **ret,
	struct bearer_fail *fail)
{
	struct jws jws;
	struct claims claims;
	enum err err = verify(b, token, &jws, fail);
	if (err)
		return err;
	const struct issuer_rule *rule = &b->rules[fail->issuer];
	err = claims_read(jws.payload, jws.typ, rule, now, &claims, &fail->why);
	fail->step = claims.step;
	if (err)
		return err;
	char jti[BEARER_JTI_MADE];
	if (!claims.jti.n)
		claims.jti = make_jti(token, jti);
	*ret = claims_principal(&claims, rule);
	return ERR_OK;
}

enum err bearer_check(struct bearer *b, struct str token, int64_t now, struct principal **ret,
	struct bearer_fail *ret_fail)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	*ret_fail = (struct bearer_fail){.issuer = -1};
	if (token.n > JWS_MAX) {
		b->refused++;
		return refuse("the token is larger than 8 KiB", ret_fail);
	}
	SHA256((const unsigned char *)token.p, token.n, digest);
	struct entry *e = map_get(&b->entries, (struct str){(char *)digest, sizeof(digest)});
	unsigned generation = claims_kept_generation(); /* or newer, when they are read */
	if (e && now < e->principal->expires_at && e->kept == generation) {
		unlink_entry(e);
		put_in_front(b, e);
		b->hits++;
		*ret = principal_ref(e->principal);
		return ERR_OK;
	}
	if (e)
		drop(b, e); /* the check below says why it is refused, or keeps other claims */
	enum err err = check(b, token, now, ret, ret_fail);
	if (err) {
		b->refused++;
		return err;
	}
	b->verified++;
	keep(b, digest, (size_t)ret_fail->issuer, generation, *ret);
	return ERR_OK;
}

struct bearer_counts bearer_counts(const struct bearer *b)
{
	return (struct bearer_counts){b->hits, b->verified, b->refused, b->entries.count};
}
