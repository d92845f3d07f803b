/* guard.c: one operation of the service, again and again, for callgrind to count (see guard.mjs).
 *
 *   bench_guard OPERATION TOKENS CONFIGURATION...
 *
 * The whole service runs in this process as `signalbox serve` starts it, with one worker; its clients are
 * the main thread, on socket pairs that the worker is given as if it had accepted them. What callgrind
 * counts is what the worker runs between two posts of ours, and of clients nothing. TOKENS is a file with a
 * token a line. Random numbers that places in tables hang on are the same in each run.
 *
 * Each round is counted by itself and written to a dump of its own. Between the rounds, not counted,
 * clients acknowledge what they have heard. */
#include "core/mem.h"
#include "core/worker.h"
#include "service/arrival.h"
#include "service/lws.h"
#include "service/serve.h"

#include <arpa/inet.h>
#include <libwebsockets.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

enum {
	MEMBERS = 100,
	ROUNDS = 15,
	TOGETHER = 8, /* messages that wait at once, where they do */
	PATIENCE_S = 60,
	TEXT_MAX = 512 * 1024,
	TOKEN_MAX = 2048,
	PEER_MAX = 64,
};

#define DATABASE_SQL \
	"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" \
	"CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, n INTEGER, title TEXT);" \
	"INSERT OR REPLACE INTO t VALUES(1, 0, 'a row as it is')"

struct client {
	int fd;
	uint64_t counted; /* messages that session.ack speaks of */
	size_t answers;   /* of requests with an id that is not 0 */
	size_t idle;      /* of those with id 0: they do not count */
	size_t events;
	char peer[PEER_MAX];
};

struct operation {
	const char *name;
	int times; /* in each round */
	bool batching;
	size_t bytes;
	void (*begin)(const struct operation *o);
	void (*run)(const struct operation *o, int i);
	void (*rest)(const struct operation *o); /* behind each round, not counted. Or NULL */
};

static struct client clients[MEMBERS];
static char token[TOKEN_MAX];
static sqlite3 *database;
static char data[8192];

/* In place of the C library's: the seed of hash tables is the same each time. */
ssize_t getrandom(void *out, size_t n, unsigned flags)
{
	static uint64_t x = 0x9e3779b97f4a7c15u;
	(void)flags;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		((unsigned char *)out)[i] = (unsigned char)(x >> 24);
	}
	return (ssize_t)n;
}

static _Noreturn void die(const char *what, const char *more)
{
	fprintf(stderr, "bench_guard: %s%s%s\n", what, *more ? ": " : "", more);
	exit(1);
}

/* ---- clients: blocking sockets, one thread ---- */

static void write_all(int fd, const void *bytes, size_t n)
{
	for (const char *p = bytes; n;) {
		ssize_t done = write(fd, p, n);
		if (done <= 0)
			die("a client cannot write", "");
		p += done;
		n -= (size_t)done;
	}
}

static void read_all(int fd, void *bytes, size_t n)
{
	for (char *p = bytes; n;) {
		ssize_t done = read(fd, p, n);
		if (done <= 0)
			die("a client was left or waited too long", "");
		p += done;
		n -= (size_t)done;
	}
}

/* Appends a masked frame: of a client's, all are. */
__attribute__((format(printf, 2, 3))) static void add_text(struct buf *b, const char *format, ...)
{
	static const unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78};
	static char text[16384];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	unsigned char head[8] = {0x81, 0x80};
	size_t head_n = 2;
	if (n < 126) {
		head[1] |= (unsigned char)n;
	} else {
		head[1] |= 126;
		head[2] = (unsigned char)(n >> 8);
		head[3] = (unsigned char)n;
		head_n = 4;
	}
	memcpy(head + head_n, mask, 4);
	buf_add(b, (char *)head, head_n + 4);
	for (int i = 0; i < n; i++)
		buf_addc(b, (char)((unsigned char)text[i] ^ mask[i % 4]));
}

static void send_frames(struct client *c, struct buf *b)
{
	if (b->err)
		die("too much to send", "");
	write_all(c->fd, b->p, b->n);
	buf_free(b);
}

#define say(c, ...) \
	do { \
		struct buf said_ = BUF_INIT(TEXT_MAX); \
		add_text(&said_, __VA_ARGS__); \
		send_frames(c, &said_); \
	} while (0)

static size_t count_of(struct str text, struct str what)
{
	size_t n = 0;
	const char *end = text.p + text.n;
	for (const char *p = text.p; (p = memmem(p, (size_t)(end - p), what.p, what.n));
		p += what.n)
		n++;
	return n;
}

static void count_heard(struct client *c, struct str text)
{
	if (count_of(text, STR("\"error\":{")))
		die("refused", text.p);
	size_t idle = count_of(text, STR("\"id\":0,"));
	size_t acks = count_of(text, STR("\"method\":\"session.ack\""));
	size_t all = count_of(text, STR("\"jsonrpc\":"));
	size_t events = count_of(text, STR("\"method\":\"room.message\"")) +
		count_of(text, STR("\"method\":\"signal.received\"")) +
		count_of(text, STR("\"method\":\"dataset.change\"")) +
		count_of(text, STR("\"method\":\"dataset.uptodate\""));
	c->counted += all - idle - acks;
	c->idle += idle;
	c->events += events;
	c->answers += count_of(text, STR("\"result\":")) - idle;
}

/* The next message, which is good until the one behind it. */
static struct str hear(struct client *c)
{
	static char text[TEXT_MAX + 1];
	unsigned char head[2], more[8];
	read_all(c->fd, head, 2);
	size_t n = head[1] & 127;
	size_t wide = n == 126 ? 2 : n == 127 ? 8 : 0;
	read_all(c->fd, more, wide);
	for (size_t i = 0; i < wide; i++)
		n = (i ? n << 8 : 0) | more[i];
	if (n > TEXT_MAX)
		die("a message is too long", "");
	read_all(c->fd, text, n);
	text[n] = 0;
	if ((head[0] & 15) == 8)
		die("a client was closed", text + 2);
	struct str heard = {text, n};
	if ((head[0] & 15) == 1)
		count_heard(c, heard);
	return heard;
}

/* Waits until a count of the client's is as wanted. */
static struct str hear_until(struct client *c, const size_t *count, size_t wanted)
{
	struct str text = STR("");
	while (*count < wanted)
		text = hear(c);
	return text;
}

/* Everything until here has come, and the service knows that. */
static void settle(struct client *c)
{
	size_t idle = c->idle;
	for (int i = 0; i < 2; i++) { /* what comes before the first answer is told by the second */
		say(c,
			"{\"jsonrpc\":\"2.0\",\"method\":\"session.ack\",\"params\":{\"received\":%"
			"llu}}",
			(unsigned long long)c->counted);
		say(c, "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"session.ping\",\"params\":{}}");
		hear_until(c, &c->idle, ++idle);
	}
}

/* ---- on the worker ---- */

static void adopt(void *vhost, int fd, struct peer *peer)
{
	struct lws *wsi = lws_adopt_socket_vhost(vhost, fd);
	if (!wsi)
		die("a socket is not taken", "");
	lws_set_opaque_user_data(wsi, peer);
	conn_heed_timeouts();
}

static void arrive(struct worker *w, void *fd)
{
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	arrival_begin(*(int *)fd, (const struct sockaddr *)&from, false, adopt,
		lws_get_vhost_by_name(w->lws, "public"));
}

/* For this thread, from here on. */
static void toggle(struct worker *w, void *context)
{
	(void)w, (void)context;
	CALLGRIND_TOGGLE_COLLECT;
}

/* ---- sessions ---- */

static void handshake(struct client *c, bool batching)
{
	static const char request[] =
		"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: signalbox.v1\r\n\r\n";
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
		fcntl(pair[1], F_SETFL, O_NONBLOCK))
		die("no sockets", "");
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*c = (struct client){.fd = pair[0]};
	workers_each(arrive, &pair[1]);
	write_all(c->fd, request, sizeof(request) - 1);
	char end[4] = "";
	char status[12];
	read_all(c->fd, status, sizeof(status));
	if (memcmp(status, "HTTP/1.1 101", 12) != 0)
		die("the upgrade is refused", "");
	while (memcmp(end, "\r\n\r\n", 4) != 0) {
		memmove(end, end + 1, 3);
		read_all(c->fd, end + 3, 1);
	}
	say(c,
		"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"session.open\",\"params\":{\"token\":"
		"\"%s\"%s}}",
		token, batching ? ",\"batch\":true" : "");
	hear_until(c, &c->idle, 1);
}

static void settle_all(const struct operation *o)
{
	(void)o;
	for (int i = 0; i < MEMBERS; i++)
		settle(&clients[i]);
}

static void open_all(const struct operation *o)
{
	for (int i = 0; i < MEMBERS; i++)
		handshake(&clients[i], o->batching);
}

static void join_all(const struct operation *o)
{
	static const char before[] = "\"peer\":\"";
	open_all(o);
	for (int i = 0; i < MEMBERS; i++) {
		struct client *c = &clients[i];
		say(c,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"room.join\",\"params\":{"
			"\"room\":\"guard\"}}");
		struct str answer = hear_until(c, &c->answers, 1);
		const char *peer = memmem(answer.p, answer.n, before, sizeof(before) - 1);
		if (!peer)
			die("no peer", answer.p);
		peer += sizeof(before) - 1;
		snprintf(c->peer, sizeof(c->peer), "%.*s", (int)strcspn(peer, "\""), peer);
	}
	settle_all(o);
	settle_all(o);
}

/* ---- the operations ---- */

static void add_publish(struct buf *b, const struct operation *o)
{
	add_text(b,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"room.publish\",\"params\":{\"room\":"
		"\"guard\",\"data\":\"%.*s\"}}",
		(int)o->bytes, data);
}

static void publish(size_t count, const struct operation *o)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	size_t answers = clients[0].answers + count;
	size_t events = clients[MEMBERS - 1].events + count;
	for (size_t i = 0; i < count; i++)
		add_publish(&b, o);
	send_frames(&clients[0], &b);
	for (int i = 0; i < MEMBERS; i++)
		hear_until(&clients[i], &clients[i].events, events);
	hear_until(&clients[0], &clients[0].answers, answers);
}

static void publish_one(const struct operation *o, int i)
{
	(void)i;
	publish(1, o);
}

/* All that the round counts wait at once: the worker reads them in one turn. */
static void publish_together(const struct operation *o, int i)
{
	if (i % TOGETHER == 0)
		publish(TOGETHER, o);
}

static void signal_one(const struct operation *o, int i)
{
	struct client *from = &clients[1], *to = &clients[2];
	size_t answers = from->answers + 1, events = to->events + 1;
	(void)i;
	say(from,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"signal.send\",\"params\":{\"room\":"
		"\"guard\",\"to\":{\"peer\":\"%s\"},\"type\":\"candidate\",\"data\":\"%.*s\"}}",
		to->peer, (int)o->bytes, data);
	hear_until(from, &from->answers, answers);
	hear_until(to, &to->events, events);
}

static void shake(const struct operation *o, int i)
{
	handshake(&clients[i], o->batching);
}

static void leave_all(const struct operation *o)
{
	for (int i = 0; i < o->times; i++) {
		struct client *c = &clients[i];
		char byte;
		say(c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"session.close\",\"params\":{}}");
		hear_until(c, &c->answers, 1);
		shutdown(c->fd, SHUT_WR);
		while (read(c->fd, &byte, 1) > 0)
			;
		close(c->fd);
	}
}

static void shake_once(const struct operation *o)
{
	for (int i = 0; i < o->times; i++)
		shake(o, i);
	leave_all(o);
}

static void sql(const char *text)
{
	char *said = NULL;
	if (sqlite3_exec(database, text, NULL, NULL, &said) != SQLITE_OK)
		die("SQL", said ? said : "");
}

static void subscribe_all(const struct operation *o)
{
	open_all(o);
	for (int i = 0; i < MEMBERS; i++) {
		struct client *c = &clients[i];
		say(c,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"dataset.subscribe\",\"params\":"
			"{\"dataset\":\"t\",\"credit\":1000000}}");
		hear_until(c, &c->answers, 1);
		hear_until(c, &c->events, 1); /* up to date */
	}
	settle_all(o);
}

static void change_one(const struct operation *o, int i)
{
	size_t events = clients[0].events + 1;
	(void)o, (void)i;
	sql("UPDATE t SET n = n + 1 WHERE id = 1");
	for (int member = 0; member < MEMBERS; member++)
		hear_until(&clients[member], &clients[member].events, events);
}

static const struct operation operations[] = {
	{"message_100", 8, false, 128, join_all, publish_one, settle_all},
	{"message_100_waiting", TOGETHER, false, 128, join_all, publish_together, settle_all},
	{"message_100_batching", TOGETHER, true, 128, join_all, publish_together, settle_all},
	{"signal_128", 32, false, 128, join_all, signal_one, settle_all},
	{"signal_4096", 32, false, 4096, join_all, signal_one, settle_all},
	{"handshake", 16, false, 0, shake_once, shake, leave_all},
	{"dataset_change_100", 4, false, 0, subscribe_all, change_one, settle_all},
	{0},
};

static void count_rounds(const struct operation *o)
{
	CALLGRIND_START_INSTRUMENTATION;
	for (int round = 0; round <= ROUNDS; round++) {
		if (round == 1)
			CALLGRIND_ZERO_STATS; /* the first one only warms up */
		workers_each(toggle, NULL);
		for (int i = 0; i < o->times; i++)
			o->run(o, i);
		workers_each(toggle, NULL);
		if (round)
			CALLGRIND_DUMP_STATS;
		if (o->rest)
			o->rest(o);
	}
	CALLGRIND_STOP_INSTRUMENTATION;
}

/* ---- the service around them ---- */

static void read_token(const char *path)
{
	FILE *f = fopen(path, "re");
	if (!f || !fgets(token, sizeof(token), f))
		die("no token in", path);
	token[strcspn(token, "\n")] = 0;
	fclose(f);
}

static struct config *read_config(int argc, char **argv)
{
	struct config_input input = {.argv = argv, .argc = argc};
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	if (config_load(&input, &config, &errors))
		die("the configuration", errors.p);
	buf_free(&errors);
	return config;
}

static const struct operation *operation_named(const char *name)
{
	for (const struct operation *o = operations; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	die("there is no operation", name);
}

int main(int argc, char **argv)
{
	if (argc == 1) {
		for (const struct operation *o = operations; o->name; o++)
			printf("%s %d\n", o->name, o->times);
		return 0;
	}
	if (argc < 3)
		die("usage: bench_guard OPERATION TOKENS CONFIGURATION...", "");
	const struct operation *o = operation_named(argv[1]);
	read_token(argv[2]);
	memset(data, 'x', sizeof(data));
	struct config *config = read_config(argc - 3, argv + 3);
	serve_configure_log(config);
	if (sqlite3_open(config->datasets.items[0].database, &database) != SQLITE_OK)
		die("no database", sqlite3_errmsg(database));
	sql(DATABASE_SQL);
	struct buf why = BUF_INIT(16384);
	struct serve_options options = {.config = config, .listen = true};
	if (serve_start(&options, &why))
		die("the service does not start", why.p ? why.p : "");
	o->begin(o);
	count_rounds(o);
	serve_stop(config);
	sqlite3_close(database);
	config_free(&config);
	return 0;
}
