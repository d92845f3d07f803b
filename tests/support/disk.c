/* A disk that fails when a test says so: loaded before the program (LD_PRELOAD), it answers what would
 * change a file below TEST_DISK_FOLDER with the error (errno, an int64) that stands in the file
 * TEST_DISK_FILE, as a disk does that the system has made read-only, or that is broken. 0: all is well.
 * What has been written is not taken back. See support/disk.mjs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const volatile int64_t *error;
static const char *folder;

__attribute__((constructor)) static void open_disk(void)
{
	static const int64_t none;
	error = &none;
	folder = getenv("TEST_DISK_FOLDER");
	const char *path = getenv("TEST_DISK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (folder && page != MAP_FAILED)
		error = page;
}

static int fails_at(const char *path)
{
	if (!error || !*error || !folder || strncmp(path, folder, strlen(folder)) != 0)
		return 0;
	errno = (int)*error;
	return 1;
}

static int fails(int fd)
{
	char link[64], path[4096];
	if (!error || !*error)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = 0;
	return fails_at(path);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
	return fails(fd) ? -1 : syscall(SYS_write, fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
	return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, n, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
	return pwrite64(fd, bytes, n, at);
}

int ftruncate64(int fd, off64_t size)
{
	return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int fsync(int fd)
{
	return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int open64(const char *path, int flags, ...)
{
	va_list more;
	va_start(more, flags);
	mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
	va_end(more);
	if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails_at(path))
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
