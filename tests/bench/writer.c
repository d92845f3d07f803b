/* One program that writes to a database, as fast as it can: see capture.mjs.
 *   writer FILE insert|update ROWS ROWS_A_TRANSACTION
 * prints the rows a second. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static sqlite3 *db;

static void fail(const char *what)
{
	fprintf(stderr, "writer: %s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

static sqlite3_stmt *prepared(const char *sql)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK)
		fail(sql);
	return s;
}

static void run(sqlite3_stmt *s)
{
	if (sqlite3_step(s) != SQLITE_DONE)
		fail(sqlite3_sql(s));
	sqlite3_reset(s);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void write_row(sqlite3_stmt *s, int update, int row)
{
	char title[48];
	int n = snprintf(
		title, sizeof(title), "the title of row %d%s", row, update ? ", changed" : "");
	sqlite3_bind_text(s, 1, title, n, SQLITE_STATIC);
	sqlite3_bind_int(s, 2, row & 1);
	if (update) {
		sqlite3_bind_int(s, 3, row + 1);
	} else {
		sqlite3_bind_text(s, 3, row % 7 ? "ann" : "bob", 3, SQLITE_STATIC);
		sqlite3_bind_double(s, 4, row * 0.1);
	}
	run(s);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int update = strcmp(argv[2], "update") == 0;
	long rows = strtol(argv[3], NULL, 10), each = strtol(argv[4], NULL, 10);
	if (sqlite3_open(argv[1], &db) != SQLITE_OK)
		fail("open");
	run(prepared("PRAGMA synchronous = NORMAL"));
	sqlite3_stmt *begin = prepared("BEGIN"), *commit = prepared("COMMIT");
	sqlite3_stmt *s = prepared(update
			? "UPDATE todos SET title = ?1, done = ?2 WHERE id = ?3"
			: "INSERT INTO todos(title, done, owner, due, note) VALUES(?1, ?2, ?3, ?4, "
			  "'a note of some length, as people write')");
	double began = now();
	for (long row = 0; row < rows; row += each) {
		if (each > 1)
			run(begin);
		for (long i = row; i < row + each; i++)
			write_row(s, update, (int)i);
		if (each > 1)
			run(commit);
	}
	printf("%.0f\n", (double)rows / (now() - began));
	return 0;
}
