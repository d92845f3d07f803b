#include "service/listener.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/arrival.h"
#include "service/config.h"
#include "service/conn.h"
#include "service/inherited.h"
#include "service/lws.h"
#include "service/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LISTENERS_MAX = 17,
	BACKLOG = 1024,
	ACCEPTS_A_TURN = 64,
	/* What the kernel may hold for a client that reads slowly: left alone it takes up to 4 MiB each
	 * (tcp(7), tcp_wmem), and what is waiting could not be bounded by us. */
	SEND_BUFFER = 256 * 1024,
	PAUSE_MS = 100, /* when descriptors run out */
	PAUSE_SAID_EACH_MS = 10000,
	URL_MAX = 96,
};

struct listener {
	char url[URL_MAX];
	unsigned port;
	bool internal;
	int *fds; /* one a worker; inherited ones may be more, or shared */
	size_t fd_count;
};

static struct listener listeners[LISTENERS_MAX];
static size_t listener_count;
static int worker_count;
static const struct config *config;

/* ---- opening ---- */

/* "127.0.0.1:8080" or "[::1]:8080": the configuration has checked the form. */
static enum err resolve(const char *text, struct sockaddr_storage *ret, socklen_t *ret_n)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	struct str h = {text, colon ? (size_t)(colon - text) : 0};
	if (h.n >= 2 && h.p[0] == '[')
		h = (struct str){h.p + 1, h.n - 2};
	if (!colon || h.n >= sizeof(host))
		return ERR_PARAMS;
	memcpy(host, h.p, h.n);
	host[h.n] = 0;
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				.ai_socktype = SOCK_STREAM},
			*found = NULL;
	if (strcmp(host, "localhost") == 0)
		memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
	if (getaddrinfo(h.n ? host : NULL, colon + 1, &hints, &found))
		return ERR_PARAMS;
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	*ret_n = found->ai_addrlen;
	freeaddrinfo(found);
	return ERR_OK;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
			&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
	return ntohl(in->sin_addr.s_addr) >> 24 == 127;
}

static void set_port(struct sockaddr_storage *a, unsigned port)
{
	if (a->ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)a)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)(void *)a)->sin_port = htons((uint16_t)port);
}

/* A listening socket, or -1 with errno. shared: with the other workers. */
static int open_one(const struct sockaddr_storage *a, socklen_t n, bool shared)
{
	int on = 1, send_buffer = SEND_BUFFER; /* accepted sockets take it over */
	int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	if (a->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)a, n) == 0 && (!shared || listen(fd, BACKLOG) == 0))
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static enum err open_all(struct listener *l, struct sockaddr_storage *a, socklen_t n)
{
	/* With SO_REUSEPORT a second program would get the port and half of the clients without a
	 * word: so ask for it alone first. */
	int probe = open_one(a, n, false);
	if (probe < 0)
		return ERR_CONFLICT;
	socklen_t size = sizeof(*a);
	getsockname(probe, (struct sockaddr *)a, &size);
	close(probe);
	l->fds = mem_alloc((size_t)worker_count * sizeof(int));
	for (int i = 0; i < worker_count; i++) {
		int fd = open_one(a, n, true);
		if (fd < 0)
			return ERR_CONFLICT;
		l->fds[l->fd_count++] = fd;
	}
	return ERR_OK;
}

/* The sockets of the process before, and one a worker if there were fewer. Those of systemd are shared
 * by the workers: more beside them would be closed with this process, and who waits there would be reset. */
static bool inherit(struct listener *l, struct sockaddr_storage *a, socklen_t n)
{
	bool held = false;
	l->fd_count = inherited_take(a, l->internal, &l->fds, &held);
	if (!l->fd_count)
		return false;
	socklen_t size = sizeof(*a);
	getsockname(l->fds[0], (struct sockaddr *)a, &size);
	for (int fd;
		!held && l->fd_count < (size_t)worker_count && (fd = open_one(a, n, true)) >= 0;) {
		l->fds = mem_resize(l->fds, l->fd_count + 1, sizeof(int));
		l->fds[l->fd_count++] = fd;
	}
	return true;
}

static void close_sockets(struct listener *l)
{
	while (l->fd_count)
		close(l->fds[--l->fd_count]);
	free(l->fds);
	l->fds = NULL;
}

static void name_listener(struct listener *l, const struct sockaddr_storage *a, socklen_t n)
{
	char host[64], port[8];
	getnameinfo((const struct sockaddr *)a, n, host, sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV);
	const char *scheme = config->tls.certificate[0] && !l->internal ? "https" : "http";
	bool v6 = a->ss_family == AF_INET6;
	snprintf(l->url, sizeof(l->url), "%s://%s%s%s:%s", scheme, v6 ? "[" : "", host,
		v6 ? "]" : "", port);
	l->port = (unsigned)strtoul(port, NULL, 10);
}

static enum err open_listener(const char *text, bool internal, struct buf *why)
{
	struct sockaddr_storage a = {0};
	socklen_t n = 0;
	struct listener *l = &listeners[listener_count];
	*l = (struct listener){.internal = internal};
	if (resolve(text, &a, &n)) {
		buf_addf(why,
			"%s is no address to listen on: write ADDRESS:PORT with a numeric "
			"address, [::1]:8080 for IPv6.\n",
			text);
		return ERR_PARAMS;
	}
	if (!internal && !is_loopback(&a) && !config->tls.certificate[0] &&
		!config->server.behind_proxy) {
		buf_addf(why,
			"%s can be reached from other machines, and without TLS everybody on "
			"the way reads the tokens. Set tls.certificate and tls.key, or "
			"server.behind_proxy: true when a proxy in front does TLS.\n",
			text);
		return ERR_FORBIDDEN;
	}
	/* Port 0: every address gets the port that the first one got. */
	if (listener_count && !internal && ntohs(((struct sockaddr_in *)(void *)&a)->sin_port) == 0)
		set_port(&a, listeners[0].port);
	if (!inherit(l, &a, n) && open_all(l, &a, n)) {
		int reason = errno;
		close_sockets(l);
		if (listener_count && a.ss_family == AF_INET6 &&
			(reason == EADDRNOTAVAIL || reason == EAFNOSUPPORT)) {
			log_warn("no IPv6 on this machine", LOG_TEXT("address", text));
			return ERR_OK;
		}
		buf_addf(why, "cannot listen on %s: %s%s.\n", text, strerror(reason),
			reason == EADDRINUSE
				? " (another program has it: stop that, or take another "
				  "port with --listen)"
				: "");
		return ERR_CONFLICT;
	}
	name_listener(l, &a, n);
	listener_count++;
	return ERR_OK;
}

enum err listeners_open(const struct config *c, int workers, struct buf *why)
{
	config = c;
	worker_count = workers;
	enum err err = ERR_OK;
	for (size_t i = 0; !err && i < c->server.listen.count; i++)
		err = open_listener(c->server.listen.items[i], false, why);
	if (!err && c->server.internal_listen[0])
		err = open_listener(c->server.internal_listen, true, why);
	if (err)
		listeners_close();
	return err;
}

const char *listener_url(size_t i)
{
	return i < listener_count && !listeners[i].internal ? listeners[i].url : NULL;
}

unsigned listener_port(void)
{
	return listeners[0].port;
}

size_t listener_sockets(size_t i, const int **ret_fds, const char **ret_url, bool *ret_internal)
{
	if (i >= listener_count)
		return 0;
	*ret_fds = listeners[i].fds;
	*ret_url = listeners[i].url;
	*ret_internal = listeners[i].internal;
	return listeners[i].fd_count;
}

void listeners_close(void)
{
	while (listener_count > 0)
		close_sockets(&listeners[--listener_count]);
}

/* ---- accepting ---- */

struct acceptor {
	uv_poll_t poll;
	uv_timer_t pause;
	unsigned handles; /* not closed yet */
	struct acceptor *next;
	struct lws_vhost *vhost;
	int fd;
};

static _Thread_local struct acceptor *acceptors;
static _Thread_local struct lws_vhost *vhosts[2]; /* the public one, the internal one */

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct acceptor *a = timer->data;
	uv_poll_start(&a->poll, UV_READABLE, on_readable);
}

/* Out of descriptors the socket stays readable: polling on would only burn the processor. */
static void pause_accepting(struct acceptor *a)
{
	static _Thread_local uint64_t said_ms;
	uint64_t now = worker_now_ms();
	if (!said_ms || now - said_ms >= PAUSE_SAID_EACH_MS) {
		said_ms = now;
		log_error("no descriptor for a new connection", LOG_INT("errno", errno));
	}
	uv_poll_stop(&a->poll);
	uv_timer_start(&a->pause, on_pause_over, PAUSE_MS, 0);
}

static void adopt(void *context, int fd, struct peer *peer)
{
	struct lws *wsi = lws_adopt_socket_vhost(context, fd); /* closes it when it fails */
	if (wsi)
		lws_set_opaque_user_data(wsi, peer); /* nothing was read from it yet */
	else
		peer_free(&peer);
	conn_heed_timeouts(); /* of those that then say nothing */
}

/* False: nobody waits any more, or no descriptor is left. */
static bool accept_one(struct acceptor *a)
{
	int on = 1;
	struct sockaddr_storage from = {0};
	socklen_t size = sizeof(from);
	int fd = accept4(a->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(a);
		return false;
	}
	metric_add(METRIC_ACCEPTED, 1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	bool internal = a->vhost == vhosts[1];
	arrival_begin(fd, (const struct sockaddr *)&from, internal, adopt, a->vhost);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	struct acceptor *a = poll->data;
	int accepted = 0;
	while (accepted < ACCEPTS_A_TURN && accept_one(a))
		accepted++;
}

static struct lws_vhost *make_vhost(struct worker *w, bool internal)
{
	struct lws_protocols protocols[] = {conn_http_protocol, conn_ws_protocol, {0}};
	static const lws_retry_bo_t no_pings = {0}; /* conn_ws.c sends them */
	/* The vhost keeps the table, not a copy. */
	static _Thread_local struct lws_protocols kept[3];
	memcpy(kept, protocols, sizeof(kept));
	struct lws_context_creation_info info = {
		/* libwebsockets looks for a vhost anew at each request, by the Host header, among those
		 * of the same port: as two ports the inner and the outer one stay apart. */
		.port = internal ? CONTEXT_PORT_NO_LISTEN : CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = internal ? "internal" : "public",
		.protocols = kept,
		.alpn = "http/1.1",
		.retry_and_idle_policy = &no_pings,
		.keepalive_timeout = 15,
		.timeout_secs = 20,
		.options = LWS_SERVER_OPTION_DISABLE_IPV6,
		.extensions = config->server.compression ? conn_ws_extensions : NULL,
	};
	if (!internal && config->tls.certificate[0]) /* the certificate comes with tls_attach() */
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
	return lws_create_vhost(w->lws, &info);
}

static enum err make_vhosts(struct worker *w)
{
	for (size_t i = 0; i < listener_count; i++) {
		bool internal = listeners[i].internal;
		if (!vhosts[internal])
			vhosts[internal] = make_vhost(w, internal);
		if (vhosts[internal])
			continue;
		log_error("cannot serve", LOG_TEXT("address", listeners[i].url),
			LOG_TEXT("hint", "are tls.certificate and tls.key a pair in PEM form?"));
		return ERR_INTERNAL;
	}
	return ERR_OK;
}

static void add_acceptor(struct worker *w, int fd, struct lws_vhost *vhost)
{
	struct acceptor *a = mem_new(struct acceptor);
	*a = (struct acceptor){.handles = 2, .next = acceptors, .vhost = vhost, .fd = fd};
	uv_poll_init(&w->loop, &a->poll, fd);
	uv_timer_init(&w->loop, &a->pause);
	a->poll.data = a->pause.data = a;
	acceptors = a;
}

/* Every socket has a worker, and every worker one: where there are more of the ones than of the others
 * a worker has several, or several have the same. */
static void add_share(struct worker *w, const struct listener *l)
{
	size_t workers = (size_t)worker_count, self = (size_t)w->index;
	if (l->fd_count < workers)
		add_acceptor(w, l->fds[self % l->fd_count], vhosts[l->internal]);
	else
		for (size_t i = self; i < l->fd_count; i += workers)
			add_acceptor(w, l->fds[i], vhosts[l->internal]);
}

/* What can fail is done first: what has failed is not stopped. */
static enum err start(struct worker *w)
{
	enum err err = make_vhosts(w);
	if (err)
		return err;
	conn_http_start(&w->loop);
	conn_ws_start(&w->loop);
	for (size_t i = 0; i < listener_count; i++)
		add_share(w, &listeners[i]);
	return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct acceptor *a = handle->data;
	if (--a->handles == 0)
		free(a);
}

/* The first of the list. */
static void close_acceptor(struct acceptor *a)
{
	acceptors = a->next;
	uv_close((uv_handle_t *)&a->pause, on_handle_closed);
	uv_close((uv_handle_t *)&a->poll, on_handle_closed);
}

/* Of addresses that are no longer listened on: who waits there already is let in. */
static void accept_last(struct worker *w)
{
	for (size_t i = (size_t)w->index; i < inherited_left(); i += (size_t)worker_count) {
		enum inherited_side side;
		int fd = inherited_socket(i, &side);
		struct lws_vhost *vhost = vhosts[side == INHERITED_INTERNAL];
		if (!vhost)
			continue;
		add_acceptor(w, fd, vhost);
		while (accept_one(acceptors))
			;
		close_acceptor(acceptors);
	}
}

void listeners_accept(struct worker *w)
{
	accept_last(w);
	for (struct acceptor *a = acceptors; a; a = a->next)
		uv_poll_start(&a->poll, UV_READABLE, on_readable);
}

/* The descriptors are closed by the main thread after this, and may be others' by the end. */
static void drain(struct worker *w)
{
	(void)w;
	while (acceptors)
		close_acceptor(acceptors);
	conn_http_drain();
}

static bool drained(struct worker *w)
{
	(void)w;
	return conn_http_idle();
}

bool listener_left(struct worker *w)
{
	(void)w;
	return conn_http_idle() && !conn_http_streams() && !conn_count();
}

bool listener_all_left(struct worker *w)
{
	return listener_left(w) && !peer_count();
}

/* The last part of a turn: what the others have queued is written. */
static void turn(struct worker *w)
{
	(void)w;
	conn_turn_over();
}

static void stop(struct worker *w)
{
	drain(w);
	conn_flush_all();
	conn_http_stop();
	conn_ws_thread_stop();
}

const struct worker_part listener_part = {.name = "listeners",
	.start = start,
	.drain = drain,
	.drained = drained,
	.stop = stop,
	.turn = turn};
