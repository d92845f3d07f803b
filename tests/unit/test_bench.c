/* The load generator: how latencies are counted, what its command line takes, and that frames of any size,
 * in any pieces, come out as the messages they were: from a socket of this test's own, which plays the server. */
#include "client/bench_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { ALL_MAX = 4 << 20, LONGEST = 70000, TURNS = 10000 /* of a millisecond, at most */ };

static unsigned new_seed(void)
{
	unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
	print_message("seed %u\n", seed);
	srand(seed);
	return seed;
}

/* ---- the histogram ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void a_histogram_is_as_good_as_sorting(void **state)
{
	enum { VALUES = 5000 };
	static struct histogram h;
	static uint64_t values[VALUES];
	static const double parts[] = {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
	(void)state;
	new_seed();
	assert_int_equal(histogram_at(&h, 0.5), 0);
	for (int i = 0; i < VALUES; i++) {
		values[i] = ((uint64_t)rand() << 8) >> rand() % 40;
		histogram_add(&h, values[i]);
	}
	qsort(values, VALUES, sizeof(*values), by_size);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		uint64_t right = values[(size_t)(parts[i] * VALUES + 0.5) - 1];
		uint64_t said = histogram_at(&h, parts[i]);
		assert_true(said >= right && said <= right + right / 100);
	}
	assert_int_equal(histogram_at(&h, 1), values[VALUES - 1]);
	histogram_add(&h, UINT64_MAX); /* longer than it can tell */
	assert_true(histogram_at(&h, 1) > (uint64_t)1 << 39);
	histogram_clear(&h);
	assert_int_equal(h.count + histogram_at(&h, 1), 0);
}

static void numbers_of_payloads(void **state)
{
	char text[16] = "xxxxxxxxxxxxxxx";
	uint32_t n;
	(void)state;
	for (uint64_t each = 0; each <= UINT32_MAX; each = each * 3 + 1) {
		payload_number(text, (uint32_t)each);
		assert_true(payload_read(text, 9, &n));
		assert_int_equal(n, each);
		assert_int_equal(text[9], 'x');
	}
	assert_false(payload_read(text, 8, &n));
	text[3] = 'x';
	assert_false(payload_read(text, 9, &n));
	assert_false(payload_read(text + 1, 9, &n));
}

/* ---- the command line ---- */

static bool take(const char *line, struct bench_options *ret)
{
	char words[512], *argv[32];
	int argc = 0;
	struct bench_host host = {.command = "bench"};
	snprintf(words, sizeof(words), "%s", line);
	for (char *at = words, *word; (word = strsep(&at, " "));)
		argv[argc++] = word;
	bool fine = bench_read(&host, &dialect_signalbox, argc, argv, ret);
	/* Texts are not kept: words goes. */
	ret->target.url = ret->target.authority = ret->tokens = ret->cores = NULL;
	return fine;
}

static void arguments(void **state)
{
	static const char *const wrong[] = {"--members 3", "URL fanuot", "URL --membres 3",
		"URL --members", "URL --members 0", "URL --members -1", "URL --members 1.5",
		"URL --members 3x", "URL --outstanding 1,", "URL --outstanding 1;2",
		"URL --outstanding 0", "URL --bytes 15", "URL --seconds x", "URL --pairs 2",
		"URL fanout --pairs 2", "URL signal --members 3", "URL idle",
		"URL handshake join --rate 3", "URL --tokens", "URL --members 100000 --rooms 11",
		"URL join --rooms 1001", "URL fanout join --members 100000 --rooms 10000",
		"URL --patience 0", "URL --outstanding 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
	struct bench_options o;
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(take(wrong[i], &o));
	assert_true(take("URL", &o));
	assert_true(o.wanted[SCENARIO_FANOUT] && !o.wanted[SCENARIO_SIGNAL]);
	assert_int_equal(o.outstandings, 3);
	assert_int_equal(o.outstanding[2], 32);
	assert_true(
		take("URL signal fanout --members 7 --outstanding 5 --pairs 9 --no-batch --json "
		     "--seconds 0.25",
			&o));
	assert_true(o.wanted[SCENARIO_FANOUT] && o.wanted[SCENARIO_SIGNAL] && o.no_batch && o.json);
	assert_int_equal(o.members * 100 + o.outstanding[0] * 10 + o.pairs, 759);
	assert_int_equal(o.outstandings, 1);
	assert_true(o.seconds > 0.24 && o.seconds < 0.26);
	assert_true(take("URL handshake", &o));
	assert_int_equal(o.outstandings * 10 + o.outstanding[0], 18);
	assert_true(take("URL idle --pid 1 --connections 5", &o));
	assert_true(take("--help", &o) && o.help);
}

/* ---- frames ---- */

/* What the test plays, what it has seen of the other side, and what that was told. */
static struct {
	int listener, fd;
	char url[64];
	struct load *load;
	char *got;
	size_t n;
	unsigned messages;
	char *sent; /* by the client, without frames */
	size_t sent_n;
	struct buf raw;
	bool stream;
} t;

static void plain_upgrade(struct link *l, struct str prefix, struct buf *out)
{
	(void)l;
	assert_string_equal(prefix.p, "/below");
	buf_adds(out, STR("/below/x HTTP/1.1\r\n"));
}

/* Of a stream it takes as much as it likes. */
static size_t plain_received(struct link *l, char *bytes, size_t n)
{
	size_t taken = t.stream ? (size_t)rand() % (n + 1) : n;
	(void)l;
	assert_true(t.n + taken <= ALL_MAX);
	memcpy(t.got + t.n, bytes, taken);
	t.n += taken;
	t.messages++;
	return taken;
}

static int setup(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	(void)state;
	t.listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(t.listener, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(t.listener, 16), 0);
	assert_int_equal(getsockname(t.listener, (struct sockaddr *)&a, &size), 0);
	snprintf(t.url, sizeof(t.url), "http://127.0.0.1:%d/below/", ntohs(a.sin_port));
	t.got = malloc(ALL_MAX);
	t.sent = malloc(ALL_MAX);
	t.n = t.sent_n = t.messages = 0;
	t.raw = BUF_INIT(ALL_MAX);
	t.fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (t.fd >= 0)
		close(t.fd); /* first, or the goodbye would be waited for */
	load_free(&t.load);
	close(t.listener);
	free(t.got);
	free(t.sent);
	buf_free(&t.raw);
	return 0;
}

/* Reads what has come from the client, whole frames of it. */
static void hear(void)
{
	char bytes[65536];
	ssize_t got = recv(t.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got > 0)
		buf_add(&t.raw, bytes, (size_t)got);
	for (;;) {
		const unsigned char *p = (const unsigned char *)t.raw.p;
		size_t head = 2, n = t.raw.n >= 2 ? p[1] & 127 : 0;
		if (n >= 126)
			head = n == 126 ? 4 : 10;
		if (t.raw.n < head + 4)
			return;
		n = head > 2 ? 0 : n;
		for (size_t i = 2; i < head; i++)
			n = n << 8 | p[i];
		if (t.raw.n < head + 4 + n)
			return;
		assert_true(p[1] & 128); /* a client's are masked */
		for (size_t i = 0; i < n; i++)
			t.sent[t.sent_n++] = (char)(p[head + 4 + i] ^ p[head + (i & 3)]);
		size_t rest = t.raw.n - head - 4 - n;
		memmove(t.raw.p, t.raw.p + head + 4 + n, rest);
		t.raw.n = rest;
	}
}

static struct link *connected(const struct dialect *d, const struct load_events *events)
{
	static const char answer[] = "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\n\r\n";
	struct load_link how = {.batch = true};
	char request[4096];
	ssize_t n = 0;
	t.load = load_new(&(struct load_target){.url = t.url}, d, events, NULL, 2);
	struct link *l = load_open(t.load, &how);
	assert_null(load_fault(t.load));
	t.fd = accept(t.listener, NULL, NULL);
	int on = 1;
	setsockopt(t.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while (n < 4 || memcmp(request + n - 4, "\r\n\r\n", 4) != 0) {
		assert_true(load_turn(t.load, 0));
		ssize_t got =
			recv(t.fd, request + n, sizeof(request) - 1 - (size_t)n, MSG_DONTWAIT);
		n += got > 0 ? got : 0;
	}
	request[n] = 0;
	assert_ptr_equal(strstr(request, "GET /below/"), request);
	assert_non_null(strstr(request, "\r\nSec-WebSocket-Version: 13\r\n"));
	/* In two pieces, with nothing behind. */
	assert_int_equal(send(t.fd, answer, 20, 0), 20);
	load_turn(t.load, 1000000);
	assert_int_equal(send(t.fd, answer + 20, sizeof(answer) - 21, 0), sizeof(answer) - 21);
	return l;
}

/* A frame of the server's side: not masked. */
static void add_frame(struct buf *b, unsigned first, const char *p, size_t n)
{
	unsigned char head[10] = {(unsigned char)first};
	size_t at = 2;
	if (n < 126) {
		head[1] = (unsigned char)n;
	} else if (n < 65536) {
		head[1] = 126;
		head[at++] = (unsigned char)(n >> 8);
		head[at++] = (unsigned char)n;
	} else {
		head[1] = 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			head[at++] = (unsigned char)((uint64_t)n >> shift);
	}
	buf_add(b, head, at);
	buf_add(b, p, n);
}

/* Sends it in pieces while the client reads. */
static void trickle(struct str bytes)
{
	for (size_t at = 0; at < bytes.n;) {
		size_t n = 1 + (size_t)rand() % (rand() % 2 ? 20 : 20000);
		n = n < bytes.n - at ? n : bytes.n - at;
		ssize_t put = send(t.fd, bytes.p + at, n, MSG_DONTWAIT);
		at += put > 0 ? (size_t)put : 0;
		assert_true(load_turn(t.load, 0));
		hear();
	}
}

static void any_frames_in_any_pieces(bool stream)
{
	static struct dialect plain = {
		.name = "plain", .upgrade = plain_upgrade, .received = plain_received};
	static char text[LONGEST], all[ALL_MAX];
	struct buf frames = BUF_INIT(ALL_MAX * 2);
	size_t n = 0;
	unsigned messages = 0;
	t.stream = plain.stream = stream;
	new_seed();
	struct link *l = connected(&plain, &(struct load_events){.ready = NULL});
	while (!load_ready_count(t.load))
		assert_true(load_turn(t.load, 0));
	for (int i = 0; i < 100; i++) {
		size_t length = (size_t)rand() % (rand() % 8 ? 300 : LONGEST), first = length;
		for (size_t k = 0; k < length; k++)
			text[k] = (char)rand();
		memcpy(all + n, text, length);
		n += length;
		messages++;
		if (rand() % 4 == 0)
			first = (size_t)rand() % (length + 1);
		add_frame(&frames, first < length ? 1 : 0x81, text, first);
		if (rand() % 8 == 0)
			add_frame(&frames, 0x89, "ping", 4); /* may come between the parts */
		if (first < length)
			add_frame(&frames, 0x80, text + first, length - first);
	}
	link_say(l, STR("hello"));
	trickle(buf_str(&frames));
	/* A stream's last bytes are offered again with what comes next; here: nothing but this. */
	for (int i = 0; i < 1000 && t.n < n; i++) {
		load_turn(t.load, 1000000);
		buf_cut(&frames, 0);
		add_frame(&frames, 0x82, "", 0);
		trickle(buf_str(&frames));
	}
	buf_free(&frames);
	assert_int_equal(t.n, n);
	assert_memory_equal(t.got, all, n);
	if (!stream)
		assert_int_equal(t.messages, messages);
	for (int i = 0; i < 1000 && t.sent_n < 9; i++) {
		load_turn(t.load, 1000000);
		hear();
	}
	assert_memory_equal(t.sent, "helloping", 9);
}

static void messages_come_whole(void **state)
{
	(void)state;
	any_frames_in_any_pieces(false);
}

static void a_stream_comes_as_it_was(void **state)
{
	(void)state;
	any_frames_in_any_pieces(true);
}

/* ---- our own dialect ---- */

static char heard[1024];

static size_t note(void *context, struct link *l, const char *payload, size_t n)
{
	size_t at = strlen(heard);
	(void)context, (void)l;
	assert_true(n >= 9);
	snprintf(heard + at, sizeof(heard) - at, "%.9s ", payload);
	return 9;
}

/* Says it, unless NULL, and goes on until the client has said this much and counted so many. */
static void answer(const char *text, struct link *l, const char *said, uint64_t count)
{
	struct buf frame = BUF_INIT(65536);
	if (text)
		add_frame(&frame, 0x81, text, strlen(text));
	trickle(buf_str(&frame));
	buf_free(&frame);
	for (int i = 0; i < TURNS; i++) {
		t.sent[t.sent_n] = 0;
		if (strstr(t.sent, said) && l->heard >= count)
			return;
		assert_true(load_turn(t.load, 1000000));
		hear();
	}
	fail_msg("%s: %s", said, t.sent);
}

static void deliveries_and_counts(void **state)
{
	static const char open[] =
		"\"id\":100000000,\"method\":\"session.open\",\"params\":{\"batch\":true}}";
	static const char join[] =
		"\"id\":100000001,\"method\":\"room.join\",\"params\":{\"room\":\"bench-";
	static const char one[] = "{\"jsonrpc\":\"2.0\",\"method\":\"room.message\",\"params\":{"
				  "\"data\":\"~00000003\"}}";
	(void)state;
	heard[0] = 0;
	struct link *l = connected(&dialect_signalbox, &(struct load_events){.delivered = note});
	answer(NULL, l, open, 0);
	answer("{\"jsonrpc\":\"2.0\",\"id\":100000000,\"result\":{\"session\":\"s\"}}", l, join, 0);
	assert_int_equal(load_ready_count(t.load), 0);
	answer("{\"jsonrpc\":\"2.0\",\"id\":100000001,\"result\":{\"room\":\"r\",\"members\":[{"
	       "\"peer\":"
	       "\"other\"}],\"peer\":\"me\"}}",
		l, join, 1);
	assert_int_equal(load_ready_count(t.load), 1);
	assert_string_equal(l->id, "me");
	/* All but the acknowledgement count. */
	answer("[{\"jsonrpc\":\"2.0\",\"method\":\"room.message\",\"params\":{\"from\":{\"name\":"
	       "\"~o~\"},\"data\":"
	       "\"~00000001xx\",\"time\":1}},{\"jsonrpc\":\"2.0\",\"id\":100000002,\"result\":{"
	       "\"offset\":1}},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"session.ack\",\"params\":{\"received\":64}},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"room.joined\",\"params\":{\"members\":[{},{}]}},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"signal.received\",\"params\":{\"data\":\"~"
	       "00000002\"}}]",
		l, join, 5);
	assert_int_equal(l->heard, 5);
	assert_string_equal(heard, "~00000001 ~00000002 ");
	for (uint64_t i = 6; i <= 64; i++)
		answer(one, l, join, i);
	answer(NULL, l, "\"method\":\"session.ack\",\"params\":{\"received\":64}}", 64);
	struct buf frame = BUF_INIT(1024);
	const char *no = "{\"jsonrpc\":\"2.0\",\"id\":100000003,\"error\":{\"code\":-32023,"
			 "\"message\":\"No.\","
			 "\"data\":{\"reason\":\"room_full\"}}}";
	add_frame(&frame, 0x81, no, strlen(no));
	assert_true(send(t.fd, frame.p, frame.n, 0) > 0);
	buf_free(&frame);
	while (load_turn(t.load, 1000000))
		;
	assert_string_equal(load_fault(t.load),
		"the server refuses: No. (room_full)\nRaise limits.members_per_room.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_histogram_is_as_good_as_sorting),
		cmocka_unit_test(numbers_of_payloads),
		cmocka_unit_test(arguments),
		cmocka_unit_test_setup_teardown(messages_come_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_comes_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(deliveries_and_counts, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
