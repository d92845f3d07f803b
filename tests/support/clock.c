/* A wall clock that a test can put forward: loaded before the program (LD_PRELOAD), it adds the
 * seconds that stand in the file TEST_CLOCK_FILE (an int64) to what time() and clock_gettime() say of
 * the day. The clock that timers run by is left alone. See startServer({ clock: true }). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void open_clock(void)
{
	static const int64_t none;
	ahead = &none;
	const char *path = getenv("TEST_CLOCK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED)
		ahead = page;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, ret);
	if (!failed && clock == CLOCK_REALTIME && ahead)
		ret->tv_sec += *ahead;
	return failed;
}

time_t time(time_t *ret)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
