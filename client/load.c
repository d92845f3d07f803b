#include "client/load_parts.h"

#include "core/clock.h"
#include "core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
	AN_ADDRESS = 200, /* connections of each source address: fewer than a service allows */
	EVENTS_MAX = 64,  /* a turn: what was said waits for no more than these */
	GOODBYE_MS = 2000,
	SPARE_DESCRIPTORS = 64,
	SECOND_NS = 1000000000,
};

uint64_t load_clock(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

void load_fail(struct load *load, const char *format, ...)
{
	va_list args;
	if (load->fault[0] || load->ending)
		return;
	va_start(args, format);
	vsnprintf(load->fault, sizeof(load->fault), format, args);
	va_end(args);
}

const char *load_fault(const struct load *load)
{
	return load->fault[0] ? load->fault : NULL;
}

/* ---- where to ---- */

static bool is_port(struct str text)
{
	unsigned port = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || port > UINT16_MAX)
			return false;
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	return port && port <= UINT16_MAX;
}

/* scheme://host[:port][/prefix] */
static bool read_url(struct load *load, const char *url)
{
	static const struct {
		const char *scheme, *port;
		bool tls;
	} schemes[] = {{"http://", "80", false}, {"ws://", "80", false}, {"https://", "443", true},
		{"wss://", "443", true}};
	const char *rest = NULL, *port = NULL;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) == 0) {
			rest = url + strlen(schemes[i].scheme);
			load->tls = schemes[i].tls;
			port = schemes[i].port;
		}
	if (!rest)
		return false;
	size_t n = strcspn(rest, "/?#");
	struct str host = {rest, n};
	bool bracket = rest[0] == '[';
	const char *end = bracket ? memchr(rest, ']', n) : NULL;
	const char *colon = memchr(end ? end : rest, ':', n - (size_t)((end ? end : rest) - rest));
	if (colon)
		host.n = (size_t)(colon - rest);
	if (bracket)
		host = (struct str){rest + 1, end ? (size_t)(end - rest - 1) : 0};
	struct str digits = {
		colon ? colon + 1 : port, colon ? n - (size_t)(colon + 1 - rest) : strlen(port)};
	size_t prefix = strcspn(rest + n, "?#");
	while (prefix && rest[n + prefix - 1] == '/')
		prefix--;
	if (!host.n || host.n >= HOST_MAX || prefix >= HOST_MAX || !is_port(digits))
		return false;
	snprintf(load->host, sizeof(load->host), STR_FMT, STR_ARG(host));
	snprintf(load->prefix, sizeof(load->prefix), "%.*s", (int)prefix, rest + n);
	snprintf(load->port, sizeof(load->port), STR_FMT, STR_ARG(digits));
	return true;
}

static void find_address(struct load *load)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL, *a;
	int problem = getaddrinfo(load->host, load->port, &hints, &all);
	if (problem) {
		load_fail(load, "%s port %s: %s", load->host, load->port, gai_strerror(problem));
		return;
	}
	for (a = all; a && a->ai_family != AF_INET; a = a->ai_next)
		;
	a = a ? a : all;
	memcpy(&load->to, a->ai_addr, a->ai_addrlen);
	load->to_size = a->ai_addrlen;
	if (a->ai_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&load->to;
		load->many_addresses = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	}
	freeaddrinfo(all);
}

static void raise_descriptors(struct load *load)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	rlim_t wanted = load->max + SPARE_DESCRIPTORS;
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted)
		load_fail(load,
			"%u connections need as many open files, and %lu are allowed here; raise "
			"that with ulimit -n",
			load->max, (unsigned long)limit.rlim_max);
}

struct load *load_new(const struct load_target *target, const struct dialect *dialect,
	const struct load_events *events, void *context, unsigned links_max)
{
	struct load *load = mem_new(struct load);
	load->dialect = dialect;
	load->events = *events;
	load->context = context;
	load->max = links_max;
	load->conns = mem_alloc(links_max * sizeof(*load->conns));
	load->read = mem_resize(NULL, READ_MAX + REST_MAX + 1, 1);
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	/* libwebsockets spares itself the work for a mask of zeros, and who connects else has none. */
	if (getrandom(load->mask, sizeof(load->mask), 0) != sizeof(load->mask))
		load_fail(load, "no random numbers: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(load->mask); i++)
		load->mask[i] |= 1;
	if (!read_url(load, target->url))
		load_fail(load, "%s is no address; write one as in http://127.0.0.1:8080",
			target->url);
	else
		find_address(load);
	raise_descriptors(load);
	load->resume_tls = target->resume_tls;
	if (load->tls && !load->fault[0])
		tls_prepare(load, target);
	return load;
}

void load_free(struct load **load)
{
	struct load *l = *load;
	if (!l)
		return;
	l->ending = true;
	l->fault[0] = 0; /* it has been told; what is left goes in peace */
	for (unsigned i = 0; i < l->count; i++)
		wire_goodbye(&l->conns[i]);
	int64_t until = clock_steady_ms() + GOODBYE_MS;
	while (l->open && clock_steady_ms() < until)
		load_turn(l, SECOND_NS / 10);
	for (unsigned i = 0; i < l->count; i++)
		conn_close(&l->conns[i]);
	tls_finish(l);
	close(l->epoll);
	free(l->conns);
	free(l->read);
	free(l);
	*load = NULL;
}

/* ---- one connection ---- */

void conn_watch(struct conn *c, bool writing)
{
	struct epoll_event e = {.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
	if (c->wants_write == writing)
		return;
	c->wants_write = writing;
	if (epoll_ctl(c->load->epoll, EPOLL_CTL_MOD, c->fd, &e))
		load_fail(c->load, "epoll: %s", strerror(errno));
}

void conn_close(struct conn *c)
{
	struct load *load = c->load;
	if (!load || c->state == LINK_FREE)
		return;
	tls_end(c);
	close(c->fd);
	buf_free(&c->out);
	buf_free(&c->in);
	buf_free(&c->part);
	c->state = LINK_FREE;
	load->open--;
	if (c->ready)
		load->ready--;
	if (c->dirty)
		return; /* it is freed for others when that list is walked */
	c->next = load->unused;
	load->unused = c;
}

/* No port is chosen before connect() knows where to: one is enough for each other side. */
static bool bind_and_connect(struct load *load, int fd)
{
	int on = 1;
	struct sockaddr_in from = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(load->opened / AN_ADDRESS))};
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (load->many_addresses) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
			return false;
	}
	return !connect(fd, (struct sockaddr *)&load->to, load->to_size) || errno == EINPROGRESS;
}

static struct conn *free_conn(struct load *load)
{
	struct conn *c = load->unused;
	if (c)
		load->unused = c->next;
	else if (load->count < load->max)
		c = &load->conns[load->count++];
	return c;
}

struct link *load_open(struct load *load, const struct load_link *how)
{
	static unsigned run;
	struct conn *c = free_conn(load);
	if (!c)
		return NULL;
	if (!run)
		run = (unsigned)getpid() ^ (unsigned)load_clock();
	*c = (struct conn){.load = load,
		.state = LINK_CONNECTING,
		.session = c->session,
		.out = BUF_INIT(REST_MAX),
		.in = BUF_INIT(REST_MAX),
		.part = BUF_INIT(REST_MAX),
		.link = {.index = (unsigned)(c - load->conns),
			.part = how->part,
			.batch = how->batch,
			.counts = how->counts,
			.token = how->token,
			.other = how->other}};
	snprintf(c->link.room, sizeof(c->link.room), "bench-%08x-%05u", run, how->room % 100000);
	c->fd = socket(load->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	load->open++;
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	c->wants_write = true;
	if (c->fd < 0 || !bind_and_connect(load, c->fd) ||
		epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &e))
		load_fail(load, "%s:%s: %s", load->host, load->port, strerror(errno));
	load->opened++;
	return &c->link;
}

void load_pair(struct link *a, struct link *b)
{
	a->other = b;
	b->other = a;
}

void conn_connected(struct conn *c)
{
	conn_watch(c, false);
	c->state = LINK_UPGRADING;
	wire_upgrade(c);
	wire_flush(c);
}

static void on_connect(struct conn *c)
{
	int problem = 0;
	socklen_t size = sizeof(problem);
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
	if (problem) {
		load_fail(c->load, "%s:%s: %s%s", c->load->host, c->load->port, strerror(problem),
			problem == ECONNREFUSED ? ": nothing listens there" : "");
		conn_close(c);
	} else if (c->load->tls) {
		c->state = LINK_TLS;
		tls_begin(c);
	} else {
		conn_connected(c);
	}
}

static void on_event(struct conn *c, uint32_t events)
{
	if (c->state == LINK_CONNECTING) {
		if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			on_connect(c);
		return;
	}
	if (c->state == LINK_TLS) {
		tls_step(c);
		return;
	}
	if (events & EPOLLOUT)
		wire_flush(c);
	if (c->state != LINK_FREE && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		wire_readable(c);
}

/* ---- turns ---- */

static void flush_all(struct load *load)
{
	while (load->dirty) {
		struct conn *c = load->dirty;
		load->dirty = c->next;
		c->dirty = false;
		if (c->state != LINK_FREE) {
			wire_flush(c);
		} else {
			c->next = load->unused;
			load->unused = c;
		}
	}
}

static void tick_all(struct load *load)
{
	load->ticked = load->now;
	for (unsigned i = 0; i < load->count; i++)
		if (load->conns[i].state == LINK_OPEN)
			load->dialect->tick(&load->conns[i].link);
}

bool load_turn(struct load *load, int64_t wait_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec wait = {.tv_sec = wait_ns / SECOND_NS, .tv_nsec = wait_ns % SECOND_NS};
	flush_all(load);
	if (load->fault[0])
		return false;
	int n = epoll_pwait2(load->epoll, events, EVENTS_MAX, wait_ns < 0 ? NULL : &wait, NULL);
	load->now = load_clock();
	for (int i = 0; i < n; i++)
		on_event(events[i].data.ptr, events[i].events);
	if (load->dialect->tick && load->now - load->ticked > SECOND_NS && !load->ending)
		tick_all(load);
	if (n < 0 && errno != EINTR)
		load_fail(load, "epoll: %s", strerror(errno));
	return !load->fault[0];
}

bool load_open_all(struct load *load, const struct load_link *how, unsigned count, int patience_ms)
{
	unsigned opened = 0, before = load->ready;
	int64_t until = clock_steady_ms() + patience_ms;
	unsigned base = load->ready;
	while (load->ready < base + count) {
		while (opened < count && opened + base < load->ready + LOAD_OPENING_MAX) {
			load_open(load, &how[opened]);
			opened++;
		}
		if (!load_turn(load, SECOND_NS))
			return false;
		if (load->ready != before) {
			before = load->ready;
			until = clock_steady_ms() + patience_ms;
		} else if (clock_steady_ms() > until) {
			load_fail(load,
				"%u of %u connections are ready, and for %g s no more: the server "
				"does not answer",
				load->ready - base, count, patience_ms / 1000.0);
			return false;
		}
	}
	return true;
}

struct link *load_link(struct load *load, unsigned index)
{
	return &load->conns[index].link;
}

unsigned load_count(const struct load *load)
{
	return load->count;
}

unsigned load_ready_count(const struct load *load)
{
	return load->ready;
}

unsigned load_open_count(const struct load *load)
{
	return load->open;
}

bool load_resumed(struct link *l)
{
	const struct conn *c = conn_of(l);
	return c->ssl && SSL_session_reused(c->ssl);
}

bool load_tls(const struct load *load)
{
	return load->tls;
}

uint64_t load_now(const struct load *load)
{
	return load->now;
}

/* ---- what dialects report ---- */

void link_ready(struct link *l)
{
	struct conn *c = conn_of(l);
	if (c->ready)
		return;
	c->ready = true;
	c->load->ready++;
	if (c->load->events.ready)
		c->load->events.ready(c->load->context, l);
}

size_t link_delivered(struct link *l, const char *payload, size_t n)
{
	struct load *load = conn_of(l)->load;
	return load->events.delivered ? load->events.delivered(load->context, l, payload, n) : 1;
}

void link_knows(struct link *l, unsigned index)
{
	struct load *load = conn_of(l)->load;
	if (load->events.knows)
		load->events.knows(load->context, l, index);
}

void link_refused(struct link *l, int status, struct str text)
{
	struct load *load = conn_of(l)->load;
	const char *advice = load->dialect->advice ? load->dialect->advice(status, text) : NULL;
	if (text.n > FAULT_MAX / 2)
		text.n = FAULT_MAX / 2;
	if (status)
		load_fail(load, "the server refuses with HTTP %d: " STR_FMT "%s%s", status,
			STR_ARG(text), advice ? "\n" : "", advice ? advice : "");
	else
		load_fail(load, "the server refuses: " STR_FMT "%s%s", STR_ARG(text),
			advice ? "\n" : "", advice ? advice : "");
}
