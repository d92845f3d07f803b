/* crowd.c: very many clients in one small process, for what a test in JavaScript is too slow for. Each
 * opens a session with the same token and joins one of the rooms; the last of them then read no more.
 * The first member of each room publishes at a steady rate; all others check that nothing is missing,
 * doubled or out of order, and how long it took.
 *
 *   crowd PORT TOKEN CONNECTIONS ROOMS DEAF MESSAGES BYTES RATE
 *
 * Says "joined" when all are in, goes on at the first line of its standard input, says one line of
 * JSON, and leaves when its standard input ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	AN_ADDRESS = 8000, /* connections from one client address */
	OPENING_MAX = 64,
	MESSAGE_MAX = 512 * 1024,
	ACK_EACH = 64,
	STALLED_S = 60,
	EVENTS = 256,
	DEAF_BUFFER = 4096,
};

enum state { CLOSED, UPGRADING, OPENING, JOINING, IN };

struct client {
	int fd, room;
	enum state state;
	bool deaf;
	uint64_t received, next; /* counted messages; the number of the next one published */
	char *in;
	size_t n, size;
};

static struct {
	int port, connections, rooms, deaf, messages, bytes, rate;
	const char *token;
	struct client *all;
	int epoll, opened, joined, lost_connections;
	uint64_t delivered, wrong;
	uint32_t *latencies; /* microseconds */
} crowd;

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void fail(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* A frame of a client is masked; a mask of zeros changes nothing (RFC 6455, section 5.3). */
static void send_frame(struct client *c, int opcode, const char *text, size_t n)
{
	static unsigned char frame[MESSAGE_MAX];
	size_t at = 0;
	assert(n < sizeof(frame) - 14);
	frame[at++] = (unsigned char)(0x80 | opcode);
	if (n < 126) {
		frame[at++] = (unsigned char)(0x80 | n);
	} else {
		frame[at++] = 0x80 | 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			frame[at++] = (unsigned char)((uint64_t)n >> shift);
	}
	memset(frame + at, 0, 4);
	memcpy(frame + at + 4, text, n);
	if (write(c->fd, frame, at + 4 + n) != (ssize_t)(at + 4 + n))
		fail("write");
}

static void say(struct client *c, const char *text)
{
	send_frame(c, 1, text, strlen(text));
}

static void open_next(void)
{
	if (crowd.opened == crowd.connections)
		return;
	int i = crowd.opened++;
	struct client *c = &crowd.all[i];
	*c = (struct client){.room = i % crowd.rooms, .state = UPGRADING};
	c->deaf = i >= crowd.connections - crowd.deaf;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr =
					   htonl(0x7f000002u + (uint32_t)(i / AN_ADDRESS))},
			   to = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)crowd.port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, small = DEAF_BUFFER;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (c->deaf)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) ||
		connect(c->fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
	char request[8192];
	int n = snprintf(request, sizeof(request),
		"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: "
		"Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		"Sec-WebSocket-Protocol: signalbox.v1\r\nAuthorization: Bearer %s\r\n\r\n",
		crowd.token);
	if (n >= (int)sizeof(request) || write(c->fd, request, (size_t)n) != n)
		fail("the handshake");
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, c->fd, &e))
		fail("epoll");
}

static void leave(struct client *c)
{
	close(c->fd);
	free(c->in);
	c->in = NULL;
	c->state = CLOSED;
}

static void on_published(struct client *c, const char *text)
{
	const char *data = strstr(text, "\"data\":{\"n\":");
	const char *time = data ? strstr(data, "\"t\":") : NULL;
	if (!time || strtoull(data + 12, NULL, 10) != c->next++) {
		crowd.wrong++;
		return;
	}
	uint64_t took = now_us() - strtoull(time + 4, NULL, 10);
	crowd.latencies[crowd.delivered++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static void on_joined(struct client *c)
{
	c->state = IN;
	crowd.joined++;
	if (c->deaf && epoll_ctl(crowd.epoll, EPOLL_CTL_DEL, c->fd, NULL))
		fail("epoll");
	open_next();
}

static void on_text(struct client *c, const char *text)
{
	if (strstr(text, "\"error\":{") || (c->state == OPENING && !strstr(text, "\"result\":"))) {
		fprintf(stderr, "crowd: %.300s\n", text);
		exit(1);
	}
	if (c->state == OPENING) {
		char join[128];
		c->state = JOINING;
		snprintf(join, sizeof(join),
			"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"room.join\",\"params\":"
			"{\"room\":\"crowd-%d\"}}",
			c->room);
		say(c, join);
		return;
	}
	if (strstr(text, "\"method\":\"session.ack\""))
		return;
	if (++c->received % ACK_EACH == 0) {
		char ack[96];
		snprintf(ack, sizeof(ack),
			"{\"jsonrpc\":\"2.0\",\"method\":\"session.ack\",\"params\":"
			"{\"received\":%" PRIu64 "}}",
			c->received);
		say(c, ack);
	}
	if (strstr(text, "\"method\":\"room.message\""))
		on_published(c, text);
	else if (c->state == JOINING && strstr(text, "\"id\":2"))
		on_joined(c);
}

/* Takes one frame or the handshake's answer from the front; 0: not all of it is there. */
static size_t take_one(struct client *c)
{
	const unsigned char *in = (const unsigned char *)c->in;
	if (c->state == UPGRADING) {
		char *end = memmem(c->in, c->n, "\r\n\r\n", 4);
		if (!end)
			return 0;
		if (strncmp(c->in, "HTTP/1.1 101", 12) != 0) {
			fprintf(stderr, "crowd: %.*s\n", (int)c->n, c->in);
			exit(1);
		}
		c->state = OPENING;
		say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.open\",\"params\":{}}");
		return (size_t)(end + 4 - c->in);
	}
	size_t head = 2, n = c->n >= 2 ? in[1] & 127 : 0;
	if (n == 126)
		head = 4;
	else if (n == 127)
		head = 10;
	if (c->n < head)
		return 0;
	if (head > 2)
		n = 0;
	for (size_t i = 2; i < head; i++)
		n = n << 8 | in[i];
	if (c->n < head + n)
		return 0;
	char after = c->in[head + n]; /* there is always one more byte */
	c->in[head + n] = 0;
	if ((in[0] & 15) == 1)
		on_text(c, c->in + head);
	else if ((in[0] & 15) == 9)
		send_frame(c, 10, c->in + head, n);
	c->in[head + n] = after;
	return head + n;
}

static void on_readable(struct client *c)
{
	if (c->size - c->n < 65536) {
		c->size = c->size ? c->size * 2 : 65536 + 4096;
		c->in = realloc(c->in, c->size + 1);
	}
	ssize_t got = recv(c->fd, c->in + c->n, c->size - c->n, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		crowd.lost_connections++;
		leave(c);
		return;
	}
	c->n += (size_t)got;
	size_t at = 0, taken;
	char *all = c->in;
	size_t n = c->n;
	while ((taken = take_one(c))) {
		at += taken;
		c->in = all + at;
		c->n = n - at;
	}
	c->in = all;
	memmove(all, all + at, n - at);
	c->n = n - at;
	if (!c->n && c->state == IN) { /* a quiet one costs nothing here */
		free(c->in);
		c->in = NULL;
		c->size = 0;
	}
}

static void poll_once(int ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(crowd.epoll, events, EVENTS, ms);
	for (int i = 0; i < n; i++)
		on_readable(events[i].data.ptr);
}

static void publish(int room, int number)
{
	size_t size = (size_t)crowd.bytes + 256;
	char *text = malloc(size);
	int n = snprintf(text, size,
		"{\"jsonrpc\":\"2.0\",\"method\":\"room.publish\",\"params\":{\"room\":\"crowd-%"
		"d\","
		"\"data\":{\"n\":%d,\"t\":%" PRIu64 ",\"pad\":\"",
		room, number, now_us());
	memset(text + n, 'x', (size_t)crowd.bytes);
	memcpy(text + n + crowd.bytes, "\"}}}", 5);
	say(&crowd.all[room], text);
	free(text);
}

static void publish_all(uint64_t expected)
{
	uint64_t began = now_us(), progress = began, before = 0;
	for (int sent = 0; crowd.delivered < expected && !crowd.lost_connections;) {
		uint64_t due = began + (uint64_t)sent * 1000000 / (uint64_t)crowd.rate;
		if (sent < crowd.messages && now_us() >= due) {
			for (int room = 0; room < crowd.rooms; room++)
				publish(room, sent);
			sent++;
		}
		poll_once(1);
		if (crowd.delivered != before) {
			before = crowd.delivered;
			progress = now_us();
		} else if (now_us() - progress > (uint64_t)STALLED_S * 1000000) {
			break;
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static uint32_t percentile(double p)
{
	return crowd.delivered ? crowd.latencies[(size_t)(p * (double)(crowd.delivered - 1))] : 0;
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (end == text || *end || n < 0 || n > 10000000) {
		fprintf(stderr, "crowd: %s is no number\n", text);
		exit(2);
	}
	return (int)n;
}

int main(int argc, char **argv)
{
	if (argc != 9) {
		fprintf(stderr,
			"usage: crowd PORT TOKEN CONNECTIONS ROOMS DEAF MESSAGES BYTES RATE\n");
		return 2;
	}
	crowd.port = number(argv[1]);
	crowd.token = argv[2];
	crowd.connections = number(argv[3]);
	crowd.rooms = number(argv[4]);
	crowd.deaf = number(argv[5]);
	crowd.messages = number(argv[6]);
	crowd.bytes = number(argv[7]);
	crowd.rate = number(argv[8]);
	crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
	crowd.all = calloc((size_t)crowd.connections, sizeof(*crowd.all));
	uint64_t expected = (uint64_t)(crowd.connections - crowd.deaf) * (uint64_t)crowd.messages;
	crowd.latencies = calloc(expected + 1, sizeof(*crowd.latencies));
	for (int i = 0; i < OPENING_MAX; i++)
		open_next();
	while (crowd.joined < crowd.connections)
		poll_once(1000);
	printf("joined\n");
	fflush(stdout);
	char line[16];
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	publish_all(expected);
	qsort(crowd.latencies, crowd.delivered, sizeof(*crowd.latencies), by_size);
	printf("{\"expected\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"wrong\":%" PRIu64
	       ",\"lost\":%d,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
		expected, crowd.delivered, crowd.wrong, crowd.lost_connections, percentile(0.5),
		percentile(0.99), percentile(1));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	for (int i = 0; i < crowd.connections; i++)
		if (crowd.all[i].state != CLOSED) {
			send_frame(&crowd.all[i], 8, "\x03\xe8", 2);
			leave(&crowd.all[i]);
		}
	return 0;
}
