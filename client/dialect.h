/* dialect.h: what is said on the wire, for the load generator. It does sockets, TLS, WebSocket frames,
 * counting and clocks (client/load.h); a dialect says how a connection asks to be let in, gets into its
 * room, publishes and signals, and finds in what comes the payloads that it was all about.
 *
 * A run opens its links. Each connects and, once the server has said 101, is opened(); the dialect then
 * says what it has to and, at the last answer, link_ready(). When all are ready the generator has some
 * of them publish or signal payloads, and the dialect reports each that arrives by link_delivered().
 * What else comes (replies, pings, news of others) is the dialect's to answer or to leave; a refusal it
 * hands to link_refused(), which ends the run.
 *
 * A payload is ASCII without quotes, backslashes or control characters, so that it is what it is in
 * JSON, and it begins with MARK, which nothing else that is said has in it: memchr() finds it.
 *
 * Thread: one, which is the generator's. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum { MARK = '~', LINK_ID_MAX = 96, LINK_ROOM_MAX = 24 };

enum scenario {
	SCENARIO_FANOUT,
	SCENARIO_SIGNAL,
	SCENARIO_HANDSHAKE,
	SCENARIO_IDLE,
	SCENARIO_JOIN
};

enum part {
	PART_MEMBER, /* in a room: what is published there comes */
	PART_CALLER, /* of a pair that signals: in a room of the two, where there are rooms */
	PART_CALLEE,
	PART_GUEST, /* comes and goes: handshakes alone; opened() is not called */
};

enum signal_kind { SIGNAL_OFFER, SIGNAL_ANSWER, SIGNAL_CANDIDATE };

/* One connection, as far as dialects see it. */
struct link {
	unsigned index; /* of all links of the run */
	enum part part;
	bool batch;  /* asks for several messages in one frame, where there is such a thing */
	bool counts; /* waits for join(), and tells link_knows() of everybody in the room */
	char room[LINK_ROOM_MAX]; /* always of the same length: bench-0123abcd-00001 */
	const char *token;        /* NULL: none */
	struct link *other;       /* of a pair; else NULL */

	/* The dialect's own, zero at first. */
	char id[LINK_ID_MAX]; /* what others reach it by */
	unsigned step;
	uint64_t said, heard, acked, bytes;
};

struct dialect {
	const char *name;
	unsigned scenarios; /* 1 << SCENARIO_…, those that it can do */
	bool binary;        /* it says binary frames */
	/* What comes is one stream of bytes, however it is cut into frames: what received() did not
	 * take is shown again, with what comes next behind it. */
	bool stream;

	/* Adds what stands behind "GET " in the request: the target ("/ws?x=1 HTTP/1.1\r\n"), then headers
	 * with their line ends. Host, Upgrade, Connection and Sec-WebSocket-Key and -Version are added
	 * behind them. prefix: the path of the URL that was given, without a / at its end; often empty. */
	void (*upgrade)(struct link *l, struct str prefix, struct buf *out);
	/* Both sides may speak. NULL: it is ready at once. */
	void (*opened)(struct link *l);
	/* One frame, or what there is of the stream; returns how much of it was taken (of a frame: all).
	 * The bytes may be written to, and one more behind them. */
	size_t (*received)(struct link *l, char *bytes, size_t n);
	/* To all in the room, the sender among them if it is a member. */
	void (*publish)(struct link *l, struct str payload);
	/* To l->other, and nobody else. */
	void (*signal)(struct link *l, enum signal_kind kind, struct str payload);
	/* About once a second, while it is open; NULL: there is nothing to do. */
	void (*tick)(struct link *l);
	/* Goes into its room: of links that count. NULL: there is no scenario join. */
	void (*join)(struct link *l);
	/* What somebody can do about a refusal; NULL: nothing is known. status: of HTTP, a close code, or 0. */
	const char *(*advice)(int status, struct str text);
};

/* ---- what the generator does for dialects ---- */

/* Says one frame; it leaves at the end of the turn, with all others of this link in one write. */
void link_say(struct link *l, struct str bytes);
/* An empty buffer to write what is said in; good until the next call of it. */
struct buf *link_text(void);
/* It is where it belongs; its id is set, if others need it. */
void link_ready(struct link *l);
/* A payload has come, from its MARK on to anywhere behind its end. Returns how many bytes of it there are for
 * certain, at least 1: where to go on looking for the next one. */
size_t link_delivered(struct link *l, const char *payload, size_t n);
/* A link that counts has heard that the link of this index is in its room. */
void link_knows(struct link *l, unsigned index);
/* The server does not let it: why, in the server's words. */
void link_refused(struct link *l, int status, struct str text);
