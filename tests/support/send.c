/* A kernel that is once out of memory: loaded before the program (LD_PRELOAD), it refuses the first send() of at
 * least TEST_SEND_BYTES with ENOBUFS. The connection is whole, and takes what is sent next. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

static size_t least = (size_t)-1;
static atomic_bool refused;

__attribute__((constructor)) static void begin(void)
{
	const char *bytes = getenv("TEST_SEND_BYTES");
	if (bytes)
		least = strtoul(bytes, NULL, 10);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
	if (n < least || atomic_exchange(&refused, 1))
		return sendto(fd, bytes, n, flags, NULL, 0);
	errno = ENOBUFS;
	return -1;
}
