#include "store/trouble.h"

#include <errno.h>
#include <stdio.h>

enum { CODES_MAX = 4 };

static const struct {
	int sqlite[CODES_MAX]; /* primary result codes */
	int system[CODES_MAX]; /* values of errno */
	struct store_trouble trouble;
} rows[] = {
	{{SQLITE_FULL}, {ENOSPC, EDQUOT, EFBIG},
		{"the disk is full", "make room on the disk of the database"}},
	{{SQLITE_READONLY}, {EROFS},
		{"the disk is read-only",
			"the system's log says why it is so; mount it for writing again"}},
	{{SQLITE_BUSY, SQLITE_PROTOCOL}, {0},
		{"another program has locked the database",
			"end its transaction, or the program: fuser names those that have the "
			"file open"}},
	{{SQLITE_PERM, SQLITE_AUTH}, {EACCES, EPERM},
		{"the files of the database may not be written",
			"give its directory and its files to the user that the service runs as"}},
	{{SQLITE_CORRUPT, SQLITE_NOTADB}, {0},
		{"the database is damaged", "stop the service and restore a backup"}},
	{{SQLITE_NOMEM}, {ENOMEM}, {"there is no memory", "give the service more memory"}},
	{{0}, {EMFILE, ENFILE},
		{"there are no more file descriptors", "raise the limit of open files"}},
	/* the last: whatever else happens to files */
	{{SQLITE_IOERR, SQLITE_CANTOPEN}, {0},
		{"the disk fails", "the system's log says more about the disk of the database"}},
};
enum { ROWS = sizeof(rows) / sizeof(*rows) };

static bool has(const int codes[CODES_MAX], int code)
{
	for (size_t i = 0; i < CODES_MAX && codes[i]; i++)
		if (codes[i] == code)
			return true;
	return false;
}

const struct store_trouble *store_trouble_errno(int error)
{
	for (size_t i = 0; i < ROWS; i++)
		if (has(rows[i].system, error))
			return &rows[i].trouble;
	return NULL;
}

void trouble_advise(char *why, const struct store_trouble *trouble)
{
	size_t n = strlen(why);
	if (trouble)
		snprintf(why + n, STORE_WHY_MAX - n, "; %s", trouble->remedy);
}

/* What the system said last about the log, where writing happens, or else the file itself.
 * (sqlite3_system_errno() is what errno was some calls later.) */
static int last_errno(sqlite3 *handle)
{
	sqlite3_file *wal = NULL;
	int error = 0;
	if (sqlite3_extended_errcode(handle) == SQLITE_IOERR_SHMSIZE)
		return ENOSPC; /* the log's index finds no room; for that file nothing is noted */
	sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
	if (wal && wal->pMethods)
		wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &error);
	if (!error)
		sqlite3_file_control(handle, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
	return error;
}

const struct store_trouble *trouble_of(sqlite3 *handle)
{
	int code = sqlite3_errcode(handle) & 0xff;
	if (has(rows[ROWS - 1].sqlite, code)) {
		const struct store_trouble *known = store_trouble_errno(last_errno(handle));
		return known ? known : &rows[ROWS - 1].trouble;
	}
	for (size_t i = 0; i < ROWS; i++)
		if (has(rows[i].sqlite, code))
			return &rows[i].trouble;
	return NULL;
}
