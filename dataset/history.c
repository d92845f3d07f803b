#include "dataset/history.h"

#include "core/mem.h"
#include "dataset/capture_parts.h"
#include "dataset/value.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum {
	CHANGES = 8,      /* one alone may be the same by chance */
	CELL_BYTES = 4096 /* of a text or blob; and how many there are of it */
};

/* All logs together have no hole behind this. */
static enum err log_begins(sqlite3 *db, int64_t *ret)
{
	char why[CAPTURE_WHY_MAX];
	return sql_number(db, "SELECT max(floor, whole) FROM main._sb_ctx", 0, ret, why);
}

/* ---- the hash ---- */

static void add(EVP_MD_CTX *hash, const void *bytes, size_t n)
{
	int right = EVP_DigestUpdate(hash, bytes, n);
	assert(right); /* as mem.h has it: no memory ends the process */
	(void)right;
}

static void add_cell(EVP_MD_CTX *hash, struct value v)
{
	size_t n = v.bytes.n < CELL_BYTES ? v.bytes.n : CELL_BYTES;
	unsigned char kind = (unsigned char)v.kind;
	add(hash, &kind, 1);
	if (v.kind == VALUE_INT)
		add(hash, &v.number, sizeof(v.number));
	if (v.kind == VALUE_REAL)
		add(hash, &v.real, sizeof(v.real));
	if (v.kind != VALUE_TEXT && v.kind != VALUE_BLOB)
		return;
	add(hash, &v.bytes.n, sizeof(v.bytes.n));
	add(hash, v.bytes.p, n);
}

static enum err add_log(sqlite3 *db, int64_t id, const struct history *h, EVP_MD_CTX *hash)
{
	char text[160], why[CAPTURE_WHY_MAX];
	snprintf(text, sizeof(text),
		"SELECT * FROM main._sb_c%" PRId64 " WHERE seq > %" PRId64 " AND seq <= %" PRId64
		" ORDER BY seq",
		id, h->from, h->at);
	sqlite3_stmt *s = sql_ask(db, text, (struct str){0}, why);
	int rc = SQLITE_ERROR;
	while (s && (rc = sqlite3_step(s)) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(s); i++)
			add_cell(hash, value_of(s, i));
	enum err err = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, why);
	sqlite3_finalize(s);
	return err;
}

static enum err make_hash(sqlite3 *db, struct history *h)
{
	char why[CAPTURE_WHY_MAX];
	int64_t *ids = NULL;
	size_t count = 0;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	int right = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
	assert(right);
	enum err err = log_ids(db, &ids, &count, why);
	for (size_t i = 0; i < count && !err; i++)
		err = add_log(db, ids[i], h, hash);
	free(ids);
	right = EVP_DigestFinal_ex(hash, h->hash, NULL);
	assert(right);
	(void)right;
	EVP_MD_CTX_free(hash);
	return err;
}

/* ---- taking and comparing ---- */

enum err history_take(sqlite3 *db, int64_t at, struct history *ret)
{
	struct history h = {.at = at};
	enum err err = log_begins(db, &h.begins);
	h.from = at - CHANGES > h.begins ? at - CHANGES : h.begins;
	if (!err)
		err = make_hash(db, &h);
	if (!err)
		*ret = h;
	return err;
}

enum err history_holds(sqlite3 *db, const struct history *h, bool *ret_holds)
{
	struct history now = *h;
	enum err err = log_begins(db, &now.begins);
	bool there = h->from < h->at && now.begins <= h->from;
	if (!err && there)
		err = make_hash(db, &now);
	if (!err)
		*ret_holds =
			now.begins >= h->begins && memcmp(now.hash, h->hash, sizeof(h->hash)) == 0;
	return err;
}

/* ---- as text ---- */

void history_write(const struct history *h, char ret_text[HISTORY_TEXT_BYTES])
{
	int n = snprintf(ret_text, HISTORY_TEXT_BYTES, "%" PRId64 ":%" PRId64 ":%" PRId64 ":",
		h->begins, h->from, h->at);
	static_assert(3 * 20 + 2 * HISTORY_HASH_BYTES < HISTORY_TEXT_BYTES, "all of it");
	for (size_t i = 0; i < HISTORY_HASH_BYTES; i++)
		n += snprintf(ret_text + n, HISTORY_TEXT_BYTES - (size_t)n, "%02x", h->hash[i]);
}

void history_read(struct history *ret, const char *text)
{
	struct history h = {0};
	int n = 0;
	*ret = h;
	if (sscanf(text, "%" SCNd64 ":%" SCNd64 ":%" SCNd64 ":%n", &h.begins, &h.from, &h.at, &n) !=
			3 ||
		!n)
		return;
	for (size_t i = 0; i < HISTORY_HASH_BYTES; i++, n += 2)
		if (sscanf(text + n, "%2hhx", &h.hash[i]) != 1)
			return;
	*ret = h;
}
