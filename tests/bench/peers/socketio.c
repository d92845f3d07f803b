/* socketio.c: Engine.IO 4 packets, each a frame, the first digit its type; in a message ("4") one of
 * Socket.IO 5, again with a digit. */
#include "core/buf.h"
#include "tests/bench/peers/peers.h"

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	(void)l;
	buf_addf(
		out, STR_FMT "/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n", STR_ARG(prefix));
}

static void opened(struct link *l)
{
	(void)l; /* the server speaks first */
}

/* The one request for an answer: "430[]" is that to "420[…]". */
static void join(struct link *l)
{
	struct buf *out = link_text();
	buf_addf(out, "420[\"join\",\"%s\"]", l->room);
	link_say(l, buf_str(out));
}

static size_t received(struct link *l, char *bytes, size_t n)
{
	struct str text = {bytes, n};
	if (str_starts(text, STR("42")))
		peer_delivered(l, bytes, n);
	else if (str_starts(text, STR("2")))
		link_say(l, STR("3"));
	else if (str_starts(text, STR("0")))
		link_say(l, STR("40"));
	else if (str_starts(text, STR("40")))
		join(l);
	else if (str_starts(text, STR("430")))
		link_ready(l);
	else
		link_refused(l, 0, text);
	return n;
}

static void publish(struct link *l, struct str payload)
{
	struct buf *out = link_text();
	buf_adds(out, STR("42[\"publish\",\""));
	buf_adds(out, payload);
	buf_adds(out, STR("\"]"));
	link_say(l, buf_str(out));
}

const struct dialect dialect_socketio = {
	.name = "socketio",
	.scenarios = 1 << SCENARIO_FANOUT | 1 << SCENARIO_IDLE,
	.upgrade = upgrade,
	.opened = opened,
	.received = received,
	.publish = publish,
};
