/* Any bytes as the ops of a write: they are done, or refused with a sentence; the answer is JSON, no transaction stays
 * open, and what is hidden stays as it was. */
#include "core/json_scan.h"
#include "core/mem.h"
#include "dataset/capture.h"
#include "dataset/write.h"

#define MUST(what) \
	do { \
		if (!(what)) \
			abort(); \
	} while (0)

enum { ROUNDS = 500 }; /* with the same rows */

static sqlite3 *db;
static struct layout *l;
static struct write_rights rights;

static void sql(const char *text)
{
	MUST(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
}

static struct ruling *rule(const char *predicate)
{
	struct ruling *r = mem_alloc(sizeof(*r));
	r->predicate = str_of(predicate);
	return r;
}

static void begin(void)
{
	char why[CAPTURE_WHY_MAX];
	bool changed = false;
	struct str name = STR("t");
	MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sql("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE COLLATE NOCASE, n INTEGER "
	    "CHECK(n < 100), r REAL, b BLOB,"
	    " h TEXT DEFAULT 'hidden', p INTEGER REFERENCES t(id))");
	MUST(!capture_ensure(db, &name, 1, false, &changed, why));
	MUST(!capture_layout(db, name, NULL, 0, &l, why));
	for (size_t i = 0; i < l->count; i++)
		rights.visible[i] = !str_is(l->columns[i].name, "h");
	rights.rulings[RULE_READ] = rule("n IS NOT 7");
	rights.rulings[RULE_INSERT] = rule("n IS NOT 8");
	rights.rulings[RULE_UPDATE] = rule("n IS NOT 9");
	rights.rulings[RULE_DELETE] = rule("1");
}

static bool holds(const char *text)
{
	sqlite3_stmt *s = NULL;
	MUST(sqlite3_prepare_v2(db, text, -1, &s, NULL) == SQLITE_OK);
	MUST(sqlite3_step(s) == SQLITE_ROW);
	bool yes = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned rounds;
	struct written w;
	char mutation[16];
	if (!db)
		begin();
	if (!size || size > WRITE_BYTES_MAX ||
		json_check((struct str){(const char *)data, size}, NULL) ||
		json_kind((struct str){(const char *)data, size}) != JSON_ARRAY)
		return 0;
	if (rounds++ % ROUNDS == 0)
		sql("DELETE FROM t; INSERT INTO t(id, a, n) VALUES(1, 'x', 1), (2, 'y', 7), (3, "
		    "NULL, 9);"
		    "DELETE FROM _sb_mutations; DELETE FROM _sb_c1");
	snprintf(mutation, sizeof(mutation), "m%u", rounds);
	char *ops = mem_copy((struct str){(const char *)data, size});
	struct write_wish wish = {.dataset = STR("t"),
		.user = STR("ann"),
		.mutation = str_of(mutation),
		.ops = {ops, size},
		.atomic = rounds % 2,
		.now_ms = 1000,
		.limit_ms = 5000};
	write_run(db, l, &rights, &wish, &w);
	MUST(sqlite3_get_autocommit(db));
	MUST(w.err ? w.problem.why.message && *w.problem.why.message
		   : !json_check((struct str){w.result.p, w.result.n}, NULL));
	MUST(holds("SELECT count(*) = 0 FROM t WHERE h IS NOT 'hidden'"));
	MUST(holds("SELECT txn IS NULL AND actor IS NULL FROM _sb_ctx"));
	written_free(&w);
	free(ops);
	return 0;
}
