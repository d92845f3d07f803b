#include "client/load_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* RFC 6455, section 5.2 */
enum {
	OP_MORE = 0,
	OP_TEXT = 1,
	OP_BINARY = 2,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10,
	FIN = 0x80,
	MASKED = 0x80,
	HEAD_MAX = 14,
	HTTP_STATUS_END = 12, /* of "HTTP/1.1 101" */
};

/* ---- out ---- */

static void mark_dirty(struct conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	c->next = c->load->dirty;
	c->load->dirty = c;
}

static void add_frame(struct conn *c, int opcode, struct str bytes)
{
	const unsigned char *mask = c->load->mask;
	unsigned char head[HEAD_MAX] = {(unsigned char)(FIN | opcode)};
	size_t n = 2;
	if (bytes.n < 126) {
		head[1] = (unsigned char)(MASKED | bytes.n);
	} else if (bytes.n < 65536) {
		head[1] = MASKED | 126;
		head[n++] = (unsigned char)(bytes.n >> 8);
		head[n++] = (unsigned char)bytes.n;
	} else {
		head[1] = MASKED | 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			head[n++] = (unsigned char)((uint64_t)bytes.n >> shift);
	}
	memcpy(head + n, mask, sizeof(c->load->mask));
	buf_add(&c->out, head, n + sizeof(c->load->mask));
	size_t at = c->out.n;
	buf_adds(&c->out, bytes);
	if (c->out.err)
		load_fail(c->load,
			"connection %u does not take what is to be sent: more than %d MiB wait",
			c->link.index + 1, REST_MAX >> 20);
	char *p = c->out.p + at;
	for (size_t i = 0; i < c->out.n - at; i++)
		p[i] = (char)(p[i] ^ mask[i & 3]);
	mark_dirty(c);
}

void link_say(struct link *l, struct str bytes)
{
	struct conn *c = conn_of(l);
	if (c->state == LINK_OPEN)
		add_frame(c, c->load->dialect->binary ? OP_BINARY : OP_TEXT, bytes);
}

struct buf *link_text(void)
{
	static struct buf text = {.max = REST_MAX};
	buf_cut(&text, 0);
	return &text;
}

void wire_upgrade(struct conn *c)
{
	struct load *load = c->load;
	buf_adds(&c->out, STR("GET "));
	load->dialect->upgrade(&c->link, str_of(load->prefix), &c->out);
	buf_addf(&c->out,
		"Host: %s%s%s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		"Sec-WebSocket-Version: 13\r\n\r\n",
		strchr(load->host, ':') ? "[" : "", load->host, strchr(load->host, ':') ? "]" : "",
		load->port);
}

void wire_goodbye(struct conn *c)
{
	if (c->state != LINK_OPEN) {
		conn_close(c);
		return;
	}
	c->said_goodbye = true;
	add_frame(c, OP_CLOSE, STR("\x03\xe8"));
}

void wire_flush(struct conn *c)
{
	if (c->state < LINK_UPGRADING || !c->out.n)
		return;
	ssize_t put = c->ssl ? tls_write(c, c->out.p, c->out.n)
			     : send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN) {
		if (!c->load->ending)
			wire_readable(c); /* perhaps it has said why */
		return;
	}
	size_t rest = put > 0 ? c->out.n - (size_t)put : c->out.n;
	if (rest && put > 0)
		memmove(c->out.p, c->out.p + put, rest);
	c->out.n = rest;
	conn_watch(c, rest > 0);
}

/* ---- in ---- */

static void on_goodbye(struct conn *c, const char *p, size_t n)
{
	unsigned code = n >= 2 ? (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1] : 1005;
	struct str reason = {n > 2 ? p + 2 : "", n > 2 ? n - 2 : 0};
	char text[128];
	snprintf(text, sizeof(text),
		"close %u"
		"%s" STR_FMT,
		code, reason.n ? " " : "", STR_ARG(reason));
	const char *advice =
		c->load->dialect->advice ? c->load->dialect->advice((int)code, str_of(text)) : NULL;
	if (!c->said_goodbye)
		load_fail(c->load, "the server closed connection %u: %s%s%s", c->link.index + 1,
			text, advice ? "\n" : "", advice ? advice : "");
	conn_close(c);
}

/* A stream, whatever was left of it before in front. */
static void on_stream(struct conn *c, char *p, size_t n)
{
	if (c->part.n) {
		buf_add(&c->part, p, n);
		p = c->part.p;
		n = c->part.n;
	}
	size_t taken = c->load->dialect->received(&c->link, p, n);
	if (c->state != LINK_OPEN)
		return;
	if (p == c->part.p) {
		memmove(p, p + taken, n - taken);
		c->part.n = n - taken;
	} else if (taken < n) {
		buf_add(&c->part, p + taken, n - taken);
	}
}

static void on_message(struct conn *c, bool last, bool begins, char *p, size_t n)
{
	if (c->load->dialect->stream) {
		on_stream(c, p, n);
	} else if (last && begins) {
		c->load->dialect->received(&c->link, p, n);
	} else {
		buf_add(&c->part, p, n);
		if (!last)
			return;
		c->load->dialect->received(&c->link, c->part.p, c->part.n);
		c->part.n = 0;
	}
}

/* The frame at p; returns how long it is, 0: not all of it is there. */
static size_t take_frame(struct conn *c, char *p, size_t n)
{
	const unsigned char *in = (const unsigned char *)p;
	size_t head = 2, length = n >= 2 ? in[1] & 127 : 0;
	if (length >= 126)
		head = length == 126 ? 4 : 10;
	if (n < head)
		return 0;
	if (head > 2)
		length = 0;
	for (size_t i = 2; i < head; i++)
		length = length << 8 | in[i];
	if (length > REST_MAX / 2) {
		load_fail(c->load, "the server sent a frame of %zu bytes", length);
		return 0;
	}
	if (n < head + length)
		return 0;
	int opcode = in[0] & 15;
	if (opcode == OP_PING)
		add_frame(c, OP_PONG, (struct str){p + head, length});
	else if (opcode == OP_CLOSE)
		on_goodbye(c, p + head, length);
	else if (opcode != OP_PONG)
		on_message(c, in[0] & FIN, opcode != OP_MORE, p + head, length);
	return head + length;
}

/* The first line of what stands below the head, or of the head. */
static struct str refusal_text(struct str answer)
{
	const char *body = memmem(answer.p, answer.n, "\r\n\r\n", 4);
	struct str text = {body ? body + 4 : answer.p,
		body ? answer.n - (size_t)(body + 4 - answer.p) : answer.n};
	if (!text.n)
		text = answer;
	const char *end = memchr(text.p, '\r', text.n);
	const char *other = memchr(text.p, '\n', text.n);
	if (other && (!end || other < end))
		end = other;
	if (end)
		text.n = (size_t)(end - text.p);
	return text;
}

static void on_refusal(struct conn *c, struct str answer)
{
	link_refused(&c->link, (int)strtol(answer.p + 9, NULL, 10), refusal_text(answer));
	conn_close(c);
}

/* How long an answer says that it is with its head; 0: it ends with the connection. */
static size_t length_of(const char *p, size_t head)
{
	static const struct str name = {"\r\nContent-Length:", 17};
	for (size_t i = 0; i + name.n < head; i++)
		if (strncasecmp(p + i, name.p, name.n) == 0)
			return head + strtoul(p + i + name.n, NULL, 10);
	return 0;
}

/* 101 and all that belongs to it, or another answer once it is there whole. */
static size_t take_upgrade(struct conn *c, char *p, size_t n)
{
	struct load *load = c->load;
	char *end = memmem(p, n, "\r\n\r\n", 4);
	if (!end || n < HTTP_STATUS_END)
		return 0;
	size_t head = (size_t)(end + 4 - p);
	if (memcmp(p + 8, " 101", 4) != 0) {
		size_t whole = length_of(p, head);
		if (!whole || n < whole)
			return 0;
		on_refusal(c, (struct str){p, whole});
		return whole;
	}
	c->state = LINK_OPEN;
	if (c->link.part == PART_GUEST) {
		if (load->events.greeted)
			load->events.greeted(load->context, &c->link);
		conn_close(c);
	} else if (load->dialect->opened) {
		load->dialect->opened(&c->link);
	} else {
		link_ready(&c->link);
	}
	return head;
}

static void on_end(struct conn *c, struct str before, ssize_t got)
{
	struct load *load = c->load;
	int problem = errno;
	if (c->state == LINK_UPGRADING && before.n > HTTP_STATUS_END) {
		on_refusal(c, before);
		return;
	}
	if (!c->said_goodbye)
		load_fail(load, "the server dropped connection %u: %s", c->link.index + 1,
			got < 0 ? strerror(problem) : "it just closed it");
	conn_close(c);
}

void wire_readable(struct conn *c)
{
	struct load *load = c->load;
	char *p = load->read;
	size_t n = c->in.n;
	memcpy(p, n ? c->in.p : "", n);
	ssize_t got =
		c->ssl ? tls_read(c, p + n, READ_MAX) : recv(c->fd, p + n, READ_MAX, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		on_end(c, (struct str){p, n}, got);
		return;
	}
	load->now = load_clock();
	c->in.n = 0;
	n += (size_t)got;
	if (n > REST_MAX)
		load_fail(load, "the server's answer is too large");
	for (size_t taken = 1; n && taken && c->state != LINK_FREE && !load->fault[0];
		p += taken, n -= taken) {
		bool upgrading = c->state == LINK_UPGRADING;
		taken = upgrading ? take_upgrade(c, p, n) : take_frame(c, p, n);
	}
	if (c->state == LINK_FREE)
		return;
	buf_add(&c->in, p, n);
}
