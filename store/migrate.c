#include "store/migrate.h"
#include "store/trouble.h"

#include "core/embedded.h"
#include "core/log.h"

#include <stdio.h>

/* The number of a migration's file, or 0 for other embedded files. */
static int number_of(const struct embedded_file *file)
{
	static const struct str folder = {"schema/sql/", sizeof("schema/sql/") - 1};
	struct str path = str_of(file->path);
	int number = 0;
	if (!str_starts(path, folder))
		return 0;
	for (const char *p = path.p + folder.n; *p >= '0' && *p <= '9' && number < 10000; p++)
		number = 10 * number + (*p - '0');
	return number;
}

int migrate_newest(void)
{
	int newest = 0;
	for (const struct embedded_file *f = embedded_files; f->path; f++)
		if (number_of(f) > newest)
			newest = number_of(f);
	return newest;
}

static int read_number(sqlite3 *handle, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*ret_number = sqlite3_column_int64(stmt, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? SQLITE_ERROR : rc;
}

static enum err refuse(char *ret_why, const char *place, const char *why)
{
	snprintf(ret_why, STORE_WHY_MAX, "%s %s", place, why);
	return ERR_CONFLICT;
}

enum err migrate_check(sqlite3 *handle, const char *place, int *ret_version, char *ret_why)
{
	int64_t application = 0, version = 0, things = 0;
	int rc = read_number(handle, "PRAGMA application_id", &application);
	if (rc == SQLITE_OK)
		rc = read_number(handle, "PRAGMA user_version", &version);
	if (rc == SQLITE_OK)
		rc = read_number(handle, "SELECT count(*) FROM sqlite_schema", &things);
	if (rc == SQLITE_NOTADB)
		return refuse(ret_why, place,
			"is not a database: name another place, or move the file away");
	if (rc != SQLITE_OK) {
		snprintf(ret_why, STORE_WHY_MAX, "%s cannot be read: %s", place,
			sqlite3_errmsg(handle));
		trouble_advise(ret_why, trouble_of(handle));
		return ERR_INTERNAL;
	}
	if (application != MIGRATE_APPLICATION_ID && (application || version || things))
		return refuse(ret_why, place,
			"is another program's database: name another place, or move the file away");
	if (version > migrate_newest()) {
		snprintf(ret_why, STORE_WHY_MAX,
			"%s was written by a newer Signalbox (schema %lld, this program knows %d): "
			"run the newer program, or restore a backup",
			place, (long long)version, migrate_newest());
		return ERR_CONFLICT;
	}
	*ret_version = (int)version;
	return ERR_OK;
}

/* The file's own statements, what they must leave in order, and the mark that they are done. */
static int apply_inside(sqlite3 *handle, const struct embedded_file *file)
{
	char mark[96];
	sqlite3_stmt *orphans = NULL;
	int rc = sqlite3_exec(handle, file->begin, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_prepare_v2(handle, "PRAGMA foreign_key_check", -1, &orphans, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(orphans);
	sqlite3_finalize(orphans);
	if (rc != SQLITE_DONE)
		return rc == SQLITE_ROW ? SQLITE_CONSTRAINT_FOREIGNKEY : rc;
	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		MIGRATE_APPLICATION_ID, number_of(file));
	return sqlite3_exec(handle, mark, NULL, NULL, NULL);
}

static enum err apply(
	sqlite3 *handle, const char *place, const struct embedded_file *file, char *ret_why)
{
	int rc = sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = apply_inside(handle, file);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL);
	if (rc == SQLITE_OK) {
		log_info("store migrated", LOG_TEXT("file", file->path));
		return ERR_OK;
	}
	snprintf(ret_why, STORE_WHY_MAX, "%s: %s cannot be applied: %s", place, file->path,
		rc == SQLITE_CONSTRAINT_FOREIGNKEY ? sqlite3_errstr(rc) : sqlite3_errmsg(handle));
	trouble_advise(ret_why, trouble_of(handle));
	if (!sqlite3_get_autocommit(handle))
		sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
	return ERR_INTERNAL;
}

/* Foreign keys are not enforced meanwhile, so that a table can be made anew under others that point
 * at it; each file is checked as a whole before it counts. */
enum err migrate_apply(sqlite3 *handle, const char *place, int version, char *ret_why)
{
	enum err err = ERR_OK;
	sqlite3_exec(handle, "PRAGMA foreign_keys = OFF", NULL, NULL, NULL);
	for (const struct embedded_file *f = embedded_files; f->path && !err; f++)
		if (number_of(f) > version)
			err = apply(handle, place, f, ret_why);
	return err;
}
