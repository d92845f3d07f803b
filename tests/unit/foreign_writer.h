/* foreign_writer.h: another process that has a database open and does there what it is told: for tests in which changes
 * come from outside. It is forked before the test starts any thread. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { FOREIGN_SQL_MAX = 4096, FOREIGN_BUSY_MS = 20000 };

struct foreign_writer {
	pid_t pid;
	int fd;
};

static inline int foreign_do(sqlite3 **db, const char *text)
{
	if (strncmp(text, "open ", 5) == 0) {
		int rc = sqlite3_open(text + 5, db);
		sqlite3_busy_timeout(*db, FOREIGN_BUSY_MS);
		return rc;
	}
	if (strcmp(text, "close") == 0) {
		int rc = sqlite3_close(*db);
		*db = NULL;
		return rc;
	}
	if (!*db)
		return SQLITE_MISUSE;
	int rc = sqlite3_exec(*db, text, NULL, NULL, NULL);
	if (rc && !sqlite3_get_autocommit(*db))
		sqlite3_exec(*db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static inline void foreign_serve(int fd)
{
	char text[FOREIGN_SQL_MAX + 1];
	sqlite3 *db = NULL;
	for (ssize_t n; (n = read(fd, text, FOREIGN_SQL_MAX)) > 0;) {
		text[n] = 0;
		int rc = foreign_do(&db, text);
		if (write(fd, &rc, sizeof(rc)) != sizeof(rc))
			break;
	}
	sqlite3_close(db);
}

static inline bool foreign_start(struct foreign_writer *w)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds))
		return false;
	w->pid = fork();
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		foreign_serve(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	w->fd = fds[0];
	return w->pid > 0;
}

/* SQLite's result code. */
static inline int foreign_run(struct foreign_writer *w, const char *text)
{
	int rc = -1;
	size_t n = strlen(text);
	if (write(w->fd, text, n) != (ssize_t)n || read(w->fd, &rc, sizeof(rc)) != sizeof(rc))
		return -1;
	return rc;
}

static inline int foreign_open(struct foreign_writer *w, const char *path)
{
	char text[FOREIGN_SQL_MAX];
	snprintf(text, sizeof(text), "open %s", path);
	return foreign_run(w, text);
}

static inline void foreign_stop(struct foreign_writer *w)
{
	shutdown(w->fd, SHUT_RDWR); /* another that was forked behind it has the descriptor, too */
	close(w->fd);
	waitpid(w->pid, NULL, 0);
}
