#include "dataset/board.h"

#include "core/log.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

enum { BUSY_MS = 2000 };

/* A room's board has 500 cards at most, all of them 20,000. */
static const char schema[] = "PRAGMA journal_mode = WAL;"
			     "PRAGMA synchronous = NORMAL;"
			     "BEGIN IMMEDIATE;"
			     "CREATE TABLE IF NOT EXISTS board("
			     " id TEXT NOT NULL PRIMARY KEY CHECK(length(id) BETWEEN 8 AND 64),"
			     " room TEXT NOT NULL CHECK(length(room) BETWEEN 1 AND 255),"
			     " lane TEXT NOT NULL CHECK(lane IN ('todo', 'doing', 'done')),"
			     " place REAL NOT NULL,"
			     " title TEXT NOT NULL CHECK(length(title) BETWEEN 1 AND 500),"
			     " author TEXT NOT NULL,"
			     " editor TEXT NOT NULL"
			     ") STRICT;"
			     "CREATE INDEX IF NOT EXISTS board_room ON board(room);"
			     "CREATE TRIGGER IF NOT EXISTS board_full BEFORE INSERT ON board"
			     " WHEN (SELECT count(*) FROM board WHERE room = new.room) >= 500"
			     " OR (SELECT count(*) FROM board) >= 20000"
			     " BEGIN SELECT RAISE(ABORT, 'this board is full'); END;"
			     "COMMIT;";

#define SIGNED_IN ":user NOT LIKE 'guest:%'"

static bool make(const char *path)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(
		path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK && chmod(path, 0600) != 0)
		rc = SQLITE_CANTOPEN;
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db, BUSY_MS);
	if (rc == SQLITE_OK &&
		sqlite3_exec(db, "SELECT 1 FROM board LIMIT 0", NULL, NULL, NULL) != SQLITE_OK)
		rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		log_warn("the demo has no board", LOG_TEXT("file", path),
			LOG_TEXT("reason", db ? sqlite3_errmsg(db) : sqlite3_errstr(rc)));
	sqlite3_close(db);
	return rc == SQLITE_OK;
}

struct definition *board_definition(const char *directory)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/demo.db", directory);
	if (n >= (int)sizeof(path) || !make(path))
		return NULL;
	return definition_new(&(struct definition){.name = STR(BOARD_DATASET),
		.database = str_of(path),
		.table = STR("board"),
		.rules = {[RULE_READ] = STR(SIGNED_IN),
			[RULE_INSERT] = STR(SIGNED_IN " AND author = :user AND editor = :user"),
			[RULE_UPDATE] = STR(SIGNED_IN),
			[RULE_DELETE] = STR(SIGNED_IN)},
		.configured = true});
}
