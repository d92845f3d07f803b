#include "dataset/changes.h"

#include "core/mem.h"
#include "dataset/value.h"

#include <inttypes.h>

enum { SQL_MAX = 64 * 1024, FIRST_SIZE = 3, FIRST_KEY = 5 };

struct str key_write(struct buf *b, sqlite3_stmt *stmt, int first, size_t count)
{
	size_t start = b->n;
	bool whole = true;
	buf_addc(b, '[');
	for (size_t i = 0; i < count; i++) {
		struct value v = value_of(stmt, first + (int)i);
		whole = whole && v.kind != VALUE_NULL && v.bytes.n <= KEY_JSON_MAX;
		if (i)
			buf_addc(b, ',');
		if (whole)
			value_write(b, v);
	}
	buf_addc(b, ']');
	if (b->err || !whole || b->n - start > KEY_JSON_MAX) {
		if (!b->err)
			buf_cut(b, start);
		return (struct str){0};
	}
	return (struct str){b->p + start, b->n - start};
}

/* How long the values of an image are together. */
static void add_size(struct buf *b, const struct layout *l, char side)
{
	buf_adds(b, STR(", 0"));
	for (size_t i = 1; i <= l->count; i++)
		buf_addf(b, "+ifnull(length(%c%zu),0)", side, i);
}

static void log_sql(struct buf *b, const struct layout *l)
{
	buf_adds(b, STR("SELECT seq, txn, op"));
	add_size(b, l, 'o');
	add_size(b, l, 'n');
	for (const char *side = "on"; *side; side++)
		for (size_t i = 0; i < l->key_count; i++)
			buf_addf(b, ", %c%zu", *side, l->key[i] + 1);
	buf_addf(b,
		" FROM main.\"_sb_c%" PRId64
		"\" WHERE seq > @f AND seq <= @u ORDER BY seq LIMIT @m",
		l->id);
}

/* The keys' bytes move while more come: until the end a key is its place in them. */
static struct str placed_key(struct buf *keys, sqlite3_stmt *stmt, int first, size_t count)
{
	size_t start = keys->n;
	struct str key = key_write(keys, stmt, first, count);
	return (struct str){(const char *)(uintptr_t)start, key.n};
}

static void read_change(sqlite3_stmt *stmt, size_t key_count, struct buf *keys, struct change *ret)
{
	const char *op = (const char *)sqlite3_column_text(stmt, 2);
	*ret = (struct change){.seq = sqlite3_column_int64(stmt, 0),
		.txn = sqlite3_column_int64(stmt, 1),
		.op = op ? *op : 'U',
		.old_bytes = sqlite3_column_int64(stmt, FIRST_SIZE),
		.new_bytes = sqlite3_column_int64(stmt, FIRST_SIZE + 1)};
	if (ret->op != 'I')
		ret->old_key = placed_key(keys, stmt, FIRST_KEY, key_count);
	if (ret->op != 'D')
		ret->new_key = placed_key(keys, stmt, FIRST_KEY + (int)key_count, key_count);
}

static void settle(struct changes *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct str *keys[] = {&c->list[i].old_key, &c->list[i].new_key};
		for (size_t k = 0; k < 2; k++)
			keys[k]->p = keys[k]->n ? c->keys.p + (uintptr_t)keys[k]->p : NULL;
	}
}

static enum err read_all(
	struct reading *r, sqlite3_stmt *stmt, size_t key_count, size_t max, struct changes *c)
{
	size_t room = 0;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (c->count == max)
			return ERR_TOO_LARGE;
		if (c->count == room) {
			room = room ? room * 2 : 4;
			c->list = mem_resize(c->list, room, sizeof(*c->list));
		}
		struct change *one = &c->list[c->count++];
		read_change(stmt, key_count, &c->keys, one);
		c->bytes += one->old_bytes + one->new_bytes;
		if (c->keys.err)
			return ERR_TOO_LARGE;
	}
	return rc == SQLITE_DONE ? ERR_OK : reading_failed(r);
}

enum err changes_read(struct reading *r, const struct layout *l, int64_t from, int64_t upto,
	size_t max, struct changes *ret)
{
	struct changes c = {.keys = BUF_INIT(CHANGES_KEYS_MAX)};
	struct buf sql = BUF_INIT(SQL_MAX);
	sqlite3_stmt *stmt = NULL;
	log_sql(&sql, l);
	enum err err = reading_statement(r, buf_str(&sql), &stmt);
	buf_free(&sql);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, from);
	sqlite3_bind_int64(stmt, 2, upto);
	sqlite3_bind_int64(stmt, 3, (int64_t)max + 1);
	err = read_all(r, stmt, l->key_count, max, &c);
	reading_release(stmt);
	if (err) {
		changes_free(&c);
		return err;
	}
	settle(&c);
	*ret = c;
	return ERR_OK;
}

void changes_free(struct changes *c)
{
	buf_free(&c->keys);
	free(c->list);
	*c = (struct changes){0};
}

/* ---- merging ---- */

static struct merged *of_key(
	struct merging *m, struct str key, const struct change *c, bool was_there)
{
	struct merged *found = map_get(&m->by_key, key);
	if (found)
		return found;
	found = &m->list[m->count++];
	*found = (struct merged){.key = key};
	if (was_there) {
		found->before = c->seq;
		found->before_bytes = c->old_bytes;
	}
	map_put(&m->by_key, found->key, found);
	return found;
}

static void touch(
	struct merging *m, struct str key, const struct change *c, bool was_there, bool is_there)
{
	if (key.n == 0)
		return;
	struct merged *one = of_key(m, key, c, was_there);
	one->behind = is_there ? c->seq : 0;
	one->behind_bytes = is_there ? c->new_bytes : 0;
	one->seq = c->seq;
	one->txn = c->txn;
}

void merging_of(const struct changes *c, struct merging *ret)
{
	struct merging m = {0};
	m.list = mem_alloc((c->count * 2 + 1) * sizeof(*m.list));
	for (size_t i = 0; i < c->count; i++) {
		const struct change *one = &c->list[i];
		if (one->op == 'I') {
			touch(&m, one->new_key, one, false, true);
		} else if (one->op == 'D') {
			touch(&m, one->old_key, one, true, false);
		} else if (change_moves(one)) {
			touch(&m, one->old_key, one, true, false);
			touch(&m, one->new_key, one, false, true);
		} else {
			touch(&m, one->new_key, one, true, true);
		}
	}
	*ret = m;
}

const struct merged *merging_find(const struct merging *m, struct str key)
{
	return map_get(&m->by_key, key);
}

void merging_free(struct merging *m)
{
	for (size_t i = 0; i < m->count; i++)
		map_remove(&m->by_key, m->list[i].key);
	map_free(&m->by_key);
	free(m->list);
	*m = (struct merging){0};
}
