#include "auth/server/factor.h"

#include "auth/guesses.h"
#include "auth/server/seal.h"
#include "auth/server/totp.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/users.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Five bits a letter; those that are read as another one are missing, and taken for it. */
static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";

struct check {
	factor_done *done;
	void *context;
	char user[USER_NAME_MAX + 1], address[64], code[TOTP_DIGITS + 1];
	unsigned char recovery[SECRET_HASH];
	struct factor_outcome outcome;
};

static void finish(struct check *c, enum err err)
{
	c->outcome.err = err;
	if (err == ERR_OK)
		guess_right(str_of(c->user), str_of(c->address));
	c->done(c->context, &c->outcome);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

/* A code that was used meanwhile is a wrong one. */
static void used(struct store_op *op)
{
	finish(op->context, op->err == ERR_NOT_FOUND ? ERR_UNAUTHENTICATED : op->err);
}

static int64_t step_of(struct check *c, struct str sealed, int64_t last_step)
{
	unsigned char secret[FACTOR_SEALED_MAX];
	char purpose[USER_NAME_MAX + 8];
	struct str text;
	int64_t step = 0;
	snprintf(purpose, sizeof(purpose), "totp %s", c->user);
	if (sealed.n <= sizeof(secret) && seal_open(sealed, str_of(purpose), secret, &text) &&
		text.n == TOTP_SECRET)
		step = totp_step(secret, str_of(c->code), time(NULL), last_step);
	else
		log_error("second factor unreadable", LOG_TEXT("user", c->user),
			LOG_TEXT("why", "seal.key is not the one that it was kept with"));
	OPENSSL_cleanse(secret, sizeof(secret));
	return step;
}

static void got_secret(struct store_op *op)
{
	struct check *c = op->context;
	int64_t step = op->err ? 0 : step_of(c, store_str(op, 0, 0), store_int(op, 0, 1));
	if (op->err)
		finish(c, op->err);
	else if (!step)
		finish(c, ERR_UNAUTHENTICATED);
	else
		store_ask(STORE_TOTP_USED, used, c, STORE_TEXT(str_of(c->user)), STORE_INT(step),
			STORE_END);
}

/* In any case, with or without what stands between the letters. */
static void hash_recovery(struct str typed, unsigned char out[SECRET_HASH])
{
	char plain[RECOVERY_LETTERS];
	size_t n = 0;
	for (size_t i = 0; i < typed.n && n < sizeof(plain); i++) {
		char ch = typed.p[i];
		if (ch >= 'A' && ch <= 'Z')
			ch = (char)(ch - 'A' + 'a');
		ch = ch == 'o' ? '0' : ch == 'i' || ch == 'l' ? '1' : ch;
		if (ch != '-' && ch != ' ')
			plain[n++] = ch;
	}
	secret_hash((struct str){plain, n}, out);
	OPENSSL_cleanse(plain, sizeof(plain));
}

static void copy(char *out, size_t size, struct str text)
{
	size_t n = text.n < size ? text.n : size - 1;
	memcpy(out, text.p, n);
}

void factor_check(
	struct str user, struct str typed, struct str address, factor_done *done, void *context)
{
	struct check *c = mem_new(struct check);
	c->done = done;
	c->context = context;
	copy(c->user, sizeof(c->user), user);
	copy(c->address, sizeof(c->address), address);
	c->outcome.recovery = !totp_form(typed, c->code);
	c->outcome.retry_after = guess_take(user, address);
	if (c->outcome.retry_after) {
		finish(c, ERR_RATE_LIMITED);
	} else if (c->outcome.recovery) {
		hash_recovery(typed, c->recovery);
		store_ask(STORE_RECOVERY_USE, used, c, STORE_TEXT(user), STORE_HASH(c->recovery),
			STORE_INT(time(NULL)), STORE_END);
	} else {
		store_ask(STORE_TOTP_GET, got_secret, c, STORE_TEXT(user), STORE_END);
	}
}

/* ---- recovery codes ---- */

static void make_code(char out[RECOVERY_TEXT + 1])
{
	unsigned char bytes[RECOVERY_LETTERS];
	size_t n = 0;
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		abort(); /* as in secret.c */
	for (size_t i = 0; i < RECOVERY_LETTERS; i++) {
		if (i && i % 4 == 0)
			out[n++] = '-';
		out[n++] = letters[bytes[i] & 31];
	}
	out[n] = 0;
	OPENSSL_cleanse(bytes, sizeof(bytes));
}

void recovery_make(struct str user, char codes[][RECOVERY_TEXT + 1],
	void (*done)(struct store_op *op), void *context)
{
	unsigned char hashes[RECOVERY_CODES][SECRET_HASH];
	struct store_value args[RECOVERY_CODES + 2] = {STORE_TEXT(user)};
	for (size_t i = 0; i < RECOVERY_CODES; i++) {
		make_code(codes[i]);
		hash_recovery(str_of(codes[i]), hashes[i]);
		args[i + 1] = STORE_HASH(hashes[i]);
	}
	args[RECOVERY_CODES + 1] = STORE_END;
	store_submit(STORE_RECOVERY_PUT, done, context, args);
}
