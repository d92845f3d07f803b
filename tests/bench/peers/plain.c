/* plain.c: servers for which a frame is a message and an address a room: nchan and ws. */
#include "core/buf.h"
#include "tests/bench/peers/peers.h"

void peer_delivered(struct link *l, const char *bytes, size_t n)
{
	const char *end = bytes + n, *at = bytes;
	while ((at = memchr(at, MARK, (size_t)(end - at))) != NULL)
		at += link_delivered(l, at, (size_t)(end - at));
}

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	buf_addf(out, STR_FMT "/%s HTTP/1.1\r\n", STR_ARG(prefix), l->room);
}

/* nchan also says in a frame of its own how many have got what was published: that has no MARK. */
static size_t received(struct link *l, char *bytes, size_t n)
{
	peer_delivered(l, bytes, n);
	return n;
}

static void publish(struct link *l, struct str payload)
{
	link_say(l, payload);
}

const struct dialect dialect_nchan = {
	.name = "nchan",
	.scenarios = 1 << SCENARIO_FANOUT | 1 << SCENARIO_IDLE,
	.upgrade = upgrade,
	.received = received,
	.publish = publish,
};

const struct dialect dialect_ws = {
	.name = "ws",
	.scenarios = 1 << SCENARIO_FANOUT | 1 << SCENARIO_IDLE,
	.upgrade = upgrade,
	.received = received,
	.publish = publish,
};
