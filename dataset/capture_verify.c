#include "dataset/capture_parts.h"

#include "core/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* Whether log and table agree: the log is replayed over what it says itself was there before, one state a key; then
 * each of the table's rows is held against it. Of keys and rows only hashes are kept.
 *
 * Where other triggers have changed a row before ours came to it (capture_sql.c), an image is told late: an entry may
 * begin from another image than the last when it ends where the row is already, and one that begins from an image that
 * nobody told owes us one that begins where we were and ends where we are. Where the table itself has triggers of others
 * they may change a row again and again before we are told: then only what the log comes to is held against the rows. */

enum { KEYS_MAX = 1 << 22, ROW_MAX = 64 << 20 };

#define ABSENT 0 /* the image of a row that is not there */

struct state {
	uint64_t key; /* 0: free */
	uint64_t image, owed;
	bool owes;
};

struct replay {
	struct state *states; /* a power of two, at most half full */
	size_t size, count;
	struct buf row;
	const struct layout *layout;
	int64_t changes, rows, met;
	bool others; /* have triggers on this table */
	char *why;
};

/* ---- states ---- */

static struct state *slot(const struct replay *r, uint64_t key)
{
	size_t at = key & (r->size - 1);
	while (r->states[at].key && r->states[at].key != key)
		at = (at + 1) & (r->size - 1);
	return &r->states[at];
}

static void grow(struct replay *r)
{
	struct state *old = r->states;
	size_t size = r->size;
	r->size = size ? size * 2 : 1024;
	r->states = mem_alloc(r->size * sizeof(*r->states));
	for (size_t i = 0; i < size; i++)
		if (old[i].key)
			*slot(r, old[i].key) = old[i];
	free(old);
}

/* first: the image that it has when nothing is known of it. */
static struct state *state_of(struct replay *r, uint64_t key, uint64_t first)
{
	if (r->count * 2 >= r->size)
		grow(r);
	struct state *s = slot(r, key);
	if (!s->key) {
		*s = (struct state){.key = key, .image = first};
		r->count++;
	}
	return s;
}

/* ---- images ---- */

static void add_cell(struct buf *b, sqlite3_stmt *s, int column)
{
	int type = sqlite3_column_type(s, column);
	int64_t whole = sqlite3_column_int64(s, column);
	double real = sqlite3_column_double(s, column);
	buf_addc(b, (char)type);
	if (type == SQLITE_INTEGER)
		buf_add(b, &whole, sizeof(whole));
	if (type == SQLITE_FLOAT)
		buf_add(b, &real, sizeof(real));
	if (type != SQLITE_TEXT && type != SQLITE_BLOB)
		return;
	const void *bytes = sqlite3_column_blob(s, column);
	int n = sqlite3_column_bytes(s, column);
	buf_add(b, &n, sizeof(n));
	buf_add(b, bytes, (size_t)n);
}

/* A hash that is not 0. The cells of the row begin in that column of the statement. */
static uint64_t hash(struct replay *r, sqlite3_stmt *s, int first, bool key)
{
	buf_cut(&r->row, 0);
	for (size_t i = 0; i < (key ? r->layout->key_count : r->layout->count); i++)
		add_cell(&r->row, s, first + (int)(key ? r->layout->key[i] : i));
	uint64_t h = str_hash(buf_str(&r->row));
	return h ? h : 1;
}

/* ---- replaying ---- */

static enum err differ(struct replay *r, int64_t seq, const char *what)
{
	snprintf(r->why, CAPTURE_WHY_MAX, "the log of " STR_FMT " is wrong at %" PRId64 ": %s",
		STR_ARG(r->layout->table), seq, what);
	return ERR_CONFLICT;
}

static enum err move(struct replay *r, int64_t seq, uint64_t key, uint64_t from, uint64_t to)
{
	if (r->count == KEYS_MAX) {
		snprintf(r->why, CAPTURE_WHY_MAX,
			"the log speaks of more than %d rows: too many to verify", KEYS_MAX);
		return ERR_TOO_LARGE;
	}
	struct state *s = state_of(r, key, from);
	if (s->image != from && s->image != to && !r->others) {
		if (s->owes)
			return differ(r, seq, "a row was another before than the log says");
		s->owes = true;
		s->owed = s->image;
	} else if (s->owes && s->image == to && s->owed == from) {
		s->owes = false;
	}
	s->image = to;
	return ERR_OK;
}

/* seq, op, the old row, the new row */
static enum err replay_change(void *replay, sqlite3_stmt *s, char *ret_why)
{
	(void)ret_why; /* is r->why */
	struct replay *r = replay;
	int64_t seq = sqlite3_column_int64(s, 0);
	char op = *text_of(s, 1).p;
	int old = 2, new = old + (int)r->layout->count;
	if (op != 'I' && op != 'U' && op != 'D')
		return differ(r, seq, "it is no change");
	r->changes++;
	uint64_t gone = op != 'I' ? hash(r, s, old, true) : 0;
	uint64_t come = op != 'D' ? hash(r, s, new, true) : 0;
	uint64_t from = gone ? hash(r, s, old, false) : ABSENT;
	uint64_t to = come ? hash(r, s, new, false) : ABSENT;
	if (gone == come)
		return move(r, seq, gone, from, to);
	enum err err = gone ? move(r, seq, gone, from, ABSENT) : ERR_OK;
	return err || !come ? err : move(r, seq, come, ABSENT, to);
}

static enum err find_others(struct replay *r, sqlite3 *db)
{
	sqlite3_stmt *s = sql_ask(db,
		"SELECT 1 FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 COLLATE "
		"NOCASE "
		"AND name NOT GLOB '_sb_*'",
		r->layout->table, r->why);
	if (!s)
		return ERR_INTERNAL;
	r->others = sqlite3_step(s) == SQLITE_ROW;
	return sqlite3_finalize(s) == SQLITE_OK ? ERR_OK : sql_failed(db, r->why);
}

static enum err check_row(void *replay, sqlite3_stmt *s, char *ret_why)
{
	(void)ret_why; /* is r->why */
	struct replay *r = replay;
	r->rows++;
	if (!r->size)
		return ERR_OK;
	const struct state *state = slot(r, hash(r, s, 0, true));
	if (!state->key)
		return ERR_OK; /* has not changed since the log begins */
	if (state->image != hash(r, s, 0, false)) {
		snprintf(r->why, CAPTURE_WHY_MAX,
			STR_FMT " has a row that is not as the log tells it",
			STR_ARG(r->layout->table));
		return ERR_CONFLICT;
	}
	r->met++;
	return ERR_OK;
}

static enum err check_rest(struct replay *r)
{
	int64_t there = 0;
	bool owes = false;
	for (size_t i = 0; i < r->size; i++) {
		there += r->states[i].key && r->states[i].image != ABSENT;
		owes = owes || r->states[i].owes;
	}
	if (owes)
		return differ(r, 0, "an image was never told");
	if (there == r->met)
		return ERR_OK;
	snprintf(r->why, CAPTURE_WHY_MAX,
		"the log tells of %" PRId64 " rows that " STR_FMT " does not have", there - r->met,
		STR_ARG(r->layout->table));
	return ERR_CONFLICT;
}

static enum err each(struct replay *r, sqlite3 *db, struct buf *b,
	enum err (*take)(void *replay, sqlite3_stmt *s, char *ret_why))
{
	enum err err = b->err ? ERR_INTERNAL : sql_each(db, b->p, (struct str){0}, take, r, r->why);
	buf_free(b);
	return err;
}

static enum err replay_log(struct replay *r, sqlite3 *db)
{
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	buf_adds(&b, STR("SELECT seq, op"));
	for (size_t i = 0; i < 2 * r->layout->count; i++)
		buf_addf(&b, ", %c%zu", i < r->layout->count ? 'o' : 'n', i % r->layout->count + 1);
	buf_addf(&b,
		" FROM main._sb_c%" PRId64 " WHERE seq > (SELECT floor FROM main._sb_ctx) "
		"ORDER BY seq",
		r->layout->id);
	return each(r, db, &b, replay_change);
}

static enum err check_rows(struct replay *r, sqlite3 *db)
{
	const struct layout *l = r->layout;
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	for (size_t i = 0; i < l->count; i++) {
		buf_adds(&b, i ? STR(", ") : STR("SELECT "));
		sql_name(&b, l->columns[i].name);
	}
	buf_adds(&b, STR(" FROM main."));
	sql_name(&b, l->table);
	for (size_t i = 0; i < l->key_count; i++) {
		buf_adds(&b, i ? STR(" AND ") : STR(" WHERE "));
		sql_name(&b, l->columns[l->key[i]].name);
		buf_adds(&b, STR(" IS NOT NULL"));
	}
	return each(r, db, &b, check_row);
}

/* Every number that the counter gave is in the log of some table. */
static enum err check_whole(sqlite3 *db, char *ret_why)
{
	int64_t missing = 0, *ids = NULL;
	size_t count = 0;
	struct buf b = BUF_INIT(SQL_BYTES_MAX);
	enum err err = log_ids(db, &ids, &count, ret_why);
	buf_adds(&b, STR("SELECT seq - max(floor, whole)"));
	for (size_t i = 0; i < count; i++)
		buf_addf(&b,
			" - (SELECT count(*) FROM main._sb_c%" PRId64
			" WHERE seq > max(floor, whole))",
			ids[i]);
	buf_adds(&b, STR(" FROM main._sb_ctx"));
	free(ids);
	if (!err)
		err = sql_number(db, b.p, 0, &missing, ret_why);
	buf_free(&b);
	if (err || !missing)
		return err;
	snprintf(ret_why, CAPTURE_WHY_MAX,
		"the logs have %" PRId64 " changes less than the counter says", missing);
	return ERR_CONFLICT;
}

static enum err verify(
	sqlite3 *db, struct str table, int64_t *ret_changes, int64_t *ret_rows, char *ret_why)
{
	struct captured *c = NULL;
	enum err err = captured_read(db, table, &c, ret_why);
	if (err)
		return err;
	struct replay r = {.row = BUF_INIT(ROW_MAX), .layout = c->layout, .why = ret_why};
	if (!capture_stands(db, &table, 1)) {
		snprintf(ret_why, CAPTURE_WHY_MAX, STR_FMT " is not captured, or not as it is now",
			STR_ARG(table));
		err = ERR_CONFLICT;
	}
	if (!err)
		err = check_whole(db, ret_why);
	if (!err)
		err = find_others(&r, db);
	if (!err)
		err = replay_log(&r, db);
	if (!err)
		err = check_rows(&r, db);
	if (!err)
		err = check_rest(&r);
	if (!err) {
		*ret_changes = r.changes;
		*ret_rows = r.rows;
	}
	buf_free(&r.row);
	free(r.states);
	captured_free(&c);
	return err;
}

enum err capture_verify(
	sqlite3 *db, struct str table, int64_t *ret_changes, int64_t *ret_rows, char *ret_why)
{
	bool own = sqlite3_get_autocommit(db) != 0;
	enum err err = own ? sql_run(db, "BEGIN", ret_why) : ERR_OK;
	if (!err)
		err = verify(db, table, ret_changes, ret_rows, ret_why);
	if (own && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}
