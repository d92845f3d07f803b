#include "service/conn.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"
#include "service/deflate.h"
#include "service/handshake.h"
#include "service/joined.h"
#include "service/lws.h"
#include "service/opening.h"
#include "service/peer.h"
#include "service/outbound.h"

#include <assert.h>
#include <libwebsockets.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static_assert((int)FRAME_HEADROOM >= LWS_PRE, "frames need the headroom of libwebsockets");

enum { CLOSE_TIMEOUT_SECONDS = 5, LEAVING_MS = 1000, RSV1 = 0x40, SWEEP_MS = 250 };

/* Lives in the memory that libwebsockets keeps per connection (zeroed, freed after the close). */
struct conn {
	struct carrier carrier; /* first: what the owner knows of it */
	struct lws *wsi;
	struct conn *next_dirty;
	struct conn *next, **back; /* among all of the worker */
	struct outbound queue;
	struct buf inbound;  /* a message of which not all has come */
	uint16_t close_code; /* 0: open */
	uint16_t peer_code;
	const char *close_reason;
	uint64_t heard_ms; /* when something came from the client */
	/* when it was last asked for a sign of life, was told of the end, or began */
	uint64_t pinged_ms;
	bool dirty, close_sent, ping_due;
	bool failed;    /* a write has: what libwebsockets would write now is no frame any more */
	bool urgent;    /* not all that waits is patient */
	uint8_t waited; /* for so many turns by now, since all that waits is patient */
	bool peer_closing; /* the client's close frame has come: what follows it is not looked at */
	bool continued;    /* inbound: its first frame has come whole */
	bool packed_in;    /* inbound is compressed */
	bool packed_out;   /* what lws_write() has in hand is compressed */
	struct deflate_terms deflate; /* offers: those libwebsockets has not asked about yet */
};

static struct conn_limits limits;
static _Thread_local struct conn *dirty, *waiting; /* linked by next_dirty */
/* Since the last turn's end: not yet in the metrics, which cost more than this. */
static _Thread_local struct {
	int64_t messages, bytes, saved;
} written;

static _Thread_local struct conn *all;
static _Thread_local size_t open_count;
static _Thread_local uv_timer_t sweeper;

void conn_configure(const struct conn_limits *l)
{
	limits = *l;
}

size_t conn_count(void)
{
	return open_count;
}

/* ---- out ---- */

/* Before many are written to, it is looked whether more is to be said to them by now: that costs less
 * than one of the writes, and may save one for each. So may another worker that has not begun with what it
 * was given: it goes first, where both have one core. Not for long, whatever else the turns have to do,
 * and not for so much that it would fill their queues. */
enum {
	LOOK_ON_FOR = 32,
	LOOKS_MOST = 8,
	LOOK_ON_MS = 5,
	LOOK_ON_BYTES = 32 * 1024,
	WAITS_MOST = 2
};

static _Thread_local struct {
	unsigned dirty, looks;
	uint64_t since_ms; /* the first look */
	bool more;         /* was queued since the last look */
	size_t heard;      /* bytes from clients, which may go to each of the dirty */
	uv_idle_t idle;    /* its running keeps the loop from waiting */
} turn;

/* It is written before more is added, so that nobody is slow who has not been written to. */
static bool has_much(const struct conn *c)
{
	return c->queue.bytes > limits.outbound_queue / 4;
}

static void mark_dirty(struct conn *c)
{
	if (c->dirty)
		return;
	turn.dirty++;
	c->dirty = true;
	c->next_dirty = dirty;
	dirty = c;
}

static void close_conn(struct conn *c, uint16_t code, const char *reason)
{
	if (c->close_code)
		return;
	c->close_code = code;
	c->close_reason = reason;
	mark_dirty(c);
}

static int flush(struct conn *c);

static void carry_send(struct carrier *carrier, struct outgoing m)
{
	struct conn *c = (struct conn *)carrier;
	if (c->close_code || c->peer_closing) {
		frame_unref(&m.frame);
		return;
	}
	outbound_add(&c->queue, m);
	mark_dirty(c);
	c->urgent |= !m.patient;
	turn.more = true;
	if (has_much(c) && !lws_partial_buffered(c->wsi))
		flush(c); /* one that fails does again at the end of the turn, which ends it */
	if (c->queue.bytes <= limits.outbound_queue)
		return;
	metric_add(METRIC_SLOW_CONSUMERS, 1);
	outbound_clear(&c->queue);
	close_conn(c, 4002, "read faster: too much is waiting");
}

static void carry_close(struct carrier *carrier, uint16_t code, const char *reason)
{
	close_conn((struct conn *)carrier, code, reason);
}

static void carry_begin(struct carrier *carrier, const char *session, bool batching)
{
	(void)session;
	((struct conn *)carrier)->queue.batching = batching;
}

static const struct carrier_ops carrier_ops = {
	.begin = carry_begin, .send = carry_send, .close = carry_close};

static void count_written(void)
{
	if (!written.messages)
		return;
	metric_add(METRIC_MESSAGES_OUT, written.messages);
	metric_add(METRIC_BYTES_OUT, written.bytes);
	metric_add(METRIC_BYTES_SAVED, written.saved);
	memset(&written, 0, sizeof(written));
}

static int write_text(struct conn *c, char *bytes, size_t n)
{
	struct str packed = {0};
	if (c->deflate.window_bits)
		packed = deflate_message((struct str){bytes, n}, c->deflate.window_bits);
	written.messages++;
	written.bytes += (int64_t)n;
	c->packed_out = packed.n > 0;
	if (packed.n) {
		written.saved += (int64_t)(n - packed.n);
		bytes = (char *)(uintptr_t)packed.p;
		n = packed.n;
	}
	return lws_write(c->wsi, (unsigned char *)bytes, n, LWS_WRITE_TEXT) < 0 ? -1 : 0;
}

/* How many go with the next message; 0: nothing waits. */
static uint32_t next_count(struct conn *c)
{
	return c->queue.count > 1 ? outbound_next(&c->queue) : c->queue.count;
}

static int write_next(struct conn *c, uint32_t n)
{
	if (n > 1) {
		struct str array = joined_take(&c->queue, n);
		return write_text(c, (char *)(uintptr_t)array.p, array.n);
	}
	struct frame *f = outbound_take(&c->queue).frame;
	int failed = write_text(c, f->bytes + FRAME_HEADROOM, f->size);
	frame_unref(&f);
	return failed;
}

static void cork(struct conn *c, int on)
{
	setsockopt(lws_get_socket_fd(c->wsi), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

/* Not an empty one: libwebsockets says nothing of pongs without payload. */
static int write_ping(struct conn *c)
{
	unsigned char ping[LWS_PRE + 1] = {[LWS_PRE] = '?'};
	c->ping_due = false;
	return lws_write(c->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* Writes until all is written or the kernel takes no more; once it has failed it always does. Nothing when
 * libwebsockets has sent a close frame itself, because of a frame against the protocol: it then waits for
 * the client's. */
static int flush(struct conn *c)
{
	if (c->failed)
		return -1;
	if (lws_get_close_length(c->wsi) > 0) {
		outbound_clear(&c->queue);
		return 0;
	}
	uint32_t next = next_count(c);
	bool corked = next < c->queue.count;
	int failed = 0;
	if (c->ping_due && !lws_partial_buffered(c->wsi)) /* it does not wait for the queue */
		failed = write_ping(c);
	if (corked)
		cork(c, 1);
	for (; next && !failed && !lws_partial_buffered(c->wsi); next = next_count(c))
		failed = write_next(c, next);
	if (corked)
		cork(c, 0);
	c->failed = failed != 0;
	if (!failed && (c->queue.count || c->ping_due || lws_partial_buffered(c->wsi)))
		lws_callback_on_writable(c->wsi);
	return failed;
}

/* The close frame. Returning -1 from a callback would not send it: the libwebsockets of Debian then
 * closes twice, and the second time at once. Out of its callbacks a killing timeout closes once, and
 * with the reason given. */
static void send_close(struct conn *c)
{
	c->close_sent = true;
	c->pinged_ms = worker_now_ms();
	lws_close_reason(c->wsi, (enum lws_close_status)c->close_code,
		(unsigned char *)(uintptr_t)c->close_reason, strlen(c->close_reason));
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

/* On a loop of ours libwebsockets looks at its timeouts behind events of its own only: those set
 * outside of its callbacks would wait for the next of them, on a quiet worker for long. */
void conn_heed_timeouts(void)
{
	lws_cancel_service(worker_self()->lws);
}

static void go_on(uv_idle_t *idle)
{
	(void)idle;
}

static bool looks_on(void)
{
	uint64_t now = worker_now_ms();
	if (!turn.looks++)
		turn.since_ms = now;
	bool many = turn.dirty >= LOOK_ON_FOR;
	bool behind = many && workers_behind();
	bool on = (turn.more || behind) && many && turn.looks <= LOOKS_MOST &&
		now - turn.since_ms <= LOOK_ON_MS && turn.heard <= LOOK_ON_BYTES;
	turn.more = false;
	if (on)
		uv_idle_start(&turn.idle, go_on);
	if (on && behind)
		sched_yield();
	return on;
}

/* With much to do, receipts alone wait for a turn or two, to go in one write with what the same client is
 * told next: who signals to a peer soon hears of it. */
static bool can_wait(struct conn *c, bool busy)
{
	bool wait = busy && c->queue.batching && !c->urgent && c->waited < WAITS_MOST &&
		!c->close_code && !c->ping_due;
	c->waited = wait ? c->waited + 1 : 0;
	return wait;
}

static void write_dirty(bool busy)
{
	bool closing = false;
	turn.dirty = turn.looks = 0;
	turn.heard = 0;
	while (dirty) {
		struct conn *c = dirty;
		dirty = c->next_dirty;
		__builtin_prefetch(dirty);
		if (can_wait(c, busy)) {
			c->next_dirty = waiting;
			waiting = c;
			turn.dirty++;
			continue;
		}
		c->dirty = c->urgent = false;
		if (c->close_sent)
			continue;
		bool failed = flush(c) != 0;
		closing |= failed || c->close_code;
		if (failed)
			lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
		else if (c->close_code && !c->queue.count && !lws_partial_buffered(c->wsi))
			send_close(c);
		else if (c->close_code) /* it may never read what is before the close frame */
			lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, CLOSE_TIMEOUT_SECONDS);
	}
	dirty = waiting;
	waiting = NULL;
	if (dirty)
		uv_idle_start(&turn.idle, go_on);
	else
		uv_idle_stop(&turn.idle);
	joined_forget();
	deflate_forget();
	count_written();
	if (closing)
		conn_heed_timeouts();
}

void conn_turn_over(void)
{
	if (!looks_on())
		write_dirty(turn.dirty >= LOOK_ON_FOR);
}

void conn_flush_all(void)
{
	write_dirty(false);
}

/* ---- liveness ----
 *
 * Not libwebsockets' own: that takes nothing but a pong for a sign of life, which may stand for long behind
 * what a slow client has still to read; gives a dead one five seconds more for what it has not taken;
 * and sorts each timer into a list of all connections. */

static void cut(struct conn *c)
{
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
	conn_heed_timeouts();
}

/* All that was written has arrived, as the client's kernel says; the close frame's end may still wait here. */
static bool has_all(const struct conn *c)
{
	int unsent = 1;
	return !lws_partial_buffered(c->wsi) &&
		!ioctl(lws_get_socket_fd(c->wsi), SIOCOUTQ, &unsent) && !unsent;
}

/* The service stops: whoever has the close frame and does not answer it is not waited for, as libwebsockets
 * would for five seconds. */
static bool keeps_waiting(const struct conn *c, uint64_t since)
{
	return c->close_sent && c->close_code == 1001 && since > LEAVING_MS && has_all(c);
}

static void look_after(struct conn *c, uint64_t now)
{
	uint64_t since = now - c->pinged_ms + SWEEP_MS;
	if (keeps_waiting(c, since)) {
		cut(c);
	} else if (c->heard_ms >= c->pinged_ms) {
		if (since <= limits.ping_ms)
			return;
		c->pinged_ms = now;
		if (c->close_code || c->peer_closing)
			return;
		c->ping_due = true;
		mark_dirty(c);
	} else if (since > limits.pong_ms) {
		cut(c);
	}
}

static void on_sweep(uv_timer_t *timer)
{
	uint64_t now = uv_now(timer->loop);
	for (struct conn *c = all; c; c = c->next)
		look_after(c, now);
}

static void heard(struct conn *c)
{
	c->heard_ms = worker_now_ms();
}

static void keep_alive(struct conn *c)
{
	heard(c);
	c->pinged_ms = c->heard_ms;
	c->back = &all;
	c->next = all;
	if (all)
		all->back = &c->next;
	all = c;
}

static void forget_alive(struct conn *c)
{
	*c->back = c->next;
	if (c->next)
		c->next->back = c->back;
}

/* ---- reading on ----
 *
 * libwebsockets reads READ_BYTES a turn from each connection. It keeps a buffer of that size for each, whose
 * pages are there from the first pong on. Who has sent more is read again in the same turn: what came together
 * is told together. One after the other, so that what one has to say does not keep the others waiting. */

enum {
	READ_BYTES = 2028, /* 2048 with what libwebsockets adds: a size of malloc's own */
	READ_ON_FROM = READ_BYTES / 2,
	READ_ON_MOST = 64,
	READ_ON_BYTES = 64 * 1024,
};

static _Thread_local struct {
	struct conn *list[READ_ON_MOST]; /* are read once more in this turn; NULL: has ended */
	unsigned count;
	const struct conn *of; /* whose last read brought so many bytes */
	size_t bytes;
} reading;
static _Thread_local uv_check_t behind_the_poll;

/* Without the frames' headers, so less than a buffer is taken for a full one. */
static void note_read(struct conn *c, size_t n)
{
	if (reading.of != c) {
		reading.of = c;
		reading.bytes = 0;
	}
	bool noted = reading.bytes >= READ_ON_FROM;
	reading.bytes += n;
	if (!noted && reading.bytes >= READ_ON_FROM && reading.count < READ_ON_MOST)
		reading.list[reading.count++] = c;
}

/* They come to the end of the list again while they have more and it has room: what is left then is
 * read in the next turn. So is what would be answered by too much, and what follows when the turn has
 * had enough to do: packed messages are larger than what is read of them. */
static void read_on(uv_check_t *check)
{
	(void)check;
	for (unsigned i = 0; i < reading.count && turn.heard <= READ_ON_BYTES; i++) {
		struct conn *c = reading.list[i];
		if (!c || has_much(c))
			continue;
		struct lws_pollfd fd = {
			.fd = lws_get_socket_fd(c->wsi), .events = POLLIN, .revents = POLLIN};
		reading.of = NULL;
		lws_service_fd(worker_self()->lws, &fd);
	}
	reading.count = 0;
	reading.of = NULL;
}

static void forget_reading(const struct conn *c)
{
	for (unsigned i = 0; i < reading.count; i++)
		if (reading.list[i] == c)
			reading.list[i] = NULL;
	if (reading.of == c)
		reading.of = NULL;
}

void conn_ws_start(uv_loop_t *loop)
{
	uv_timer_init(loop, &sweeper);
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_idle_init(loop, &turn.idle);
	uv_check_init(loop, &behind_the_poll);
	uv_check_start(&behind_the_poll, read_on);
}

static void forget_dirty(struct conn **list, const struct conn *c)
{
	while (*list && *list != c)
		list = &(*list)->next_dirty;
	if (*list)
		*list = c->next_dirty;
}

static int on_writable(struct conn *c)
{
	if (flush(c))
		return -1;
	if (c->close_code)
		mark_dirty(c); /* closed at the end of the turn */
	return 0;
}

/* ---- in ---- */

static void refuse_input(struct conn *c, uint16_t code, const char *reason)
{
	buf_free(&c->inbound);
	close_conn(c, code, reason);
}

static void deliver(struct conn *c, struct str text)
{
	metric_add(METRIC_MESSAGES_IN, 1);
	metric_add(METRIC_BYTES_IN, (int64_t)text.n);
	turn.heard += text.n;
	struct carrier_owner *owner = c->carrier.owner;
	if (owner) /* who also sees whether it is UTF-8 */
		owner->events->text(owner, text);
}

/* All of a message has come. */
static void on_message(struct conn *c, struct str text, size_t most)
{
	if (!c->packed_in) {
		deliver(c, text);
		return;
	}
	enum err err = inflate_message(text, most, &text);
	if (!err)
		deliver(c, text);
	else if (err == ERR_PARSE)
		refuse_input(c, 1007, "the compressed message is broken");
	else
		refuse_input(c, 1009, "the message is too big");
}

/* The bit that says "compressed" stands in the first frame of a message and in no other (RFC 7692,
 * section 6.1). Without compression libwebsockets refuses it itself. */
static bool misplaces_bit(struct conn *c, bool end_of_frame)
{
	bool set = (lws_get_reserved_bits(c->wsi) & RSV1) != 0;
	bool wrong = set && c->continued;
	if (!c->continued)
		c->packed_in = set;
	c->continued = (c->continued || end_of_frame) && !lws_is_final_fragment(c->wsi);
	return wrong;
}

static void on_receive(struct conn *c, const void *in, size_t n)
{
	heard(c);
	if (c->close_code || c->peer_closing)
		return;
	if (lws_frame_is_binary(c->wsi)) {
		refuse_input(c, 1003, "send text, not binary");
		return;
	}
	if (misplaces_bit(c, !lws_remaining_packet_payload(c->wsi))) {
		refuse_input(c, 1002, "only the first frame says that a message is compressed");
		return;
	}
	note_read(c, n);
	bool last = lws_is_final_fragment(c->wsi);
	size_t most = c->carrier.opened ? limits.message : limits.first_message;
	size_t most_here = c->packed_in ? inflate_packed_max(most) : most;
	if (c->inbound.n + n > most_here) {
		refuse_input(c, 1009, "the message is too big");
		return;
	}
	if (last && !c->inbound.n) {
		on_message(c, (struct str){n ? in : "", n}, most);
		return;
	}
	c->inbound.max = most_here;
	buf_add(&c->inbound, in, n);
	if (c->inbound.err) {
		refuse_input(c, 1009, "the message is too big");
	} else if (last) {
		struct buf whole = c->inbound;
		c->inbound = BUF_INIT(0);
		on_message(c, buf_str(&whole), most);
		buf_free(&whole);
	}
}

/* ---- compression ----
 *
 * libwebsockets is told of an extension that does nothing but let the bit of compressed frames pass, in
 * and out; the rest is ours. Its own permessage-deflate is of no use here: it reads from the caller's
 * buffer long after lws_write() has returned, a kilobyte each time the socket is writable, ignores
 * the window that a client asks for, keeps hundreds of kilobytes for each connection, and ends one
 * with broken input without a close frame. */

/* Asked for each offer in the list. As the answer is ours it does not matter which one is accepted:
 * the last, because another behind an accepted one would end the handshake. */
static int on_offer(struct conn *c, struct lws *wsi)
{
	if (!c->deflate.offers) {
		char offers[HANDSHAKE_EXTENSIONS_MAX + 1];
		int n = lws_hdr_copy(wsi, offers, sizeof(offers), WSI_TOKEN_EXTENSIONS);
		c->deflate = deflate_choose((struct str){offers, n > 0 ? (size_t)n : 0});
	}
	bool last = c->deflate.offers && --c->deflate.offers == 0;
	return last && c->deflate.window_bits ? 0 : 1;
}

/* What libwebsockets has written so far ends with the name of an accepted extension: here come its
 * parameters, which it would choose otherwise. */
static int add_parameters(struct conn *c, struct lws_process_html_args *args)
{
	static const struct str accepted = {"permessage-deflate\r\n", 20};
	if (!c->deflate.window_bits)
		return 0;
	struct buf parameters = BUF_INIT((size_t)args->max_len);
	deflate_answer(c->deflate, &parameters);
	buf_adds(&parameters, STR("\r\n"));
	bool sound = !parameters.err && memcmp(args->p - accepted.n, accepted.p, accepted.n) == 0;
	if (sound) {
		memcpy(args->p - 2, parameters.p, parameters.n);
		args->p += parameters.n - 2;
	}
	buf_free(&parameters);
	return sound ? 0 : -1;
}

static int extension_callback(struct lws_context *lws, const struct lws_extension *extension,
	struct lws *wsi, enum lws_extension_callback_reasons reason, void *user, void *in, size_t n)
{
	static const struct lws_ext_options no_options[] = {{0}};
	(void)lws, (void)extension, (void)user, (void)n;
	const struct conn *c = lws_wsi_user(wsi);
	if (reason == LWS_EXT_CB_CONSTRUCT)
		*(const struct lws_ext_options **)in = no_options;
	else if (reason == LWS_EXT_CB_PACKET_TX_PRESEND && c->packed_out)
		*((struct lws_tokens *)in)->token |= RSV1;
	return 0;
}

static const struct lws_extension extensions[] = {
	{.name = "permessage-deflate", .callback = extension_callback}, {0}};
const struct lws_extension *const conn_ws_extensions = extensions;

/* ---- libwebsockets ---- */

static void on_established(struct conn *c, struct lws *wsi)
{
	c->wsi = wsi;
	c->peer_code = 1006;
	keep_alive(c);
	open_count++;
	metric_add(METRIC_CONNECTIONS, 1);
	struct peer *peer = lws_get_opaque_user_data(wsi); /* outlives this */
	struct principal *who = peer->token;
	peer->token = NULL;
	c->carrier.ops = &carrier_ops;
	c->carrier.peer = str_of(peer->text);
	c->carrier.born_ns = peer->born_ns;
	if (peer->unproven)
		opening_prove(&c->carrier, str_of(peer->unproven));
	else
		opening_begin(&c->carrier, who);
	free(peer->unproven);
	peer->unproven = NULL;
	principal_unref(&who);
}

/* Why it ended: because we closed it, because the client did, because libwebsockets found a fault in
 * the client's frames (it then has a close frame of its own at hand), or nobody knows. */
static uint16_t close_code(const struct conn *c)
{
	if (c->close_code)
		return c->close_code;
	if (!c->peer_closing && lws_get_close_length(c->wsi) >= 2) {
		const unsigned char *payload = lws_get_close_payload(c->wsi);
		return (uint16_t)(payload[0] << 8 | payload[1]);
	}
	return c->peer_code;
}

static void on_closed(struct conn *c)
{
	if (c->dirty) {
		forget_dirty(&dirty, c);
		forget_dirty(&waiting, c);
	}
	forget_alive(c);
	forget_reading(c);
	outbound_clear(&c->queue);
	buf_free(&c->inbound);
	open_count--;
	metric_add(METRIC_CONNECTIONS, -1);
	struct carrier_owner *owner = c->carrier.owner;
	c->carrier.owner = NULL;
	if (owner)
		owner->events->closed(owner, close_code(c));
}

static int callback(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
	struct conn *c = user;
	switch (reason) {
	case LWS_CALLBACK_CONFIRM_EXTENSION_OKAY:
		return on_offer(c, wsi);
	case LWS_CALLBACK_ADD_HEADERS:
		return add_parameters(c, in);
	case LWS_CALLBACK_ESTABLISHED:
		on_established(c, wsi);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		on_receive(c, in, n);
		return 0;
	case LWS_CALLBACK_RECEIVE_PONG:
		heard(c);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return on_writable(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		c->peer_closing = true;
		if (n >= 2)
			c->peer_code = (uint16_t)(((const uint8_t *)in)[0] << 8 |
				((const uint8_t *)in)[1]);
		else
			c->peer_code = 1005;
		return 0;
	case LWS_CALLBACK_CLOSED:
		if (c && c->wsi)
			on_closed(c);
		return 0;
	default:
		return 0;
	}
}

const struct lws_protocols conn_ws_protocol = {
	.name = "signalbox.v1",
	.callback = callback,
	.per_session_data_size = sizeof(struct conn),
	.rx_buffer_size = READ_BYTES,
	.tx_packet_size = 1 << 20, /* else each send is cut to rx_buffer_size */
};

void conn_ws_thread_stop(void)
{
	uv_close((uv_handle_t *)&sweeper, NULL);
	uv_close((uv_handle_t *)&turn.idle, NULL);
	uv_close((uv_handle_t *)&behind_the_poll, NULL);
	joined_thread_stop();
	deflate_thread_stop();
}
