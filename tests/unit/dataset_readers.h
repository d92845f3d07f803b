/* dataset_readers.h: a captured file, a foreign connection that does random things to it, shapes of many kinds, and
 * readers as simple as a client may be, whose view is held against a query on the table itself. For test_steps.c
 * and test_windows.c. */
#pragma once

#include "core/map.h"
#include "core/mem.h"
#include "dataset/capture.h"
#include "dataset/live.h"
#include "dataset/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <jansson.h>
#include <cmocka.h>

static unsigned seed;
static char folder[256], place[300];
static sqlite3 *db; /* the foreign one */

static inline unsigned chance(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* ---- the file ---- */

static const char *const schema =
	"PRAGMA journal_mode = WAL;"
	"CREATE TABLE todos(id INTEGER PRIMARY KEY, owner TEXT COLLATE NOCASE, title TEXT UNIQUE, "
	"n INTEGER, x REAL, v, list INTEGER);"
	"CREATE TABLE pairs(a TEXT COLLATE NOCASE, b INTEGER, v NUMERIC, PRIMARY KEY(a, b)) "
	"WITHOUT ROWID;"
	"CREATE TABLE members(list INTEGER, user TEXT COLLATE NOCASE, role TEXT, "
	"PRIMARY KEY(list, user));"
	"CREATE VIEW counts AS SELECT list, count(*) AS rows, max(n) AS most FROM todos "
	"WHERE list IS NOT NULL GROUP BY list;";

static inline void run(const char *sql)
{
	char *why = NULL;
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
}

static inline void runf(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void runf(const char *format, ...)
{
	char sql[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	run(sql);
}

static inline void remove_file(void)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[320];
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		snprintf(path, sizeof(path), "%s%s", place, ends[i]);
		unlink(path);
	}
}

static inline int set_up(void **state)
{
	(void)state;
	const struct str tables[] = {STR("todos"), STR("pairs"), STR("members")};
	char why[CAPTURE_WHY_MAX] = "";
	bool changed = false;
	remove_file();
	assert_int_equal(sqlite3_open(place, &db), SQLITE_OK);
	run(schema);
	if (capture_ensure(db, tables, 3, true, &changed, why) != ERR_OK)
		fail_msg("%s", why);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	sqlite3_close(db);
	remove_file();
	return 0;
}

static inline int group_set_up(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR"), *given = getenv("SEED");
	snprintf(folder, sizeof(folder), "%s/test_dataset.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s/file.db", folder);
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
	printf("SEED=%u\n", seed);
	return 0;
}

static inline int group_tear_down(void **state)
{
	(void)state;
	remove_file();
	return rmdir(folder);
}

static inline struct reading *open_reading(void)
{
	struct reading *r = NULL;
	const struct store_trouble *trouble = NULL;
	assert_int_equal(reading_open(place, &r, &trouble), ERR_OK);
	return r;
}

static inline struct head begin(struct reading *r)
{
	struct head head;
	assert_int_equal(reading_begin(r, 60000, &head), ERR_OK);
	return head;
}

static inline int64_t head_seq(void)
{
	sqlite3_stmt *stmt = NULL;
	assert_int_equal(
		sqlite3_prepare_v2(db, "SELECT seq FROM _sb_ctx", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int64_t seq = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return seq;
}

/* ---- shapes ---- */

struct wish {
	const char *table, *read, *user;
	const char *where, *columns, *order;
	int64_t limit;
	bool notify;
	const char *oracle; /* the same as a predicate over the table, said by hand */
	const char *oracle_order;
	const char *depend;
};

static inline struct shape *make_shape(const struct wish *w, unsigned number)
{
	char name[32], why[CAPTURE_WHY_MAX] = "";
	snprintf(name, sizeof(name), "set%u", number);
	bool view = strcmp(w->table, "counts") == 0;
	struct str depends[] = {str_of(w->depend)}, key[] = {STR("list")};
	struct definition from = {.name = str_of(name),
		.database = str_of(place),
		.table = str_of(w->table),
		.rules = {[RULE_READ] = str_of(w->read)},
		.depends = depends,
		.depend_count = w->depend ? 1 : 0,
		.key = key,
		.key_count = view};
	struct definition *d = definition_new(&from);
	struct layout *l = NULL;
	if (capture_layout(db, from.table, key, view, &l, why) != ERR_OK)
		fail_msg("%s", why);
	struct principal *who = principal_new(&(struct principal){
		.user = str_of(w->user), .scopes = SCOPES_DEFAULT, .subject = str_of(w->user)});
	struct shape_wish wish = {.where = str_of(w->where),
		.columns = str_of(w->columns),
		.order = str_of(w->order),
		.limit = w->limit,
		.notify = w->notify};
	struct shape *s = NULL;
	struct wish_problem problem = {0};
	if (shape_new(&wish, d, l, who, &s, &problem) != ERR_OK)
		fail_msg("%s: %s", w->read, problem.message);
	principal_unref(&who);
	definition_unref(&d);
	layout_unref(&l);
	return s;
}

/* ---- readers ---- */

struct row {
	char *key, *text; /* text NULL: not there (in `ever`: irrelevant) */
};

static inline void put_row(struct map *m, const char *key, const char *text)
{
	struct row *row = map_remove(m, str_of(key));
	if (!row)
		row = mem_new(struct row);
	free(row->key);
	free(row->text);
	row->key = strdup(key);
	row->text = strdup(text ? text : "");
	map_put(m, str_of(row->key), row);
}

static inline void remove_row(struct map *m, const char *key)
{
	struct row *row = map_remove(m, str_of(key));
	if (row) {
		free(row->key);
		free(row->text);
		free(row);
	}
}

static inline void empty(struct map *m)
{
	struct row *row;
	for (size_t i = 0; (row = map_next(m, &i)); i = 0)
		remove_row(m, row->key);
	map_free(m);
}

struct reader {
	const struct wish *wish;
	struct shape *s;
	struct map rows, ever,
		maybe;    /* ever: keys that it could see at any time; maybe: in the transaction */
	int64_t position; /* the last `to` */
	struct standing_at at;
	struct step_result *result; /* what `at` lies in */
	struct window *have;        /* the same */
	bool live;
	size_t resets, told, notices;
};

static inline char *dump(const json_t *j)
{
	return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
}

static inline json_t *parse(const char *text)
{
	json_error_t error;
	json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (!j)
		fail_msg("%s: %s", error.text, text);
	return j;
}

static inline char *key_of_row(const struct shape *s, const json_t *row)
{
	json_t *key = json_array();
	for (size_t k = 0; k < s->layout->key_count; k++)
		for (size_t c = 0; c < s->column_count; c++)
			if (s->columns[c] == s->layout->key[k])
				json_array_append(key, json_array_get(row, c));
	char *text = dump(key);
	json_decref(key);
	return text;
}

static inline void apply_op(struct reader *r, const json_t *op)
{
	char *key = dump(json_object_get(op, "key"));
	const char *what = json_string_value(json_object_get(op, "op"));
	json_t *row = json_object_get(op, "row");
	if (!map_get(&r->ever, str_of(key)))
		fail_msg("%s %s names a row that %s could never see", what, key, r->wish->oracle);
	if (*what == 'I' || *what == 'U') {
		char *text = dump(row);
		put_row(&r->rows, key, text);
		free(text);
	} else {
		assert_null(row);
		remove_row(&r->rows, key);
	}
	free(key);
}

static inline void apply_ops(struct reader *r, const json_t *ops)
{
	size_t i;
	json_t *op;
	json_array_foreach(ops, i, op) apply_op(r, op);
}

static inline void apply_page(struct reader *r, const json_t *page)
{
	size_t i;
	json_t *row, *rows = json_object_get(page, "rows");
	json_array_foreach(rows, i, row)
	{
		char *key = key_of_row(r->s, row), *text = dump(row);
		put_row(&r->rows, key, text);
		free(key);
		free(text);
	}
	r->position = strtoll(json_string_value(json_object_get(page, "as_of")), NULL, 10);
}

static inline void apply_change(struct reader *r, const json_t *change)
{
	int64_t from = strtoll(json_string_value(json_object_get(change, "from")), NULL, 10);
	if (from != r->position && !r->s->notify)
		fail_msg("from %lld behind %lld", (long long)from, (long long)r->position);
	apply_ops(r, json_object_get(change, "ops"));
	if (json_is_true(json_object_get(change, "last")))
		r->position = strtoll(json_string_value(json_object_get(change, "to")), NULL, 10);
}

static inline void apply_message(struct reader *r, const struct step_message *m)
{
	struct buf b = BUF_INIT(1 << 20);
	assert_true(m->body.n < 256 * 1024 - 200);
	buf_addf(&b, "{" STR_FMT "}", STR_ARG(m->body));
	json_t *j = parse(b.p);
	if (m->kind == STEP_PAGE)
		apply_page(r, j);
	else
		apply_change(r, j);
	json_decref(j);
	buf_free(&b);
}

/* Forgets everything, as a client does that is reset. */
static inline void start_anew(struct reader *r)
{
	empty(&r->rows);
	step_result_unref(&r->result);
	window_unref(&r->have);
	r->at = (struct standing_at){.seq = -1};
}

/* In the transaction of reading. */
static inline void take_step(struct reader *r, struct reading *reading)
{
	struct step_result *result = NULL;
	assert_int_equal(step_take(reading, r->s, &r->at, &result), ERR_OK);
	if (result->reset) {
		r->resets++;
		step_result_unref(&result);
		start_anew(r);
		return;
	}
	for (size_t i = 0; i < result->count; i++)
		apply_message(r, &result->messages[i]);
	r->notices += result->count > 0;
	step_result_unref(&r->result);
	window_unref(&r->have);
	r->result = result;
	r->at = result->next;
	if (!r->s->notify)
		assert_int_equal(r->position, r->at.seq);
}

static inline struct reader *new_reader(const struct wish *w, unsigned number)
{
	struct reader *r = mem_new(struct reader);
	r->wish = w;
	r->s = make_shape(w, number);
	r->at.seq = -1;
	return r;
}

static inline void free_reader(struct reader *r)
{
	start_anew(r);
	empty(&r->ever);
	empty(&r->maybe);
	shape_unref(&r->s);
	free(r);
}

/* ---- the oracle ---- */

static inline sqlite3_stmt *oracle(const struct reader *r)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_adds(&b, STR("SELECT "));
	for (size_t i = 0; i < r->s->column_count; i++)
		buf_addf(&b, "%s\"" STR_FMT "\"", i ? "," : "",
			STR_ARG(r->s->layout->columns[r->s->columns[i]].name));
	buf_addf(&b, " FROM %s WHERE %s", r->wish->table, r->wish->oracle);
	if (r->wish->oracle_order)
		buf_addf(&b, " ORDER BY %s", r->wish->oracle_order);
	if (r->wish->limit)
		buf_addf(&b, " LIMIT %lld", (long long)r->wish->limit);
	sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(db, b.p, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", b.p, sqlite3_errmsg(db));
	buf_free(&b);
	return stmt;
}

/* What the reader should have now, into m: from the foreign connection, so it may stand in a transaction. */
static inline void look_at_table(const struct reader *r, struct map *m)
{
	sqlite3_stmt *stmt = oracle(r);
	struct buf b = BUF_INIT(1 << 20);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		struct value cells[16];
		for (size_t i = 0; i < r->s->column_count; i++)
			cells[i] = value_of(stmt, (int)i);
		buf_cut(&b, 0);
		value_write_row(&b, cells, r->s->column_count);
		json_t *row = parse(b.p);
		char *key = key_of_row(r->s, row), *text = dump(row);
		if (!strstr(key, "null"))
			put_row(m, key, text);
		free(key);
		free(text);
		json_decref(row);
	}
	buf_free(&b);
	sqlite3_finalize(stmt);
}

static inline void compare(struct reader *r)
{
	struct map wanted = {0};
	struct row *row;
	look_at_table(r, &wanted);
	for (size_t i = 0; (row = map_next(&wanted, &i));) {
		const struct row *have = map_get(&r->rows, str_of(row->key));
		if (!have || strcmp(have->text, row->text) != 0)
			fail_msg("%s of %s: has %s, not %s", row->key, r->wish->oracle,
				have ? have->text : "nothing", row->text);
	}
	for (size_t i = 0; (row = map_next(&r->rows, &i));)
		if (!map_get(&wanted, str_of(row->key)))
			fail_msg("%s of %s: has %s, which is not there", row->key, r->wish->oracle,
				row->text);
	empty(&wanted);
}

/* ---- what happens to the file ---- */

static const char *const owners[] = {"'ann'", "'Ann'", "'bob'", "'BOB'", "'eve'", "NULL", "5"};
static const char *const values[] = {"NULL", "1", "1.0", "'5'", "5", "0.1 + 0.2", "9e999",
	"x'00ff'", "'a\"b'", "-9223372036854775808", "'ä'", "CAST(x'c328' AS TEXT)", "''", "'Ann'"};

static inline const char *any_value(void)
{
	return values[chance(sizeof(values) / sizeof(*values))];
}

static inline const char *any_owner(void)
{
	return owners[chance(sizeof(owners) / sizeof(*owners))];
}

static inline void change_todos(char *sql, size_t n)
{
	unsigned id = chance(40), other = chance(40), list = chance(5);
	switch (chance(9)) {
	case 0:
	case 1:
		snprintf(sql, n,
			"INSERT OR IGNORE INTO todos VALUES(%u, %s, 't%u', %s, %s, %s, %u)", id,
			any_owner(), other, any_value(), any_value(), any_value(), list);
		break;
	case 2:
		snprintf(sql, n, "REPLACE INTO todos VALUES(%u, %s, 't%u', %s, %s, %s, %u)", id,
			any_owner(), other, any_value(), any_value(), any_value(), list);
		break;
	case 3:
		snprintf(sql, n,
			"INSERT INTO todos(id, owner, title, n, list) VALUES(%u, %s, 't%u', %s, "
			"%u) "
			"ON CONFLICT DO UPDATE SET owner = excluded.owner, n = excluded.n",
			id, any_owner(), other, any_value(), list);
		break;
	case 4:
		snprintf(sql, n, "UPDATE OR REPLACE todos SET id = %u WHERE id = %u", other, id);
		break;
	case 5:
		snprintf(sql, n, "UPDATE todos SET owner = %s, n = %s WHERE id = %u", any_owner(),
			any_value(), id);
		break;
	case 6:
		snprintf(sql, n, "UPDATE todos SET v = %s, x = %s WHERE id %% 5 = %u", any_value(),
			any_value(), id % 5);
		break;
	case 7:
		snprintf(sql, n, "UPDATE todos SET list = %u WHERE id %% 3 = %u", list, id % 3);
		break;
	default:
		snprintf(sql, n, "DELETE FROM todos WHERE id IN (%u, %u)", id, other);
	}
}

static inline void change_pairs(char *sql, size_t n)
{
	static const char *const keys[] = {"'a'", "'A'", "'b'", "'B'", "'c'"};
	const char *a = keys[chance(5)], *c = keys[chance(5)];
	unsigned b = chance(4), d = chance(4);
	switch (chance(4)) {
	case 0:
	case 1:
		snprintf(sql, n, "REPLACE INTO pairs VALUES(%s, %u, %s)", a, b, any_value());
		break;
	case 2:
		snprintf(sql, n,
			"UPDATE OR REPLACE pairs SET a = %s, b = %u WHERE a = %s AND b = %u", a, b,
			c, d);
		break;
	default:
		snprintf(sql, n, "DELETE FROM pairs WHERE a = %s AND b = %u", a, b);
	}
}

static inline void change_members(char *sql, size_t n)
{
	static const char *const roles[] = {"'reader'", "'owner'", "NULL"};
	const char *user = owners[chance(5)];
	unsigned list = chance(5);
	if (chance(3))
		snprintf(sql, n, "REPLACE INTO members VALUES(%u, %s, %s)", list, user,
			roles[chance(3)]);
	else
		snprintf(sql, n, "DELETE FROM members WHERE list = %u AND user = %s", list, user);
}

/* What each reader could see now: op may name it from the end of the transaction on. */
static inline void note_visible(struct reader **readers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		look_at_table(readers[i], &readers[i]->maybe);
}

static inline void note_end(struct reader **readers, size_t count, bool committed)
{
	for (size_t i = 0; i < count; i++) {
		struct row *row;
		struct map *maybe = &readers[i]->maybe;
		for (size_t at = 0; (row = map_next(maybe, &at));)
			if (committed)
				put_row(&readers[i]->ever, row->key, "");
		empty(maybe);
	}
}

static inline void random_transaction(struct reader **readers, size_t count, unsigned statements)
{
	char sql[512];
	bool commits = chance(6) > 0;
	run("BEGIN IMMEDIATE");
	for (unsigned i = 0; i < statements; i++) {
		unsigned which = chance(10);
		if (which < 6)
			change_todos(sql, sizeof(sql));
		else if (which < 8)
			change_pairs(sql, sizeof(sql));
		else
			change_members(sql, sizeof(sql));
		run(sql);
		note_visible(readers, count);
	}
	run(commits ? "COMMIT" : "ROLLBACK");
	note_end(readers, count, commits);
}

/* ---- both ways ---- */

enum { READERS_MAX = 32 };

static inline void by_steps(const struct wish *wishes, unsigned count, int rounds)
{
	struct reading *reading = open_reading();
	struct reader *readers[READERS_MAX];
	for (unsigned i = 0; i < count; i++)
		readers[i] = new_reader(&wishes[i], i);
	for (int round = 0; round < rounds; round++) {
		random_transaction(readers, count, 1 + chance(6));
		begin(reading);
		for (unsigned i = 0; i < count; i++) {
			if (chance(3))
				continue;
			if (chance(40) == 0)
				start_anew(readers[i]);
			take_step(readers[i], reading);
			if (readers[i]->at.whole)
				compare(readers[i]);
		}
		reading_end(reading);
	}
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(readers[i]->resets, 0);
		free_reader(readers[i]);
	}
	reading_close(&reading);
}

struct telling {
	struct reader **readers;
	int64_t to;
};

/* As a message would have it: `from` is what the shape was told last. */
static inline void tell(void *context, const struct shape *s, const struct str *parts,
	size_t part_count, const struct window *have)
{
	struct telling *t = context;
	size_t i = 0;
	while (!t->readers[i]->live || t->readers[i]->s != s)
		i++;
	struct reader *r = t->readers[i];
	r->told++;
	assert_int_equal(part_count == 0, s->notify);
	for (size_t p = 0; p < part_count; p++) {
		struct buf b = BUF_INIT(1 << 20);
		buf_addf(&b, "[" STR_FMT "]", STR_ARG(parts[p]));
		assert_true(b.n < 256 * 1024 - 200);
		json_t *ops = parse(b.p);
		apply_ops(r, ops);
		json_decref(ops);
		buf_free(&b);
	}
	r->position = t->to;
	if (have) {
		window_unref(&r->have);
		r->have = window_ref(have);
	}
}

/* By steps until the head, then among the live ones. */
static inline void join(struct live *live, struct reading *reading, struct reader *r)
{
	r->told = 0;
	while (!r->at.whole)
		take_step(r, reading);
	take_step(r, reading);
	assert_int_equal(live_add(live, r->s, r->at.have), ERR_OK);
	r->have = window_ref(r->at.have);
	r->live = true;
}

/* Out of step, from where it is; or gone, and back as somebody new. */
static inline void leave(struct live *live, struct reader *r, int64_t at)
{
	live_remove(live, r->s);
	r->live = false;
	if (chance(2)) {
		start_anew(r);
		return;
	}
	step_result_unref(&r->result);
	r->at = (struct standing_at){.seq = at, .whole = true, .have = r->have};
	r->position = at;
}

static inline void by_live_feed(const struct wish *wishes, unsigned count, int rounds)
{
	struct reading *reading = open_reading();
	struct live *live = live_new(reading);
	struct reader *readers[READERS_MAX];
	int64_t at = 0;
	for (unsigned i = 0; i < count; i++)
		readers[i] = new_reader(&wishes[i], i);
	for (int round = 0; round < rounds; round++) {
		for (unsigned n = 1 + chance(3); n; n--)
			random_transaction(readers, count, 1 + chance(6));
		int64_t head = begin(reading).seq;
		struct telling t = {readers, head};
		bool leap = true;
		assert_int_equal(live_step(live, at, head, tell, &t, &leap), ERR_OK);
		assert_false(leap);
		at = head;
		for (unsigned i = 0; i < count; i++) {
			if (readers[i]->live)
				compare(readers[i]);
			if (readers[i]->live && chance(20) == 0)
				leave(live, readers[i], at);
			else if (!readers[i]->live && chance(3) == 0)
				join(live, reading, readers[i]);
		}
		reading_end(reading);
		if (chance(50) == 0) /* whatever was prepared is prepared anew */
			run("CREATE TABLE IF NOT EXISTS other(x); DROP TABLE other");
	}
	for (unsigned i = 0; i < count; i++) {
		if (readers[i]->live && chance(2))
			live_remove(live, readers[i]->s);
		free_reader(readers[i]);
	}
	live_free(&live);
	reading_close(&reading);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
