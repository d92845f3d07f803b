#include "service/hangup.h"

#include "core/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { HEARD_A_TURN = 64 };

static _Thread_local int set = -1;
static _Thread_local uv_poll_t poll_handle;
static _Thread_local void (*heard)(void *what);

static void on_readable(uv_poll_t *handle, int status, int events)
{
	(void)handle, (void)status, (void)events;
	struct epoll_event all[HEARD_A_TURN];
	int n = epoll_wait(set, all, HEARD_A_TURN, 0);
	for (int i = 0; i < n; i++)
		heard(all[i].data.ptr);
}

void hangup_start(uv_loop_t *loop, void (*on_heard)(void *what))
{
	heard = on_heard;
	set = epoll_create1(EPOLL_CLOEXEC);
	if (set < 0 || uv_poll_init(loop, &poll_handle, set))
		abort();
	uv_poll_start(&poll_handle, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
	close(set);
	set = -1;
}

void hangup_stop(void)
{
	uv_close((uv_handle_t *)&poll_handle, on_closed);
}

void hangup_watch(int fd, void *what)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = what};
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e))
		log_error("the end of a connection will not be seen", LOG_INT("errno", errno));
}

void hangup_forget(int fd)
{
	epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
}
