#include "auth/withdrawal.h"

#include "auth/server/server.h"
#include "core/map.h"
#include "core/mem.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { PAGE = 1000, DAY = 24 * 3600, ACCESS_TOKEN_MAX = DAY };

struct entry {
	struct entry *next;
	int64_t at, until;
	uint64_t sequence; /* it was the so-many-th */
	size_t n;
	char key[]; /* the kind in one byte, then the value */
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct map entries;
static struct entry *all;
static uint64_t sequence = 1;
static atomic_size_t count; /* of entries: who finds none needs no lock */

static const struct {
	const char *word, *reason;
} kinds[WITHDRAWAL_KINDS] = {
	[WITHDRAWN_TOKEN] = {"token", "the token was revoked"},
	[WITHDRAWN_GRANT] = {"grant", "the sign-in was revoked"},
	[WITHDRAWN_USER] = {"user", "the account is disabled or signed out"},
	[WITHDRAWN_CLIENT] = {"client", "the client was revoked"},
};

const char *withdrawal_word(enum withdrawal_kind kind)
{
	return kinds[kind].word;
}

const char *withdrawal_reason(enum withdrawal_kind kind)
{
	return kinds[kind].reason;
}

/* How long another issuer's tokens live is not ours to say. */
int64_t withdrawal_until(enum withdrawal_kind kind, struct str value, int64_t at)
{
	if (at == WITHDRAWN_FOR_GOOD || (value.n && memchr(value.p, '|', value.n)))
		return WITHDRAWN_FOR_GOOD;
	return at + DAY + (kind == WITHDRAWN_GRANT ? ACCESS_TOKEN_MAX : EXPIRES_MAX);
}

/* ---- the table; the lock is held ---- */

/* A key as it lies in an entry. Longer ones than any value are nobody's. */
struct key {
	size_t n;
	char bytes[1 + WITHDRAWAL_VALUE_MAX + 1];
};

static struct key key_of(enum withdrawal_kind kind, struct str before, struct str value)
{
	struct key k = {.n = 0};
	if (1 + before.n + value.n > sizeof(k.bytes))
		return k;
	k.bytes[k.n++] = (char)('a' + kind);
	if (before.n)
		memcpy(k.bytes + k.n, before.p, before.n);
	k.n += before.n;
	if (value.n)
		memcpy(k.bytes + k.n, value.p, value.n);
	k.n += value.n;
	return k;
}

static struct entry *find(enum withdrawal_kind kind, struct str before, struct str value)
{
	struct key k = key_of(kind, before, value);
	return map_get(&entries, (struct str){k.bytes, k.n});
}

static struct entry *enter(enum withdrawal_kind kind, struct str value)
{
	struct entry *e = find(kind, STR(""), value);
	struct key k = key_of(kind, STR(""), value);
	if (e || !k.n)
		return e;
	e = mem_alloc(sizeof(*e) + k.n);
	*e = (struct entry){.next = all, .n = k.n, .at = -1};
	memcpy(e->key, k.bytes, k.n);
	all = e;
	map_put(&entries, (struct str){e->key, e->n}, e);
	atomic_fetch_add(&count, 1);
	return e;
}

static void set(struct entry *e, int64_t at, int64_t until)
{
	if (!e)
		return;
	e->at = at;
	e->until = until;
	e->sequence = ++sequence;
}

/* ---- before the workers ---- */

static void keep(const struct store_op *op)
{
	for (size_t i = 0; i < op->rows; i++)
		for (int kind = 0; kind < WITHDRAWAL_KINDS; kind++)
			if (str_is(store_str(op, i, 1), kinds[kind].word))
				set(enter((enum withdrawal_kind)kind, store_str(op, i, 2)),
					store_int(op, i, 3), store_int(op, i, 4));
}

/* The last row of a page says where the next one begins. */
static enum err load(void)
{
	int64_t now = (int64_t)time(NULL);
	struct store_op *op = NULL;
	enum err err = ERR_OK;
	for (bool more = true; !err && more;) {
		struct store_op *last = op;
		struct str kind = last ? store_str(last, PAGE - 1, 1) : STR("");
		struct str value = last ? store_str(last, PAGE - 1, 2) : STR("");
		op = store_ask_now(STORE_WITHDRAWALS, STORE_INT(now), STORE_TEXT(kind),
			STORE_TEXT(value), STORE_INT(PAGE), STORE_INT(now - EXPIRES_MAX - DAY),
			STORE_END);
		store_op_free(&last);
		err = op->err;
		more = !err && op->rows == PAGE;
		if (!err)
			keep(op);
	}
	store_op_free(&op);
	return err;
}

enum err withdrawals_load(struct buf *why)
{
	enum err err = load();
	if (err)
		buf_addf(why, "the store does not say which tokens are withdrawn\n");
	return err;
}

void withdrawals_finish(void)
{
	withdrawals_purge(WITHDRAWN_FOR_GOOD);
	map_free(&entries);
}

/* ---- any thread ---- */

void withdrawals_note(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until)
{
	pthread_rwlock_wrlock(&lock);
	struct entry *e = enter(kind, value);
	if (e && e->at != WITHDRAWN_FOR_GOOD && at <= e->at)
		at = e->at + 1; /* what was issued since then lies behind that one */
	if (e && e->at == WITHDRAWN_FOR_GOOD)
		at = WITHDRAWN_FOR_GOOD;
	until = until ? until : withdrawal_until(kind, value, at);
	set(e, at, e && e->until > until ? e->until : until);
	pthread_rwlock_unlock(&lock);
}

static void (*end_open)(enum withdrawal_kind kind, struct str value);

void withdrawals_end_by(void (*end)(enum withdrawal_kind kind, struct str value))
{
	end_open = end;
}

void withdrawals_take(enum withdrawal_kind kind, struct str value, int64_t at, int64_t until)
{
	withdrawals_note(kind, value, at, until);
	if (end_open)
		end_open(kind, value);
}

void withdrawals_lift(struct str user, int64_t at)
{
	pthread_rwlock_wrlock(&lock);
	struct entry *e = find(WITHDRAWN_USER, STR(""), user);
	set(e, at, withdrawal_until(WITHDRAWN_USER, user, at));
	pthread_rwlock_unlock(&lock);
}

/* "alias|" of another issuer's tokens: what stands before the subject in the user. */
static struct str issuer_of(const struct principal *who)
{
	size_t n = who->user.n > who->subject.n ? who->user.n - who->subject.n : 0;
	return (struct str){who->user.p, n && who->user.p[n - 1] == '|' ? n : 0};
}

struct str withdrawal_jti(const struct principal *who, char *out)
{
	struct str before = issuer_of(who);
	struct key k = key_of(WITHDRAWN_TOKEN, before, who->jti);
	memcpy(out, k.bytes + 1, k.n - 1);
	return (struct str){out, k.n - 1};
}

/* What a withdrawal of that kind would have to name to be about the principal: first ret_before, then
 * ret_value. Of n 0, nothing is. */
static void named(const struct principal *who, enum withdrawal_kind kind, struct str *ret_before,
	struct str *ret_value)
{
	bool ours = kind == WITHDRAWN_GRANT || kind == WITHDRAWN_USER; /* or else the issuer's */
	*ret_before = ours ? STR("") : issuer_of(who);
	*ret_value = kind == WITHDRAWN_TOKEN ? who->jti
		: kind == WITHDRAWN_GRANT    ? who->sid
		: kind == WITHDRAWN_USER     ? who->user
					     : who->client;
}

bool withdrawal_names(const struct principal *who, enum withdrawal_kind kind, struct str value)
{
	struct str before, after;
	named(who, kind, &before, &after);
	if (!after.n || value.n != before.n + after.n || !str_starts(value, before))
		return false;
	return str_eq(after, (struct str){value.p + before.n, after.n});
}

static bool fits(const struct principal *who, enum withdrawal_kind kind)
{
	struct str before, value;
	named(who, kind, &before, &value);
	const struct entry *e = value.n ? find(kind, before, value) : NULL;
	bool whenever = kind == WITHDRAWN_TOKEN || kind == WITHDRAWN_GRANT;
	return e && (whenever || who->issued_at <= e->at);
}

bool withdrawals_fit(const struct principal *who, enum withdrawal_kind *ret_kind)
{
	int kind = 0;
	if (!atomic_load(&count))
		return false;
	pthread_rwlock_rdlock(&lock);
	while (kind < WITHDRAWAL_KINDS && !fits(who, (enum withdrawal_kind)kind))
		kind++;
	pthread_rwlock_unlock(&lock);
	if (kind == WITHDRAWAL_KINDS)
		return false;
	*ret_kind = (enum withdrawal_kind)kind;
	return true;
}

uint64_t withdrawals_seen(void)
{
	pthread_rwlock_rdlock(&lock);
	uint64_t seen = sequence;
	pthread_rwlock_unlock(&lock);
	return seen;
}

/* Behind what was withdrawn before it was asked for; not behind what came in between. */
static void place(const struct entry *e, uint64_t seen, int64_t *from, int64_t *to)
{
	if (!e || e->at == WITHDRAWN_FOR_GOOD)
		return;
	if (seen && e->sequence > seen)
		*to = e->at < *to ? e->at : *to;
	else
		*from = e->at < *from ? *from : e->at + 1;
}

int64_t withdrawals_issue(struct str user, struct str client, int64_t now, uint64_t seen)
{
	int64_t from = now, to = INT64_MAX;
	if (!atomic_load(&count))
		return now;
	pthread_rwlock_rdlock(&lock);
	place(find(WITHDRAWN_USER, STR(""), user), seen, &from, &to);
	place(find(WITHDRAWN_CLIENT, STR(""), client), seen, &from, &to);
	pthread_rwlock_unlock(&lock);
	return from < to ? from : to;
}

size_t withdrawals_purge(int64_t now)
{
	size_t left = 0;
	pthread_rwlock_wrlock(&lock);
	for (struct entry **at = &all, *e; (e = *at);) {
		if (e->until > now || (e->until == WITHDRAWN_FOR_GOOD && now != e->until)) {
			left++;
			at = &e->next;
			continue;
		}
		*at = e->next;
		map_remove(&entries, (struct str){e->key, e->n});
		free(e);
		atomic_fetch_sub(&count, 1);
	}
	pthread_rwlock_unlock(&lock);
	return left;
}
