#include "dataset/window.h"

#include "core/mem.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdatomic.h>

enum {
	SQL_MAX = 256 * 1024,
	HASH_BYTES = 16,
	WINDOW_BYTES_MAX = STEP_GROUP_BYTES,
	SLOW_STEPS = 500000, /* of SQLite's machine: some ten thousand rows, or 10 ms */
};

/* Of each row its key, and a hash of its JSON which nobody can find a second row for. */
struct entry {
	struct str key;
	unsigned char hash[HASH_BYTES];
};

struct window {
	atomic_int refs;
	bool slow;
	size_t count;
	struct entry *entries;
	struct buf keys;
};

struct window *window_ref(const struct window *w)
{
	struct window *mine = (struct window *)(uintptr_t)w;
	if (mine)
		atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
	return mine;
}

void window_unref(struct window **ret)
{
	struct window *w = *ret;
	*ret = NULL;
	if (!w || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(w->entries);
	buf_free(&w->keys);
	free(w);
}

bool window_is_slow(const struct window *w)
{
	return w && w->slow;
}

bool window_is(const struct shape *s)
{
	return !s->notify && (s->limit > 0 || s->layout->view);
}

/* ---- reading one ---- */

static size_t limit_of(const struct shape *s)
{
	return s->limit > 0 && s->limit < SHAPE_LIMIT_MAX ? (size_t)s->limit : SHAPE_LIMIT_MAX;
}

static void window_sql(struct buf *sql, const struct shape *s)
{
	sight_select(sql, s);
	shape_order_sql(sql, s);
	buf_adds(sql, STR(" LIMIT @n"));
}

static void hash_row(struct str row, unsigned char *ret)
{
	unsigned char whole[SHA256_DIGEST_LENGTH];
	SHA256((const unsigned char *)row.p, row.n, whole);
	memcpy(ret, whole, HASH_BYTES);
}

/* Keys are places until all are there: their bytes move. */
static void add_row(struct fresh *f, const struct shape *s, sqlite3_stmt *stmt)
{
	struct window *w = f->window;
	size_t place = w->keys.n;
	struct str key = sight_key(&w->keys, s, stmt);
	if (key.n == 0)
		return;
	size_t start = f->rows.n;
	sight_cells(&f->rows, s, stmt);
	struct entry *e = &w->entries[w->count++];
	e->key = (struct str){(const char *)(uintptr_t)place, key.n};
	if (!f->rows.err)
		hash_row((struct str){f->rows.p + start, f->rows.n - start}, e->hash);
	f->ends[f->count++] = f->rows.n;
}

static enum err read_rows(
	struct reading *r, const struct shape *s, sqlite3_stmt *stmt, struct fresh *f)
{
	struct window *w = f->window;
	size_t limit = limit_of(s);
	int rc = SQLITE_DONE;
	while (!f->rows.err && !w->keys.err && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (w->count == limit)
			return ERR_TOO_LARGE; /* only a view without a limit is asked for one more */
		add_row(f, s, stmt);
	}
	if (f->rows.err || w->keys.err)
		return ERR_TOO_LARGE;
	for (size_t i = 0; i < w->count; i++)
		w->entries[i].key.p = w->keys.p + (uintptr_t)w->entries[i].key.p;
	return rc == SQLITE_DONE ? ERR_OK : reading_failed(r);
}

enum err window_read(struct reading *r, const struct shape *s, struct fresh *ret)
{
	struct buf sql = BUF_INIT(SQL_MAX);
	sqlite3_stmt *stmt = NULL;
	window_sql(&sql, s);
	enum err err = sql.err ? sql.err : reading_statement(r, buf_str(&sql), &stmt);
	buf_free(&sql);
	if (!err)
		err = shape_bind(stmt, s->params, s->param_count);
	if (err) {
		reading_release(stmt);
		return err;
	}
	size_t limit = limit_of(s);
	sqlite3_bind_int64(stmt, sqlite3_bind_parameter_index(stmt, "@n"),
		(int64_t)(s->limit ? limit : limit + 1));
	struct fresh f = {.window = mem_new(struct window),
		.ends = mem_alloc((limit + 1) * sizeof(*f.ends)),
		.rows = BUF_INIT(WINDOW_BYTES_MAX)};
	atomic_init(&f.window->refs, 1);
	f.window->entries = mem_alloc((limit + 1) * sizeof(*f.window->entries));
	f.window->keys = BUF_INIT(WINDOW_BYTES_MAX);
	err = read_rows(r, s, stmt, &f);
	f.window->slow = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1) > SLOW_STEPS;
	reading_release(stmt);
	if (err)
		fresh_free(&f);
	else
		*ret = f;
	return err;
}

struct str fresh_row(const struct fresh *f, size_t i)
{
	size_t start = i ? f->ends[i - 1] : 0;
	return (struct str){f->rows.p + start, f->ends[i] - start};
}

void fresh_free(struct fresh *f)
{
	window_unref(&f->window);
	free(f->ends);
	buf_free(&f->rows);
	*f = (struct fresh){0};
}

/* ---- from one to the other ---- */

static void map_entries(struct map *m, const struct window *w)
{
	for (size_t i = 0; i < w->count; i++)
		map_put(m, w->entries[i].key, &w->entries[i]);
}

static void unmap_entries(struct map *m, const struct window *w)
{
	for (size_t i = 0; i < w->count; i++)
		map_remove(m, w->entries[i].key);
	map_free(m);
}

static void told(const struct merging *changed, struct str key, int64_t seq, char op,
	struct str row, struct ops *ops)
{
	const struct merged *m = changed ? merging_find(changed, key) : NULL;
	if (op == 'X' && m && !m->behind)
		op = 'D';
	ops_add(ops, m ? m->seq : seq, m ? m->txn : 0, op, key, row);
}

void window_diff(const struct window *have, const struct fresh *now, const struct merging *changed,
	int64_t seq, struct ops *ops)
{
	struct map before = {0}, after = {0};
	map_entries(&before, have);
	map_entries(&after, now->window);
	for (size_t i = 0; i < have->count; i++)
		if (!map_get(&after, have->entries[i].key))
			told(changed, have->entries[i].key, seq, 'X', (struct str){0}, ops);
	for (size_t i = 0; i < now->count; i++) {
		const struct entry *e = &now->window->entries[i];
		const struct entry *old = map_get(&before, e->key);
		if (!old || memcmp(old->hash, e->hash, HASH_BYTES) != 0)
			told(changed, e->key, seq, old ? 'U' : 'I', fresh_row(now, i), ops);
	}
	unmap_entries(&before, have);
	unmap_entries(&after, now->window);
}
