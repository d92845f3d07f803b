#include "service/arrival.h"

#include "core/mem.h"
#include "core/metrics.h"
#include "service/forwarded.h"
#include "service/proxy_header.h"

#include <errno.h>
#include <unistd.h>

enum { SWEEP_MS = 1000 };

struct arrival {
	uv_poll_t poll;
	struct arrival *next, **back;
	int fd;
	struct ip from;
	bool internal;
	arrival_adopt *adopt;
	void *context;
	uint64_t born_ms;
	size_t n;
	char bytes[PROXY_HEADER_MAX];
};

static _Thread_local struct arrival *arrivals;
static _Thread_local size_t count;
static _Thread_local uv_timer_t sweeper;

static void admit(
	int fd, const struct ip *client, bool internal, arrival_adopt *adopt, void *context)
{
	struct peer *peer = peer_new(client, internal);
	if (peer) {
		adopt(context, fd, peer);
		return;
	}
	metric_add(METRIC_CONNECTIONS_CUT, 1);
	close(fd);
}

/* ---- waiting for a header ---- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The descriptor is the caller's again. */
static int leave(struct arrival *a)
{
	int fd = a->fd;
	*a->back = a->next;
	if (a->next)
		a->next->back = a->back;
	count--;
	uv_poll_stop(&a->poll);
	uv_close((uv_handle_t *)&a->poll, on_closed);
	return fd;
}

static void turn_away(struct arrival *a)
{
	metric_add(METRIC_PROXY_HEADERS_REFUSED, 1);
	close(leave(a));
}

/* Takes what has come of the header, and not a byte behind it, which may be TLS already. */
static enum proxy_word take(struct arrival *a, struct proxy_header *ret)
{
	enum proxy_word word = PROXY_MORE;
	while (word == PROXY_MORE) {
		ssize_t n = recv(a->fd, a->bytes + a->n, sizeof(a->bytes) - a->n, MSG_PEEK);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return PROXY_MORE;
		if (n <= 0)
			return PROXY_BAD;
		word = proxy_header_read((struct str){a->bytes, a->n + (size_t)n}, ret);
		size_t own = word == PROXY_DONE ? ret->length - a->n : (size_t)n;
		if (word != PROXY_BAD && recv(a->fd, a->bytes + a->n, own, 0) != (ssize_t)own)
			return PROXY_BAD;
		a->n += own;
	}
	return word;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)events;
	struct arrival *a = poll->data;
	struct proxy_header header = {0};
	enum proxy_word word = status ? PROXY_BAD : take(a, &header);
	if (word == PROXY_BAD) {
		turn_away(a);
	} else if (word == PROXY_DONE) {
		int fd = leave(a);
		admit(fd, header.known ? &header.client : &a->from, a->internal, a->adopt,
			a->context);
	}
}

static void wait_for_header(
	int fd, const struct ip *from, bool internal, arrival_adopt *adopt, void *context)
{
	if (count >= ARRIVALS_MAX) {
		metric_add(METRIC_PROXY_HEADERS_REFUSED, 1);
		close(fd);
		return;
	}
	struct arrival *a = mem_new(struct arrival);
	a->fd = fd;
	a->from = *from;
	a->internal = internal;
	a->adopt = adopt;
	a->context = context;
	a->born_ms = worker_now_ms();
	a->poll.data = a;
	a->back = &arrivals;
	a->next = arrivals;
	if (a->next)
		a->next->back = &a->next;
	arrivals = a;
	count++;
	uv_poll_init(&worker_self()->loop, &a->poll, fd);
	uv_poll_start(&a->poll, UV_READABLE, on_readable);
}

void arrival_begin(
	int fd, const struct sockaddr *from, bool internal, arrival_adopt *adopt, void *context)
{
	struct ip ip = {{0}};
	ip_of(from, &ip);
	if (!internal && forwarded_has_header(&ip))
		wait_for_header(fd, &ip, internal, adopt, context);
	else
		admit(fd, &ip, internal, adopt, context);
}

/* ---- the worker's part ---- */

static void on_sweep(uv_timer_t *timer)
{
	uint64_t now = uv_now(timer->loop);
	for (struct arrival *a = arrivals, *next; a; a = next) {
		next = a->next;
		if (now - a->born_ms >= ARRIVAL_MS)
			turn_away(a);
	}
}

static enum err start(struct worker *w)
{
	uv_timer_init(&w->loop, &sweeper);
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	(void)w;
	while (arrivals)
		close(leave(arrivals));
}

static void stop(struct worker *w)
{
	drain(w);
	uv_close((uv_handle_t *)&sweeper, NULL);
}

const struct worker_part arrival_part = {
	.name = "arrivals", .start = start, .drain = drain, .stop = stop};
