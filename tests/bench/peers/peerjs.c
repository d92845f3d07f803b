/* peerjs.c: PeerJS's server, as its client library speaks to it: who is there has an id of its own choice,
 * and a message that says `dst` goes to the one of that id. */
#include "core/buf.h"
#include "tests/bench/peers/peers.h"

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	snprintf(l->id, sizeof(l->id), "bench-%s-%08u", l->room, l->index);
	buf_addf(out, STR_FMT "/peerjs?key=peerjs&id=%s&token=bench&version=1.5.4 HTTP/1.1\r\n",
		STR_ARG(prefix), l->id);
}

static void opened(struct link *l)
{
	(void)l; /* {"type":"OPEN"} follows */
}

static size_t received(struct link *l, char *bytes, size_t n)
{
	struct str text = {bytes, n};
	if (str_eq(text, STR("{\"type\":\"OPEN\"}")))
		link_ready(l);
	else if (memchr(bytes, MARK, n))
		peer_delivered(l, bytes, n);
	else
		link_refused(l, 0, text);
	return n;
}

static void say_signal(struct link *l, enum signal_kind kind, struct str payload)
{
	static const char *const types[] = {"OFFER", "ANSWER", "CANDIDATE"};
	struct buf *out = link_text();
	buf_addf(out, "{\"type\":\"%s\",\"payload\":{\"sdp\":\"", types[kind]);
	buf_adds(out, payload);
	buf_addf(out, "\"},\"dst\":\"%s\"}", l->other->id);
	link_say(l, buf_str(out));
}

const struct dialect dialect_peerjs = {
	.name = "peerjs",
	.scenarios = 1 << SCENARIO_SIGNAL | 1 << SCENARIO_IDLE,
	.upgrade = upgrade,
	.opened = opened,
	.received = received,
	.signal = say_signal,
};
