#include "auth/server/keys.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/store.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <time.h>

enum { KEYS_MAX = 16, PEM_MAX_BYTES = 8192 };

static struct {
	struct signing_key list[KEYS_MAX]; /* of each algorithm the newest first */
	size_t count;
} own;

static const enum jwa algorithms[] = {JWA_ES256, JWA_RS256};
enum { ALGORITHMS = sizeof(algorithms) / sizeof(*algorithms) };

void keys_write(struct json_out *o)
{
	json_open(o, NULL, '{');
	json_open(o, "keys", '[');
	for (size_t i = 0; i < own.count; i++)
		if (keypair_publish(&own.list[i].pair, o))
			o->b->err = ERR_INTERNAL;
	json_close(o, ']');
	json_close(o, '}');
}

static void wipe(struct str pem)
{
	if (pem.n)
		OPENSSL_cleanse((char *)(uintptr_t)pem.p, pem.n);
}

static void free_key(struct signing_key *key)
{
	keypair_finish(&key->pair);
	wipe(str_of(key->pem));
	free(key->pem);
	key->pem = NULL;
}

static enum err read_key(struct str alg_word, struct str pem)
{
	struct signing_key key = {0};
	enum jwa alg;
	if (own.count == KEYS_MAX || !jwa_find(alg_word, &alg))
		return ERR_INTERNAL;
	enum err err = keypair_from_pem(pem, alg, &key.pair);
	if (err)
		return err;
	key.pem = mem_copy(pem);
	own.list[own.count++] = key;
	return ERR_OK;
}

static enum err read_all(void)
{
	struct store_op *op = store_ask_now(STORE_SIGNING_KEYS, STORE_END);
	enum err err = op->err;
	for (size_t i = 0; !err && i < op->rows; i++) {
		err = read_key(store_str(op, i, 1), store_str(op, i, 2));
		wipe(store_str(op, i, 2));
		if (err)
			log_error("signing key unusable", LOG_STR("kid", store_str(op, i, 0)));
	}
	store_op_free(&op);
	return err;
}

static enum err keep(const struct signing_key *key)
{
	const char *alg = jwa_info(key->pair.alg)->word;
	struct store_op *op =
		store_ask_now(STORE_SIGNING_KEY_ADD, STORE_TEXT(str_of(key->pair.kid)),
			STORE_TEXT(str_of(alg)), STORE_TEXT(str_of(key->pem)),
			STORE_INT(time(NULL)), STORE_TEXT(STR("active")), STORE_END);
	enum err err = op->err;
	store_op_free(&op);
	if (!err)
		log_info("signing key made", LOG_TEXT("alg", alg), LOG_TEXT("kid", key->pair.kid));
	return err;
}

static enum err make_key(enum jwa alg)
{
	struct signing_key key = {0};
	struct buf pem = BUF_INIT(PEM_MAX_BYTES);
	enum err err = own.count < KEYS_MAX ? keypair_generate(alg, &key.pair) : ERR_INTERNAL;
	if (!err)
		err = keypair_to_pem(&key.pair, &pem);
	if (!err) {
		key.pem = mem_copy(buf_str(&pem));
		err = keep(&key);
	}
	wipe(buf_str(&pem));
	buf_free(&pem);
	if (err)
		free_key(&key);
	else
		own.list[own.count++] = key;
	return err;
}

static const struct signing_key *find(enum jwa alg)
{
	for (size_t i = 0; i < own.count; i++)
		if (own.list[i].pair.alg == alg)
			return &own.list[i];
	return NULL;
}

enum err keys_start(void)
{
	enum err err = read_all();
	for (size_t i = 0; !err && i < ALGORITHMS; i++)
		if (!find(algorithms[i]))
			err = make_key(algorithms[i]);
	if (err)
		keys_stop();
	return err;
}

void keys_stop(void)
{
	while (own.count)
		free_key(&own.list[--own.count]);
}

const struct signing_key *key_for(enum jwa alg)
{
	const struct signing_key *key = find(alg);
	assert(key); /* keys_start() has seen to it */
	return key;
}
