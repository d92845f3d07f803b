/* floor.c: what the kernel takes, and hardly anything else: a bare epoll loop that says to a load generator
 * the bytes that Signalbox would say, and makes the sends that such a service cannot do without.
 * What has come is read, one call a connection, until there is no more, then the answers and events leave, one
 * send a connection; bytes that all members of a room are to have are put together once. Nothing is
 * checked: no tokens, no limits, no JSON (members are where the generator is known to write them).
 *
 *   bench_floor [PORT]
 *
 * It knows session.open, room.join, room.publish and signal.send (to a peer), each as the generator writes it,
 * `{"jsonrpc":"2.0","id":N,"method":"…","params":{"room":"…",…}}`, without blanks; a connection is in one room.
 * Of a room of more than LISTED members nobody is told who joins, and not all are in a join's answer. */
#include "tests/bench/floor_wire.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 65536,
	EVENTS = 1024,
	READ_MAX = 256 * 1024,
	ARRAY_MAX = 256 * 1024, /* of the messages that are joined into one */
	LOOKS = 8,
	LISTED = 100,
	ACK_MESSAGES = 64,
	ACK_BYTES = 64 * 1024,
	NAME_MAX_BYTES = 64,
	PEER_BYTES = 22, /* as Signalbox's; of ours the last eight say which connection it is */
};

struct room;

struct conn {
	int fd;
	bool open, batch, dirty;
	struct room *room;
	struct queue own; /* for this one alone */
	char *left;       /* what the socket did not take */
	size_t left_n, left_at;
	char *partial; /* of a frame or request that has not come whole */
	size_t partial_n;
	size_t at; /* of its room's members */
	uint64_t received;
	unsigned unacked;
	size_t unacked_bytes;
	char from[96]; /* "peer":"…","user":"…" */
	size_t from_n;
};

struct room {
	char name[NAME_MAX_BYTES];
	size_t name_n;
	struct conn **members;
	size_t n, size, plain; /* plain: members that take no arrays */
	bool dirty;
	uint64_t offset;
	struct queue joined, framed; /* what all are to have */
};

static struct {
	int epoll, listener;
	struct conn *conns[CONNECTIONS_MAX]; /* by descriptor */
	struct room **rooms, **dirty_rooms;
	size_t rooms_n, dirty_rooms_n;
	struct conn **dirty;
	size_t dirty_n;
	struct conn **dead; /* freed at the end of the turn */
	size_t dead_n;
	struct queue both; /* a room's bytes and one's own */
	char in[2 * READ_MAX];
	int64_t now_ms;
} it;

/* ---- what goes out ---- */

static void watch(struct conn *c, int how, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = c->fd};
	if (epoll_ctl(it.epoll, how, c->fd, &e))
		fail("epoll");
}

static void leave_room(struct conn *c)
{
	struct room *r = c->room;
	if (!r)
		return;
	r->members[c->at] = r->members[--r->n];
	r->members[c->at]->at = c->at;
	r->plain -= !c->batch;
	c->room = NULL;
}

static void conn_end(struct conn *c)
{
	leave_room(c);
	it.conns[c->fd] = NULL;
	close(c->fd);
	c->fd = -1;
	it.dead[it.dead_n++] = c;
}

static void send_bytes(struct conn *c, const char *bytes, size_t n)
{
	ssize_t sent = 0;
	if (!c->left) {
		sent = send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent == (ssize_t)n)
			return;
		if (sent < 0 && errno != EAGAIN)
			return; /* its end will be read */
		if (sent < 0)
			sent = 0;
		watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
		c->left_at = c->left_n = 0;
	}
	size_t rest = n - (size_t)sent;
	c->left = grown(c->left, c->left_n + rest);
	memcpy(c->left + c->left_n, bytes + sent, rest);
	c->left_n += rest;
}

static void on_writable(struct conn *c)
{
	if (!c->left)
		return;
	ssize_t sent = send(
		c->fd, c->left + c->left_at, c->left_n - c->left_at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		c->left_at += (size_t)sent;
	if (c->left_at < c->left_n)
		return;
	free(c->left);
	c->left = NULL;
	watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

/* Room for a message to one connection alone. */
static char *own_message(struct conn *c, size_t n)
{
	if (!c->dirty) {
		c->dirty = true;
		it.dirty[it.dirty_n++] = c;
	}
	return queue_message(&c->own, n);
}

static void own_text(struct conn *c, const char *text, size_t n)
{
	memcpy(own_message(c, n), text, n);
}

/* The room's messages first: an answer stands behind its event. */
static void send_both(struct conn *c, const struct queue *shared)
{
	struct queue *q = &it.both;
	size_t n;
	queue_clear(q);
	q->joined = c->batch;
	if (c->batch) {
		memcpy(queue_message(q, shared->n - FRONT), shared->bytes + FRONT,
			shared->n - FRONT);
		memcpy(queue_message(q, c->own.n - FRONT), c->own.bytes + FRONT, c->own.n - FRONT);
		const char *bytes = queue_bytes(q, &n);
		send_bytes(c, bytes, n);
	} else {
		send_bytes(c, shared->bytes + FRONT, shared->n - FRONT);
		send_bytes(c, c->own.bytes + FRONT, c->own.n - FRONT);
	}
	queue_clear(&c->own);
}

static void room_flush(struct room *r)
{
	size_t n[2] = {0};
	const char *bytes[2] = {NULL};
	struct queue *queues[2] = {&r->framed, &r->joined};
	for (int i = 0; i < 2; i++)
		if (queues[i]->messages)
			bytes[i] = queue_bytes(queues[i], &n[i]);
	for (size_t i = 0; i < r->n; i++) {
		struct conn *c = r->members[i];
		if (!bytes[c->batch])
			continue; /* it has joined since */
		if (c->own.messages)
			send_both(c, queues[c->batch]);
		else
			send_bytes(c, bytes[c->batch], n[c->batch]);
	}
	queue_clear(&r->joined);
	queue_clear(&r->framed);
}

static void end_of_turn(void)
{
	while (it.dirty_rooms_n) {
		struct room *r = it.dirty_rooms[--it.dirty_rooms_n];
		r->dirty = false;
		room_flush(r);
	}
	for (size_t i = 0; i < it.dirty_n; i++) {
		struct conn *c = it.dirty[i];
		size_t n;
		c->dirty = false;
		if (c->own.messages && c->fd >= 0) {
			const char *bytes = queue_bytes(&c->own, &n);
			send_bytes(c, bytes, n);
		}
		queue_clear(&c->own);
	}
	it.dirty_n = 0;
	while (it.dead_n) {
		struct conn *c = it.dead[--it.dead_n];
		free(c->own.bytes);
		free(c->left);
		free(c->partial);
		free(c);
	}
}

/* ---- what comes in ---- */

#define HEAD "{\"jsonrpc\":\"2.0\","

/* The answer to a request; one without an id gets none. */
static void answer(struct conn *c, const char *id, size_t id_n, const char *result, size_t n)
{
	if (!id_n)
		return;
	static const char head[] = HEAD "\"id\":", middle[] = ",\"result\":";
	char *to = own_message(c, sizeof(head) + sizeof(middle) - 2 + id_n + n + 1);
	to = mempcpy(to, head, sizeof(head) - 1);
	to = mempcpy(to, id, id_n);
	to = mempcpy(to, middle, sizeof(middle) - 1);
	to = mempcpy(to, result, n);
	*to = '}';
}

static void on_open(struct conn *c, const char *id, size_t id_n, const char *text, size_t n)
{
	char result[1024];
	c->batch = memmem(text, n, "\"batch\":true", 12) != NULL;
	c->own.joined = c->batch;
	c->from_n = (size_t)snprintf(c->from, sizeof(c->from),
		"\"peer\":\"floor-floor-fl%08x\",\"user\":\"bench:u%03d\"", c->fd, c->fd % 1000);
	int k = snprintf(result, sizeof(result),
		"{\"session\":\"0.%032x\",\"resumed\":false,\"received\":0,"
		"\"user\":{\"id\":\"bench:u%03d\",\"name\":\"u%03d\"},\"scopes\":[\"rooms:"
		"join\","
		"\"rooms:create\",\"datasets:read\",\"datasets:write\",\"rpc:call\"],"
		"\"expires_at\":4102444800,\"resume_window\":30,\"ping_interval\":25,"
		"\"limits\":{\"message\":131072,\"data\":65536,\"batch\":100,\"in_flight\":256,"
		"\"rooms\":128,\"requests_per_second\":1000000,\"requests_burst\":1000000,"
		"\"joins_per_second\":1000000,\"joins_burst\":1000000},"
		"\"server\":{\"name\":\"Signalbox\",\"version\":\"0.1.0\"}}",
		c->fd, c->fd % 1000, c->fd % 1000);
	answer(c, id, id_n, result, (size_t)k);
}

static struct room *room_named(const char *name, size_t n)
{
	for (size_t i = 0; i < it.rooms_n; i++)
		if (it.rooms[i]->name_n == n && !memcmp(it.rooms[i]->name, name, n))
			return it.rooms[i];
	if (n > NAME_MAX_BYTES || it.rooms_n == CONNECTIONS_MAX)
		return NULL;
	struct room *r = calloc(1, sizeof(*r));
	if (!r)
		fail("memory");
	memcpy(r->name, name, n);
	r->name_n = n;
	r->joined.joined = true;
	return it.rooms[it.rooms_n++] = r;
}

static int member_json(char *to, size_t size, const struct conn *c, bool polite)
{
	return snprintf(to, size,
		"{%s,\"name\":\"u%03d\",\"role\":\"member\",\"state\":null,\"connected\":true,"
		"\"muted\":false,\"polite\":%s}",
		c->from, c->fd % 1000, polite ? "true" : "false");
}

static void tell_joined(struct room *r, const struct conn *c)
{
	char text[512], member[256];
	member_json(member, sizeof(member), c, false);
	int n = snprintf(text, sizeof(text),
		HEAD "\"method\":\"room.joined\",\"params\":{\"room\":\"%.*s\",\"members\":[%s]}}",
		(int)r->name_n, r->name, member);
	for (size_t i = 0; i < r->n; i++)
		own_text(r->members[i], text, (size_t)n);
}

static void on_join(struct conn *c, const char *id, size_t id_n, const char *name, const char *end)
{
	const char *quote = memchr(name, '"', (size_t)(end - name));
	struct room *r = quote ? room_named(name, (size_t)(quote - name)) : NULL;
	if (!r)
		return;
	leave_room(c);
	char members[LISTED * 256] = "", result[sizeof(members) + 512];
	size_t k = 0;
	for (size_t i = 0; i < r->n && i < LISTED; i++) {
		if (i)
			members[k++] = ',';
		k += (size_t)member_json(members + k, sizeof(members) - k, r->members[i], true);
	}
	int n = snprintf(result, sizeof(result),
		"{\"room\":\"%.*s\",%.*s,\"role\":\"member\",\"muted\":false,\"members\":[%s],"
		"\"ice_servers\":[],\"epoch\":\"floor-floor-\",\"offset\":%" PRIu64
		",\"recovered\":false,\"messages\":[]}",
		(int)r->name_n, r->name, (int)(sizeof("\"peer\":\"\"") - 1 + PEER_BYTES), c->from,
		members, r->offset);
	answer(c, id, id_n, result, (size_t)n);
	if (r->n < LISTED)
		tell_joined(r, c);
	if (r->n == r->size) {
		r->size = r->size ? 2 * r->size : 2;
		r->members = grown(r->members, r->size * sizeof(struct conn *));
	}
	c->room = r;
	c->at = r->n;
	r->members[r->n++] = c;
	r->plain += !c->batch;
}

/* data: the rest of the request, with its two brackets at the end. */
static void on_publish(
	struct conn *c, const char *id, size_t id_n, const char *data, const char *end)
{
	struct room *r = c->room;
	size_t data_n = (size_t)(end - data) - 2;
	if (r->joined.n + r->framed.n + data_n > ARRAY_MAX)
		room_flush(r);
	if (!r->dirty)
		it.dirty_rooms[it.dirty_rooms_n++] = r;
	r->dirty = true;
	char head[512], tail[48], result[96];
	r->offset++;
	int h = snprintf(head, sizeof(head),
		HEAD "\"method\":\"room.message\",\"params\":{\"room\":\"%.*s\",\"epoch\":\"floor-"
		     "floor-\",\"offset\":%" PRIu64 ",\"from\":{%s},",
		(int)r->name_n, r->name, r->offset, c->from);
	int t = snprintf(tail, sizeof(tail), ",\"time\":%" PRId64 "}}", it.now_ms);
	size_t n = (size_t)h + data_n + (size_t)t;
	for (int framed = 0; framed < 2; framed++) {
		if (framed ? !r->plain : r->plain == r->n)
			continue;
		char *to = queue_message(framed ? &r->framed : &r->joined, n);
		to = mempcpy(to, head, (size_t)h);
		to = mempcpy(to, data, data_n);
		memcpy(to, tail, (size_t)t);
	}
	int k = snprintf(result, sizeof(result),
		"{\"epoch\":\"floor-floor-\",\"offset\":%" PRIu64 "}", r->offset);
	answer(c, id, id_n, result, (size_t)k);
}

/* to: what stands behind the room's name, `"to":{"peer":"…"},"type":"…","data":…}}`. */
static void on_signal(struct conn *c, const char *id, size_t id_n, const char *to, const char *end)
{
	static const char middle[] = "\"to\":{\"peer\":\"",
			  head[] = HEAD "\"method\":\"signal.received\",\"params\":{\"room\":\"";
	const char *peer = to + sizeof(middle) - 1, *rest = peer + PEER_BYTES + 2;
	unsigned long at = rest < end ? strtoul(peer + PEER_BYTES - 8, NULL, 16) : CONNECTIONS_MAX;
	struct conn *other = at < CONNECTIONS_MAX ? it.conns[at] : NULL;
	if (other && other->open) {
		const struct room *r = c->room;
		static const char from[] = "\",\"from\":{", name[] = ",\"name\":\"";
		size_t rest_n = (size_t)(end - rest), name_n = 5; /* uNNN" */
		char *out = own_message(other,
			sizeof(head) + r->name_n + sizeof(from) + c->from_n + sizeof(name) +
				name_n + rest_n - 2);
		out = mempcpy(out, head, sizeof(head) - 1);
		out = mempcpy(out, r->name, r->name_n);
		out = mempcpy(out, from, sizeof(from) - 1);
		out = mempcpy(out, c->from, c->from_n);
		out = mempcpy(out, name, sizeof(name) - 1);
		out = mempcpy(out, c->from + c->from_n - name_n, name_n);
		*out++ = '}';
		memcpy(out, rest, rest_n);
	}
	answer(c, id, id_n, "{\"queued\":1}", 12);
}

static void count_received(struct conn *c, size_t n)
{
	c->received++;
	c->unacked++;
	c->unacked_bytes += n;
	if (c->unacked < ACK_MESSAGES && c->unacked_bytes < ACK_BYTES)
		return;
	char text[96];
	int k = snprintf(text, sizeof(text),
		HEAD "\"method\":\"session.ack\",\"params\":{\"received\":%" PRIu64 "}}",
		c->received);
	own_text(c, text, (size_t)k);
	c->unacked = 0;
	c->unacked_bytes = 0;
}

/* Says whether `text` goes on with the literal, and steps over it. */
#define TAKE(text, end, literal) \
	((size_t)((end) - (text)) >= sizeof(literal) - 1 && \
		!memcmp(text, literal, sizeof(literal) - 1) && ((text) += sizeof(literal) - 1))

static void on_message(struct conn *c, const char *text, size_t n)
{
	const char *end = text + n, *at = text, *id = text;
	size_t id_n = 0;
	if (!TAKE(at, end, HEAD))
		return;
	if (TAKE(at, end, "\"id\":")) {
		id = at;
		while (at < end && *at != ',')
			at++;
		id_n = (size_t)(at - id);
		at++;
	}
	if (!TAKE(at, end, "\"method\":\""))
		return;
	if (TAKE(at, end, "room.publish\",\"params\":{\"room\":\"")) {
		if (c->room && (at += c->room->name_n + 2) < end)
			on_publish(c, id, id_n, at, end);
	} else if (TAKE(at, end, "signal.send\",\"params\":{\"room\":\"")) {
		if (c->room && (at += c->room->name_n + 2) < end)
			on_signal(c, id, id_n, at, end);
	} else if (TAKE(at, end, "room.join\",\"params\":{\"room\":\"")) {
		on_join(c, id, id_n, at, end);
	} else if (TAKE(at, end, "session.open\"")) {
		on_open(c, id, id_n, text, n);
		return;
	} else {
		return; /* session.ack: read, as a service reads it, and no more */
	}
	count_received(c, n);
}

/* One frame from the front; 0: it has not come whole. */
static size_t on_frame(struct conn *c, char *in, size_t n)
{
	struct frame f;
	size_t took = frame_take(in, n, &f);
	if (took && f.opcode == 1)
		on_message(c, f.bytes, f.n);
	else if ((took && f.opcode == 8) || (!took && n > READ_MAX))
		conn_end(c);
	return took;
}

/* The handshake; 0: it has not come whole. */
static size_t on_upgrade(struct conn *c, char *in, size_t n)
{
	char text[256];
	size_t text_n = 0, took = upgrade_take(in, n, text, sizeof(text), &text_n);
	if (took)
		send_bytes(c, text, text_n);
	else if (n > READ_MAX)
		conn_end(c);
	c->open = took > 0;
	return took;
}

static void on_readable(struct conn *c)
{
	size_t n = c->partial_n, at = 0, took = 1;
	memcpy(it.in, c->partial, n);
	ssize_t got = recv(c->fd, it.in + n, READ_MAX, MSG_DONTWAIT);
	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			conn_end(c);
		return;
	}
	n += (size_t)got;
	while (c->fd >= 0 && at < n && took) {
		took = (c->open ? on_frame : on_upgrade)(c, it.in + at, n - at);
		at += took;
	}
	size_t rest = n - at;
	if (c->fd >= 0 && (rest || c->partial)) {
		free(c->partial);
		c->partial = NULL;
		if (rest)
			c->partial = memcpy(grown(NULL, rest), it.in + at, rest);
		c->partial_n = rest;
	}
}

static void on_connection(void)
{
	int fd, on = 1;
	while ((fd = accept4(it.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = fd < CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
		if (!c)
			fail("a connection");
		c->fd = fd;
		it.conns[fd] = c;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
}

/* Reads what has come, once a connection. Returns from how many. */
static int read_ready(int wait_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(it.epoll, events, EVENTS, wait_ms);
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	it.now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	for (int i = 0; i < n; i++) {
		if (events[i].data.fd == it.listener) {
			on_connection();
			continue;
		}
		struct conn *c = it.conns[events[i].data.fd];
		if (c && events[i].events & EPOLLOUT)
			on_writable(c);
		if (c && events[i].events & ~(uint32_t)EPOLLOUT)
			on_readable(c);
	}
	return n;
}

/* Before a whole room is written to, it looks whether somebody else has something to say by now: that
 * costs less than one send, and may save one for each member. */
static void turn(void)
{
	int n = read_ready(-1);
	for (int looks = 0; n > 0 && it.dirty_rooms_n && looks < LOOKS; looks++)
		n = read_ready(0);
	end_of_turn();
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int on = 1;
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	it.rooms = grown(NULL, CONNECTIONS_MAX * sizeof(struct room *));
	it.dirty_rooms = grown(NULL, CONNECTIONS_MAX * sizeof(struct room *));
	it.dirty = grown(NULL, CONNECTIONS_MAX * sizeof(struct conn *));
	it.dead = grown(NULL, CONNECTIONS_MAX * sizeof(struct conn *));
	it.epoll = epoll_create1(EPOLL_CLOEXEC);
	it.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(it.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	struct epoll_event e = {.events = EPOLLIN, .data.fd = it.listener};
	if (bind(it.listener, (struct sockaddr *)&address, sizeof(address)) ||
		listen(it.listener, 4096) ||
		getsockname(it.listener, (struct sockaddr *)&address, &size) ||
		epoll_ctl(it.epoll, EPOLL_CTL_ADD, it.listener, &e))
		fail("listen");
	printf("listening url=http://127.0.0.1:%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;)
		turn();
}
