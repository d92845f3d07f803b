#include "client/bench.h"

#include "core/json_scan.h"

#include <inttypes.h>
#include <stdlib.h>

/* docs/PROTOCOL.md, as a client that does what it has to and no more. What it says has a fixed beginning, with an id of nine
 * digits, so that a server that only copies (tests/bench) need not parse it. */

enum step { OPENING, OPEN, JOINING, IN };

enum { FIRST_ID = 100000000, ACK_EACH = 64, ACK_BYTES = 64 * 1024, STATE_DIGITS = 8 };

#define FAILURES "Wait a minute, or set limits.failed_authentications_per_minute to 0."
#define BEGINNING "{\"jsonrpc\":\"2.0\",\""
#define ACK BEGINNING "method\":\"session.ack\""
#define MESSAGE BEGINNING "method\":\"room.message\""
#define SIGNAL BEGINNING "method\":\"signal.received\""

static void upgrade(struct link *l, struct str prefix, struct buf *out)
{
	buf_addf(out, STR_FMT "/ws HTTP/1.1\r\nSec-WebSocket-Protocol: signalbox.v1\r\n",
		STR_ARG(prefix));
	if (l->token)
		buf_addf(out, "Authorization: Bearer %s\r\n", l->token);
}

/* ---- what is said ---- */

static struct buf *request(struct link *l, const char *method)
{
	struct buf *b = link_text();
	buf_addf(b, BEGINNING "id\":%" PRIu64 ",\"method\":\"%s\",\"params\":{",
		FIRST_ID + l->said++, method);
	return b;
}

static void opened(struct link *l)
{
	struct buf *b = request(l, "session.open");
	buf_addf(b, "\"batch\":%s}}", l->batch ? "true" : "false");
	link_say(l, buf_str(b));
}

static void join(struct link *l)
{
	struct buf *b = request(l, "room.join");
	l->step = JOINING;
	buf_addf(b, "\"room\":\"%s\"", l->room);
	if (l->counts)
		buf_addf(b, ",\"state\":\"%c%08x\"", MARK, l->index);
	buf_adds(b, STR("}}"));
	link_say(l, buf_str(b));
}

static void publish(struct link *l, struct str payload)
{
	struct buf *b = request(l, "room.publish");
	buf_addf(b, "\"room\":\"%s\",\"data\":\"", l->room);
	buf_adds(b, payload);
	buf_adds(b, STR("\"}}"));
	link_say(l, buf_str(b));
}

static void send_signal(struct link *l, enum signal_kind kind, struct str payload)
{
	static const char *const types[] = {"offer", "answer", "candidate"};
	struct buf *b = request(l, "signal.send");
	buf_addf(b, "\"room\":\"%s\",\"to\":{\"peer\":\"%s\"},\"type\":\"%s\",\"data\":\"", l->room,
		l->other->id, types[kind]);
	buf_adds(b, payload);
	buf_adds(b, STR("\"}}"));
	link_say(l, buf_str(b));
}

static void acknowledge(struct link *l)
{
	struct buf *b = link_text();
	buf_addf(b, ACK ",\"params\":{\"received\":%" PRIu64 "}}", l->heard);
	l->acked = l->heard;
	l->bytes = 0;
	link_say(l, buf_str(b));
}

/* At the latest after 64 messages, 64 KiB or 5 s. */
static void tick(struct link *l)
{
	if (l->heard > l->acked)
		acknowledge(l);
}

/* ---- what comes ---- */

/* A text without its quotes; what is escaped in it stays so. */
static struct str inner(struct str text)
{
	bool quoted = text.n >= 2 && json_kind(text) == JSON_STRING;
	return quoted ? (struct str){text.p + 1, text.n - 2} : text;
}

static void on_refusal(struct link *l, struct str message)
{
	struct str error, text = message, data, reason = {0};
	char all[1024];
	if (json_get(message, "error", &error)) {
		json_get(error, "message", &text);
		if (json_get(error, "data", &data))
			json_get(data, "reason", &reason);
	}
	int n = snprintf(all, sizeof(all), STR_FMT " (" STR_FMT ")", STR_ARG(inner(text)),
		STR_ARG(inner(reason)));
	link_refused(l, 0, (struct str){all, n < (int)sizeof(all) ? (size_t)n : sizeof(all) - 1});
}

/* Those in the room, by the state that each came with. */
static void on_members(struct link *l, struct str message)
{
	static const struct str state = {"\"state\":\"~", 10};
	const char *end = message.p + message.n, *at = message.p;
	while ((at = memmem(at, (size_t)(end - at), state.p, state.n))) {
		at += state.n;
		if (end - at > STATE_DIGITS)
			link_knows(l, (unsigned)strtoul(at, NULL, 16));
	}
}

static void on_more_members(struct link *l, struct str result)
{
	struct str cursor;
	if (!json_get(result, "members_cursor", &cursor) || json_kind(cursor) != JSON_STRING)
		return;
	struct buf *b = request(l, "room.presence");
	buf_addf(b, "\"room\":\"%s\",\"cursor\":" STR_FMT "}}", l->room, STR_ARG(cursor));
	link_say(l, buf_str(b));
}

static void on_joined(struct link *l, struct str result)
{
	struct str peer;
	if (json_get(result, "peer", &peer) && peer.n > 2 && peer.n - 2 < LINK_ID_MAX)
		memcpy(l->id, peer.p + 1, peer.n - 2);
	l->step = IN;
	if (l->counts)
		link_knows(l, l->index);
	link_ready(l);
}

static void on_result(struct link *l, struct str result)
{
	if (l->step == OPENING) {
		l->step = OPEN;
		l->heard = l->bytes = 0; /* this one does not count */
		if (l->counts)
			link_ready(l);
		else
			join(l);
	} else if (l->step == JOINING) {
		on_joined(l, result);
	}
	if (l->counts)
		on_more_members(l, result);
}

/* A message that is no payload. */
static void on_other(struct link *l, struct str message)
{
	struct str value;
	if (l->counts)
		on_members(l, message);
	if (message.n < sizeof(BEGINNING) || message.p[sizeof(BEGINNING) - 1] != 'i')
		return;
	bool quick = l->step == IN && !l->counts && message.n > 50 &&
		memcmp(message.p + 31, ",\"result\"", 9) == 0;
	if (quick)
		return;
	if (json_get(message, "result", &value))
		on_result(l, value);
	else
		on_refusal(l, message);
}

/* Where the next message of an array begins, at or behind p; end: there is none. */
static char *next_beginning(char *p, char *end)
{
	while (p < end && (p = memchr(p, '{', (size_t)(end - p)))) {
		if ((size_t)(end - p) >= sizeof(BEGINNING) - 1 &&
			memcmp(p, BEGINNING, sizeof(BEGINNING) - 1) == 0)
			return p;
		p++;
	}
	return end;
}

/* The payload of the message at p; NULL: it has none. */
static char *payload_of(char *p, char *end)
{
	static const char before[] = "\"data\":\"";
	char *at = p + sizeof(before);
	while (at < end && (at = memchr(at, MARK, (size_t)(end - at)))) {
		if (memcmp(at - (sizeof(before) - 1), before, sizeof(before) - 1) == 0)
			return at;
		at++;
	}
	return NULL;
}

static bool begins(const char *p, const char *end, const char *with, size_t n)
{
	return (size_t)(end - p) > n && memcmp(p, with, n) == 0;
}

/* One message, or an array of them: each is looked at just as far as it takes to know what it is, and the payload is
 * not looked at. */
static size_t received(struct link *l, char *bytes, size_t n)
{
	char *end = bytes + n, *p = next_beginning(bytes, end), *payload, *next;
	l->bytes += n;
	for (; p < end; p = next) {
		bool event = begins(p, end, MESSAGE, sizeof(MESSAGE) - 1) ||
			begins(p, end, SIGNAL, sizeof(SIGNAL) - 1);
		l->heard += !begins(p, end, ACK, sizeof(ACK) - 1);
		if (event && (payload = payload_of(p, end))) {
			size_t known = link_delivered(l, payload, (size_t)(end - payload));
			next = next_beginning(payload + known, end);
		} else {
			next = next_beginning(p + 1, end);
			size_t length = (size_t)(next - p);
			while (length && p[length - 1] != '}')
				length--;
			on_other(l, (struct str){p, length});
		}
	}
	if (l->heard - l->acked >= ACK_EACH || l->bytes >= ACK_BYTES)
		acknowledge(l);
	return n;
}

/* ---- what can be done about it ---- */

static const char *advice(int status, struct str text)
{
	static const struct {
		const char *word, *advice;
	} rows[] = {
		{"too_many_requests",
			"Raise limits.requests_per_second and limits.requests_burst for the time "
			"of the measurement, or ask for less with --rate."},
		{"too_many_joins", "Raise limits.joins_per_second and limits.joins_burst."},
		{"too_many_in_flight",
			"Raise limits.requests_in_flight, or let fewer be outstanding."},
		{"too_many_sessions",
			"Raise limits.sessions_per_user, or bring tokens of more users (--users, "
			"--tokens)."},
		{"(unauthenticated)", "It wants tokens: --data DIR or --tokens FILE."},
		{"too_many_failures",
			"Tokens were not valid; wait a minute, or set "
			"limits.failed_authentications_per_minute to 0."},
		{"room_full", "Raise limits.members_per_room."},
		{"in a short time", "Raise limits.handshakes_per_second, or set it to 0."},
		{"Too many connections",
			"Raise limits.connections_per_address and "
			"limits.unopened_per_address, or set them to 0."},
		{"rooms:create", "The token needs the scopes rooms:join and rooms:create."},
		{"slow",
			"It could not read fast enough: fewer connections or a faster machine for "
			"this side, or raise limits.outbound_queue."},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (memmem(text.p, text.n, rows[i].word, strlen(rows[i].word)))
			return rows[i].advice;
	if (status == 401 || status == 3000 || status == 4001)
		return "The token is not valid there, or too old: signalbox token verify --explain "
		       "says why.";
	if (status == 429)
		return "A limit of an address: see limits.connections_per_address, "
		       "limits.unopened_per_address and limits.handshakes_per_second.";
	return NULL;
}

const struct dialect dialect_signalbox = {
	.name = "signalbox",
	.scenarios = 1 << SCENARIO_FANOUT | 1 << SCENARIO_SIGNAL | 1 << SCENARIO_HANDSHAKE |
		1 << SCENARIO_IDLE | 1 << SCENARIO_JOIN,
	.upgrade = upgrade,
	.opened = opened,
	.received = received,
	.publish = publish,
	.signal = send_signal,
	.tick = tick,
	.join = join,
	.advice = advice,
};
