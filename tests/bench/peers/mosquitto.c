/* mosquitto.c: MQTT 3.1.1 (OASIS) over WebSocket: its packets are one stream, however they are framed. */
#include "core/buf.h"
#include "tests/bench/peers/peers.h"

enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, SUBSCRIBE = 0x82, SUBACK = 0x90 };
enum { CLEAN_SESSION = 2, LEVEL = 4 };

/* A packet's fixed header (section 2.2). */
static void add_head(struct buf *out, int type, size_t n)
{
	buf_addc(out, (char)type);
	do {
		buf_addc(out, (char)((n & 127) | (n > 127 ? 128 : 0)));
		n >>= 7;
	} while (n);
}

static void add_text(struct buf *out, struct str text)
{
	buf_addc(out, (char)(text.n >> 8));
	buf_addc(out, (char)text.n);
	buf_adds(out, text);
}

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	(void)l;
	buf_addf(
		out, STR_FMT "/mqtt HTTP/1.1\r\nSec-WebSocket-Protocol: mqtt\r\n", STR_ARG(prefix));
}

static void opened(struct link *l)
{
	struct buf *out = link_text();
	char id[16];
	int n = snprintf(id, sizeof(id), "bench-%u", l->index);
	add_head(out, CONNECT, 10 + 2 + (size_t)n);
	add_text(out, STR("MQTT"));
	buf_add(out, (char[]){LEVEL, CLEAN_SESSION, 0, 0}, 4); /* and no keep-alive */
	add_text(out, (struct str){id, (size_t)n});
	link_say(l, buf_str(out));
}

static void subscribe(struct link *l)
{
	struct buf *out = link_text();
	struct str room = str_of(l->room);
	add_head(out, SUBSCRIBE, 2 + 2 + room.n + 1);
	buf_add(out, (char[]){0, 1}, 2);
	add_text(out, room);
	buf_addc(out, 0); /* at most once */
	link_say(l, buf_str(out));
}

static void on_packet(struct link *l, int type, const char *body, size_t n)
{
	if ((type & 0xf0) == PUBLISH) {
		size_t topic =
			n < 2 ? 0 : (size_t)(unsigned char)body[0] << 8 | (unsigned char)body[1];
		if (n > topic + 2)
			peer_delivered(l, body + 2 + topic, n - 2 - topic);
	} else if (type == CONNACK) {
		if (n == 2 && body[1] == 0)
			subscribe(l);
		else
			link_refused(l, 0, STR("CONNACK says no"));
	} else if (type == SUBACK) {
		link_ready(l);
	}
}

static size_t received(struct link *l, char *bytes, size_t n)
{
	size_t at = 0;
	for (;;) {
		size_t head = 1, length = 0;
		unsigned shift = 0;
		do {
			if (at + head >= n)
				return at;
			length |= (size_t)(bytes[at + head] & 127) << shift;
			shift += 7;
		} while (bytes[at + head++] & 128);
		if (n - at < head + length)
			return at;
		on_packet(l, (unsigned char)bytes[at], bytes + at + head, length);
		at += head + length;
	}
}

static void publish(struct link *l, struct str payload)
{
	struct buf *out = link_text();
	struct str room = str_of(l->room);
	add_head(out, PUBLISH, 2 + room.n + payload.n);
	add_text(out, room);
	buf_adds(out, payload);
	link_say(l, buf_str(out));
}

const struct dialect dialect_mosquitto = {
	.name = "mosquitto",
	.scenarios = 1 << SCENARIO_FANOUT | 1 << SCENARIO_IDLE,
	.binary = true,
	.stream = true,
	.upgrade = upgrade,
	.opened = opened,
	.received = received,
	.publish = publish,
};
