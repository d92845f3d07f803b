#include "auth/server/keys.h"

#include "auth/server/key_rotation.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/store.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <time.h>

enum { PEM_MAX_BYTES = 8192, JWKS_MAX_BYTES = 64 * 1024 };

const enum jwa key_algorithms[KEYS_ALGORITHMS] = {JWA_ES256, JWA_RS256};

static const char *const words[] = {
	[KEY_NEXT] = "next", [KEY_ACTIVE] = "active", [KEY_OLD] = "old"};

static struct key_set *first;             /* what the start has read: as long as there are keys */
static _Thread_local struct key_set *own; /* the worker's, once it has had others */

static bool read_state(struct str word, enum key_state *ret_state)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_is(word, words[i])) {
			*ret_state = (enum key_state)i;
			return true;
		}
	return false;
}

/* ---- one key ---- */

static void wipe(struct str secret)
{
	if (secret.n)
		OPENSSL_cleanse((char *)(uintptr_t)secret.p, secret.n);
}

void signing_key_unref(struct signing_key **ret_key)
{
	struct signing_key *key = *ret_key;
	*ret_key = NULL;
	if (!key || atomic_fetch_sub(&key->refs, 1) > 1)
		return;
	keypair_finish(&key->pair);
	wipe(str_of(key->pem));
	free(key->pem);
	free(key);
}

static struct signing_key *ref(struct signing_key *key)
{
	atomic_fetch_add(&key->refs, 1);
	return key;
}

static struct signing_key *key_new(void)
{
	struct signing_key *key = mem_new(struct signing_key);
	atomic_init(&key->refs, 1);
	return key;
}

struct signing_key *key_make(enum jwa alg)
{
	struct signing_key *key = key_new();
	struct buf pem = BUF_INIT(PEM_MAX_BYTES);
	enum err err = keypair_generate(alg, &key->pair);
	if (!err)
		err = keypair_to_pem(&key->pair, &pem);
	if (!err)
		key->pem = mem_copy(buf_str(&pem));
	wipe(buf_str(&pem));
	buf_free(&pem);
	if (err)
		signing_key_unref(&key);
	return key;
}

/* A key of the store that nobody here has in memory. */
static struct signing_key *key_read(struct str alg_word, struct str pem)
{
	enum jwa alg;
	if (!jwa_find(alg_word, &alg))
		return NULL;
	struct signing_key *key = key_new();
	if (keypair_from_pem(pem, alg, &key->pair))
		signing_key_unref(&key);
	else
		key->pem = mem_copy(pem);
	return key;
}

/* ---- a set ---- */

struct key_set *key_set_ref(struct key_set *set)
{
	atomic_fetch_add(&set->refs, 1);
	return set;
}

void key_set_unref(struct key_set **ret_set)
{
	struct key_set *set = *ret_set;
	*ret_set = NULL;
	if (!set || atomic_fetch_sub(&set->refs, 1) > 1)
		return;
	while (set->count)
		signing_key_unref(&set->list[--set->count].key);
	jwk_set_unref(&set->public);
	free(set->jwks);
	free(set);
}

/* Parsing takes half a millisecond: what is in memory already is not parsed again. */
static struct signing_key *in_memory(
	struct str kid, const struct key_set *known, struct signing_key *made)
{
	if (made && str_is(kid, made->pair.kid))
		return ref(made);
	for (size_t i = 0; known && i < known->count; i++)
		if (str_is(kid, known->list[i].key->pair.kid))
			return ref(known->list[i].key);
	return NULL;
}

static enum err publish(struct key_set *set)
{
	struct buf b = BUF_INIT(JWKS_MAX_BYTES);
	struct json_out o = JSON_OUT(&b);
	const char *why = "";
	enum err err = ERR_OK;
	json_open(&o, NULL, '{');
	json_open(&o, "keys", '[');
	for (size_t i = 0; i < set->count && !err; i++)
		err = keypair_publish(&set->list[i].key->pair, &o);
	json_close(&o, ']');
	json_close(&o, '}');
	if (!err)
		err = b.err;
	if (!err)
		err = jwk_set_parse(buf_str(&b), &set->public, &why);
	if (err)
		buf_free(&b);
	else
		set->jwks = buf_take(&b);
	return err;
}

enum err key_set_read(struct store_op *op, const struct key_set *known, struct signing_key *made,
	struct key_set **ret_set)
{
	struct key_set *set = mem_new(struct key_set);
	enum err err = op->err;
	atomic_init(&set->refs, 1);
	for (size_t i = 0; i < op->rows; i++) {
		struct str kid = store_str(op, i, 0), pem = store_str(op, i, 2);
		struct key_entry e = {
			.active_at = store_int(op, i, 4), .needed_until = store_int(op, i, 5)};
		if (!err && set->count < KEYS_MAX && read_state(store_str(op, i, 3), &e.state)) {
			e.key = in_memory(kid, known, made);
			if (!e.key)
				e.key = key_read(store_str(op, i, 1), pem);
		}
		wipe(pem);
		if (e.key) {
			set->list[set->count++] = e;
		} else {
			log_error("signing key unusable", LOG_STR("kid", kid));
			err = ERR_INTERNAL;
		}
	}
	if (!err)
		err = publish(set);
	if (err)
		key_set_unref(&set);
	else
		*ret_set = set;
	return err;
}

const struct key_entry *key_find(const struct key_set *set, enum jwa alg, enum key_state state)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->list[i].key->pair.alg == alg && set->list[i].state == state)
			return &set->list[i];
	return NULL;
}

/* ---- what is in use ---- */

const struct key_set *keys_now(void)
{
	return own ? own : first;
}

void keys_use(struct key_set *set)
{
	key_set_unref(&own);
	own = set;
}

const struct signing_key *key_for(enum jwa alg)
{
	const struct key_entry *e = key_find(keys_now(), alg, KEY_ACTIVE);
	assert(e); /* whoever asks has waited for it, and each of them goes only when another comes */
	return e->key;
}

bool keys_complete(void)
{
	for (size_t i = 0; i < KEYS_ALGORITHMS; i++)
		if (!key_find(keys_now(), key_algorithms[i], KEY_ACTIVE))
			return false;
	return true;
}

/* ---- start and stop ---- */

static enum err read_all(struct signing_key *made, struct key_set **ret_set)
{
	struct store_op *op = store_ask_now(STORE_SIGNING_KEYS, STORE_END);
	struct key_set *set = NULL;
	enum err err = key_set_read(op, *ret_set, made, &set);
	store_op_free(&op);
	if (!err) {
		key_set_unref(ret_set);
		*ret_set = set;
	}
	return err;
}

/* At the first start: nobody has a token yet, so it signs at once. Into the store, and back from there. */
static enum err make_first(void)
{
	struct signing_key *key = key_make(JWA_ES256);
	const char *word = jwa_info(JWA_ES256)->word;
	int64_t now = time(NULL);
	if (!key)
		return ERR_INTERNAL;
	struct store_op *op =
		store_ask_now(STORE_SIGNING_KEY_ADD, STORE_TEXT(str_of(key->pair.kid)),
			STORE_TEXT(str_of(word)), STORE_TEXT(str_of(key->pem)), STORE_INT(now),
			STORE_TEXT(STR("active")), STORE_INT(now), STORE_END);
	enum err err = op->err;
	wipe(op->args[2].bytes);
	store_op_free(&op);
	if (!err)
		log_info("signing key made", LOG_TEXT("alg", word), LOG_TEXT("kid", key->pair.kid));
	err = err ? err : read_all(key, &first);
	signing_key_unref(&key);
	return err;
}

enum err keys_start(int64_t rotation, void (*changed)(struct jwk_set *keys))
{
	enum err err = read_all(NULL, &first);
	if (!err && !key_find(first, JWA_ES256, KEY_ACTIVE))
		err = make_first();
	if (err)
		keys_stop();
	else
		rotation_start(rotation, changed);
	return err;
}

void keys_drain(void)
{
	rotation_drain();
}

void keys_stop(void)
{
	rotation_drain();
	key_set_unref(&own);
	key_set_unref(&first);
}
