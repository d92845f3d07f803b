#include "service/notify.h"

#include "core/buf.h"
#include "core/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(struct str state)
{
	struct str path = str_of(getenv("NOTIFY_SOCKET"));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (!path.n || path.n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path.p, path.n);
	if (path.p[0] == '@') /* an abstract one: unix(7) */
		a.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n);
	if (fd < 0 ||
		sendto(fd, state.p, state.n, MSG_NOSIGNAL, (const struct sockaddr *)&a, n) < 0)
		log_warn("systemd cannot be told", LOG_INT("errno", errno));
	if (fd >= 0)
		close(fd);
}

void notify_ready(void)
{
	struct buf b = BUF_INIT(64);
	buf_addf(&b, "READY=1\nMAINPID=%d", (int)getpid());
	tell(buf_str(&b));
	buf_free(&b);
}

void notify_stopping(void)
{
	tell(STR("STOPPING=1"));
}
