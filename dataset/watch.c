#include "dataset/watch.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/trouble.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define US ((int64_t)1000)
#define MS ((int64_t)1000000)

/* in ns */
#define LOOK_AGAIN_FIRST (100 * US)
#define LOOK_AGAIN_LAST (10 * MS)
#define LOOK_AGAIN_BEHIND \
	(2 * MS) /* a commit: what was written may have been of the next one, too */
#define LOOK_AGAIN_FOR (100 * MS) /* behind the last write that was seen */

enum {
	STORM = 32,          /* writes that were no commit, one behind the other */
	LOCK_STAYS_MS = 500, /* longer than a commit takes */
};

struct watch {
	char *path;
	char directory[PATH_MAX]; /* where the file really is, and its log is beside it */
	char name[NAME_MAX + 1];
	int wake, notify, watched; /* descriptors; what is watched, or -1 */
	sqlite3 *handle;           /* NULL: no file is open */
	sqlite3_stmt *version;
	int64_t seen;       /* the version */
	int64_t busy_since; /* 0: nobody keeps us from seeing it */
	dev_t device;
	ino_t inode;
	int64_t pause;      /* until it is looked again; 0: not before something is written */
	int64_t written_at; /* when inotify has said something last */
	unsigned in_vain;   /* how often it has, since the last commit */
	bool journal;       /* what was written may have been one */
};

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 * MS + t.tv_nsec;
}

/* ---- the name ---- */

/* A link's target is what is written to. A file that is not there yet is looked for where it is named. */
static void find_place(struct watch *w)
{
	char real[PATH_MAX];
	if (!realpath(w->path, real))
		snprintf(real, sizeof(real), "%s", w->path);
	char *slash = strrchr(real, '/');
	snprintf(w->name, sizeof(w->name), "%.*s", NAME_MAX, slash ? slash + 1 : real);
	if (slash)
		*(slash == real ? slash + 1 : slash) = 0;
	snprintf(w->directory, sizeof(w->directory), "%s", slash ? real : ".");
}

static void watch_directory(struct watch *w)
{
	static const uint32_t what = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
		IN_MOVED_TO |
		IN_ONLYDIR; /* not IN_ATTRIB: SQLite sets a journal's owner as it looks at it */
	char before[PATH_MAX];
	snprintf(before, sizeof(before), "%s", w->directory);
	find_place(w);
	int wd = w->notify < 0 ? -1 : inotify_add_watch(w->notify, w->directory, what);
	if (w->watched >= 0 && wd != w->watched)
		inotify_rm_watch(w->notify, w->watched);
	if (wd < 0 && (w->watched >= 0 || strcmp(before, w->directory) != 0))
		log_warn("a folder is not watched: changes are looked for from time to time",
			LOG_TEXT("folder", w->directory), LOG_TEXT("why", strerrordesc_np(errno)));
	w->watched = wd;
}

struct watch *watch_new(const char *path)
{
	struct watch *w = mem_new(struct watch);
	w->path = mem_copy(str_of(path));
	w->watched = -1;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->wake < 0)
		log_error("no descriptors are left to watch a file", LOG_TEXT("file", path));
	watch_directory(w);
	if (w->wake < 0)
		watch_free(&w);
	return w;
}

void watch_free(struct watch **ret_w)
{
	struct watch *w = *ret_w;
	*ret_w = NULL;
	if (!w)
		return;
	watch_close(w);
	if (w->notify >= 0)
		close(w->notify);
	if (w->wake >= 0)
		close(w->wake);
	free(w->path);
	free(w);
}

/* ---- the file ---- */

/* Whether it has changed. While somebody commits, nobody can say; what else is wrong, and a lock that stays, is told as
 * a change: whoever then reads will meet it. */
static bool version_differs(struct watch *w)
{
	int rc = sqlite3_step(w->version);
	int64_t version = rc == SQLITE_ROW ? sqlite3_column_int64(w->version, 0) : w->seen;
	sqlite3_reset(w->version);
	rc &= 0xff;
	bool differs = version != w->seen, busy = rc == SQLITE_BUSY || rc == SQLITE_LOCKED;
	w->seen = version;
	if (!busy)
		w->busy_since = 0;
	else if (!w->busy_since)
		w->busy_since = clock_steady_ms();
	bool stays = busy && clock_steady_ms() - w->busy_since >= LOCK_STAYS_MS;
	return differs || stays || (rc != SQLITE_ROW && !busy);
}

/* A journal whose header is not wiped belongs to a transaction that is under way (or to a crash: it is old then, and
 * the next look of a poll lets SQLite roll it back). */
static bool is_committing(struct watch *w)
{
	char path[PATH_MAX + NAME_MAX + 16], first = 0;
	if (!w->journal)
		return false;
	snprintf(path, sizeof(path), "%s/%s-journal", w->directory, w->name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	w->journal = fd >= 0 && read(fd, &first, 1) == 1 && first;
	if (fd >= 0)
		close(fd);
	return w->journal;
}

static bool is_another(const struct watch *w)
{
	struct stat s;
	bool there = stat(w->path, &s) == 0 && S_ISREG(s.st_mode);
	if (!w->handle)
		return there;
	return !there || s.st_dev != w->device || s.st_ino != w->inode;
}

enum err watch_open(struct watch *w, const struct store_trouble **ret_trouble)
{
	struct stat s;
	watch_close(w);
	watch_directory(w);
	if (stat(w->path, &s)) {
		*ret_trouble = store_trouble_errno(errno);
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_OVERLOADED;
	}
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int rc = sqlite3_open_v2(w->path, &w->handle, flags, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v3(w->handle, "PRAGMA data_version", -1,
			SQLITE_PREPARE_PERSISTENT, &w->version, NULL);
	if (rc != SQLITE_OK) {
		*ret_trouble = w->handle ? trouble_of(w->handle) : NULL;
		watch_close(w);
		return ERR_OVERLOADED;
	}
	w->device = s.st_dev;
	w->inode = s.st_ino;
	w->seen = 0;
	version_differs(w);
	return ERR_OK;
}

void watch_close(struct watch *w)
{
	sqlite3_finalize(w->version);
	w->version = NULL;
	int rc = sqlite3_close(w->handle);
	assert(rc == SQLITE_OK);
	(void)rc;
	w->handle = NULL;
	w->pause = w->in_vain = 0;
}

unsigned long long watch_inode(const struct watch *w)
{
	return w->inode;
}

/* ---- waiting ---- */

void watch_wake(struct watch *w)
{
	uint64_t one = 1;
	if (write(w->wake, &one, sizeof(one)) < 0) {
		/* it is awake as often as it can be counted */
	}
}

enum seen { SEEN_NOTHING, SEEN_WRITE, SEEN_NAME };

/* Writes to the file, its log or its journal; not to the log's index, which readers write as well. */
static enum seen is_about(struct watch *w, const struct inotify_event *e)
{
	size_t n = strlen(w->name);
	if (e->mask & IN_Q_OVERFLOW) {
		w->journal = true;
		return SEEN_NAME;
	}
	if (!e->len || strncmp(e->name, w->name, n) != 0)
		return SEEN_NOTHING;
	if (!e->name[n])
		return e->mask & IN_MODIFY ? SEEN_WRITE : SEEN_NAME;
	bool journal = strcmp(e->name + n, "-journal") == 0;
	w->journal |= journal;
	return journal || strcmp(e->name + n, "-wal") == 0 ? SEEN_WRITE : SEEN_NOTHING;
}

static enum seen read_events(struct watch *w)
{
	_Alignas(struct inotify_event) char bytes[4096];
	enum seen seen = SEEN_NOTHING;
	ssize_t n = 0;
	while (w->notify >= 0 && (n = read(w->notify, bytes, sizeof(bytes))) > 0)
		for (char *at = bytes; at < bytes + n;) {
			const struct inotify_event *e = (const void *)at;
			enum seen one = is_about(w, e);
			seen = one > seen ? one : seen;
			at += sizeof(*e) + e->len;
		}
	return seen;
}

/* In a storm it is looked by the clock alone: a writer that fills its cache for seconds would keep this thread busy with
 * nothing. */
static bool wait_until(struct watch *w, int64_t until)
{
	bool storm = w->in_vain >= STORM;
	struct pollfd fds[2] = {{.fd = w->wake, .events = POLLIN},
		{.fd = storm ? -1 : w->notify, .events = POLLIN}};
	int64_t left = until - now_ns();
	left = left < 0 ? 0 : left;
	struct timespec t = {.tv_sec = left / (1000 * MS), .tv_nsec = left % (1000 * MS)};
	uint64_t count = 0;
	if (ppoll(fds, 2, &t, NULL) <= 0 || !fds[0].revents)
		return false;
	return read(w->wake, &count, sizeof(count)) == sizeof(count);
}

/* Soon behind whatever was written, and then less often. */
static void plan_next(struct watch *w, bool written, bool changed)
{
	int64_t longer = 2 * w->pause < LOOK_AGAIN_LAST ? 2 * w->pause : LOOK_AGAIN_LAST;
	w->in_vain = changed ? 0 : w->in_vain + written;
	w->pause = changed                      ? LOOK_AGAIN_BEHIND
		: written && w->in_vain < STORM ? LOOK_AGAIN_FIRST
						: longer;
	if (now_ns() - w->written_at > LOOK_AGAIN_FOR)
		w->pause = w->in_vain = 0;
}

/* due: it is looked whatever inotify says. */
static unsigned look(struct watch *w, bool due)
{
	enum seen seen = read_events(w);
	if (seen)
		w->written_at = now_ns();
	if ((seen == SEEN_NAME || due) && is_another(w))
		return WATCH_REPLACED;
	if (!w->handle || !(seen || w->pause || due))
		return 0;
	bool changed = (due || !is_committing(w)) && version_differs(w);
	if (seen || w->pause)
		plan_next(w, seen, changed);
	return changed ? WATCH_CHANGED : 0;
}

unsigned watch_wait(struct watch *w, unsigned timeout_ms)
{
	int64_t end = now_ns() + timeout_ms * MS;
	for (;;) {
		int64_t again = w->pause ? now_ns() + w->pause : INT64_MAX;
		bool woken = wait_until(w, again < end ? again : end);
		bool due = now_ns() >= end;
		unsigned what = look(w, due) | (woken ? WATCH_WOKEN : 0);
		if (what || due)
			return what;
	}
}
