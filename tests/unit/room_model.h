/* room_model.h: the naive model of rooms that tests/unit/test_threads_rooms.c holds them against: each
 * actor's plain copy of every room it is in, made of nothing but what it has heard.
 *
 * All that a room tells one endpoint arrives in the order it happened there: so whenever an answer
 * comes, the copy is the room as it was when the call was handled, and says exactly what the answer
 * must be. An actor lives on one worker and is touched by that thread only. */
#pragma once

#include "room_clients.h"

#include <inttypes.h>
#include <stdatomic.h>

enum {
	ROOMS = 16,
	USERS = 30,
	IN_FLIGHT = 4,
	ROSTER_MAX = 128,
	KEPT_MESSAGES = 20, /* by the history of a room */
	ID = 24,
};

/* ---- what is recorded ---- */

struct seen { /* another member, as a copy of a room knows it */
	char peer[ID];
	int user;
	int64_t state;
	bool polite;
};

struct copy { /* of one room */
	bool in;
	char self[ID], epoch[ID];
	int64_t offset, own_state;
	int64_t answered; /* the last call */
	size_t count;
	struct seen seen[ROSTER_MAX];
};

struct delivery { /* of a signal: one that had to be, or one that was */
	char to[ID];
	int from;
	int64_t n, order;
};

struct message { /* of a room, as somebody heard it */
	int room;
	char epoch[ID];
	int64_t offset, n;
};

struct owner { /* of a peer */
	char peer[ID];
	bool ended;
};

#define LIST(type) \
	struct { \
		type *items; \
		size_t count, size; \
	}

#define LIST_ADD(list, ...) \
	do { \
		if ((list).count == (list).size) { \
			(list).size = (list).size ? 2 * (list).size : 64; \
			(list).items = \
				mem_resize((list).items, (list).size, sizeof(*(list).items)); \
		} \
		(list).items[(list).count++] = __VA_ARGS__; \
	} while (0)

enum kind { JOIN, LEAVE, TO_PEER, TO_USER, TO_ROOM, PUBLISH, STATE, PRESENCE, KINDS };

struct pending {
	bool used;
	enum kind kind;
	int room, user;
	int64_t n, since;
	char peer[ID], epoch[ID];
};

struct actor {
	struct endpoint endpoint;
	int serial, user, slot;
	bool ended;
	unsigned random;
	unsigned depth;
	struct principal *who;
	struct copy copies[ROOMS];
	struct pending pending[IN_FLIGHT];
	LIST(struct delivery) due, heard;
	LIST(struct message) messages;
	LIST(struct owner) peers;
	struct actor *next; /* of all that ever were */
};

static atomic_int violations, total_signals, total_joins, overloads;

#define VIOLATION(...) \
	do { \
		if (atomic_fetch_add(&violations, 1) < 10) { \
			printf("violation (line %d): ", __LINE__); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

/* ---- reading what came ---- */

static int64_t int_at(struct str text, const char *path)
{
	int64_t n = 0;
	struct str v = value_at(text, path);
	return json_decode_int(v, &n) ? 0 : n;
}

static void text_into(char *out, struct str text, const char *path)
{
	struct str v = value_at(text, path);
	size_t n = v.n >= 2 && v.n - 2 < ID ? v.n - 2 : 0;
	memcpy(out, v.p + (n ? 1 : 0), n);
	out[n] = 0;
}

/* "u12" → 12, "e-3" or "s-3" → 3 */
static int number_of(struct str text, const char *path, size_t skip)
{
	char word[ID];
	text_into(word, text, path);
	return strlen(word) > skip ? (int)strtol(word + skip, NULL, 10) : -1;
}

static const char *room_name(int room)
{
	static const char *const names[ROOMS] = {"s-0", "e-1", "s-2", "e-3", "s-4", "e-5", "s-6",
		"e-7", "s-8", "e-9", "s-10", "e-11", "s-12", "e-13", "s-14", "e-15"};
	return names[room];
}

static struct seen entry_of(struct str m)
{
	struct seen s = {.user = number_of(m, "user", 1),
		.state = int_at(m, "state"),
		.polite = str_is(value_at(m, "polite"), "true")};
	text_into(s.peer, m, "peer");
	return s;
}

static struct seen *find_seen(struct copy *c, const char *peer)
{
	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(c->seen[i].peer, peer))
			return &c->seen[i];
	return NULL;
}

/* ---- events ---- */

static void on_joined(struct copy *c, struct str params)
{
	struct str item;
	for (struct json_walk w = json_walk(value_at(params, "members"));
		json_next(&w, NULL, &item);) {
		struct seen s = entry_of(item);
		if (find_seen(c, s.peer) || s.polite || c->count == ROSTER_MAX)
			VIOLATION("joined twice, or polite: " STR_FMT, STR_ARG(params));
		else
			c->seen[c->count++] = s;
	}
}

static void on_left(struct copy *c, struct str params)
{
	char peer[ID];
	text_into(peer, params, "peer");
	struct seen *s = find_seen(c, peer);
	if (s)
		*s = c->seen[--c->count];
	else
		VIOLATION("left, but was not there: " STR_FMT, STR_ARG(params));
}

static void on_updated(struct copy *c, struct str params)
{
	char peer[ID];
	text_into(peer, params, "peer");
	struct seen *s = find_seen(c, peer);
	if (s)
		s->state = int_at(params, "changes.state");
	else
		VIOLATION("updated, but is not there: " STR_FMT, STR_ARG(params));
}

static void on_message(struct actor *a, int room, struct copy *c, struct str params)
{
	struct message m = {
		.room = room, .offset = int_at(params, "offset"), .n = int_at(params, "data")};
	text_into(m.epoch, params, "epoch");
	if (strcmp(m.epoch, c->epoch) != 0 || m.offset != c->offset + 1)
		VIOLATION("offset %" PRId64 " after %" PRId64, m.offset, c->offset);
	c->offset = m.offset;
	LIST_ADD(a->messages, m);
}

static void on_signal(struct actor *a, struct copy *c, struct str params)
{
	struct delivery d = {.from = (int)int_at(params, "data.0"),
		.n = int_at(params, "data.1"),
		.order = (int64_t)a->heard.count};
	memcpy(d.to, c->self, ID);
	char peer[ID];
	text_into(peer, params, "from.peer");
	if (!find_seen(c, peer) && strcmp(peer, c->self) != 0)
		VIOLATION("a signal of somebody who is not there: " STR_FMT, STR_ARG(params));
	LIST_ADD(a->heard, d);
}

static void on_event(struct endpoint *e, struct frame *f)
{
	struct actor *a = (struct actor *)e;
	struct str text = frame_str(f), params = value_at(text, "params");
	struct str method = value_at(text, "method");
	int room = number_of(params, "room", 2);
	struct copy *c = &a->copies[room];
	if (!c->in)
		VIOLATION("told of a room it is not in: " STR_FMT, STR_ARG(text));
	else if (str_is(method, "\"room.joined\""))
		on_joined(c, params);
	else if (str_is(method, "\"room.left\""))
		on_left(c, params);
	else if (str_is(method, "\"room.updated\""))
		on_updated(c, params);
	else if (str_is(method, "\"room.message\""))
		on_message(a, room, c, params);
	else if (str_is(method, "\"signal.received\""))
		on_signal(a, c, params);
	else
		VIOLATION("heard " STR_FMT, STR_ARG(text));
	frame_unref(&f);
}

/* ---- answers: what the copy says they must be ---- */

static void compare_roster(struct copy *c, struct str members)
{
	size_t count = 0;
	struct str item;
	for (struct json_walk w = json_walk(members); json_next(&w, NULL, &item); count++) {
		struct seen s = entry_of(item), *known = find_seen(c, s.peer);
		if (!known || known->user != s.user || known->state != s.state ||
			known->polite != s.polite)
			VIOLATION("the roster says " STR_FMT, STR_ARG(item));
	}
	if (count != c->count)
		VIOLATION("%zu in the roster, %zu were told of", count, c->count);
}

/* What was missed: all of it, when the room still holds it, or nothing. */
static void check_recovery(struct actor *a, const struct pending *p, struct str result)
{
	struct message m = {.room = p->room};
	text_into(m.epoch, result, "epoch");
	int64_t top = int_at(result, "offset");
	bool want = p->since >= 0 && !strcmp(p->epoch, m.epoch) && p->since <= top &&
		top - p->since <= KEPT_MESSAGES;
	if (str_is(value_at(result, "recovered"), "true") != want)
		VIOLATION("recovery from %" PRId64 " of %" PRId64 ": not %d", p->since, top, want);
	struct str item;
	m.offset = p->since;
	for (struct json_walk w = json_walk(value_at(result, "messages"));
		json_next(&w, NULL, &item);) {
		m.n = int_at(item, "data");
		if (!want || int_at(item, "offset") != ++m.offset)
			VIOLATION("recovered " STR_FMT, STR_ARG(item));
		LIST_ADD(a->messages, m);
	}
	if (want && m.offset != top)
		VIOLATION("recovered up to %" PRId64 " of %" PRId64, m.offset, top);
}

static void after_join(struct actor *a, const struct pending *p, struct copy *c, struct str result)
{
	struct str members = value_at(result, "members"), item;
	char self[ID];
	text_into(self, result, "peer");
	check_recovery(a, p, result);
	if (c->in) {
		compare_roster(c, members);
		if (strcmp(self, c->self) != 0)
			VIOLATION("joined again as another peer");
		if (int_at(result, "offset") != c->offset)
			VIOLATION("joined again at another offset");
	} else {
		*c = (struct copy){.in = true, .answered = p->n};
		memcpy(c->self, self, ID);
		text_into(c->epoch, result, "epoch");
		c->offset = int_at(result, "offset");
		for (struct json_walk w = json_walk(members);
			json_next(&w, NULL, &item) && c->count < ROSTER_MAX;) {
			c->seen[c->count] = entry_of(item);
			if (!c->seen[c->count++].polite)
				VIOLATION("the later one is not polite: " STR_FMT, STR_ARG(item));
		}
		struct owner o = {.ended = false};
		memcpy(o.peer, self, ID);
		LIST_ADD(a->peers, o);
		atomic_fetch_add(&total_joins, 1);
	}
	c->own_state = p->n;
}

static void due(struct actor *a, const char *to, int64_t n)
{
	struct delivery d = {.from = a->serial, .n = n, .order = n};
	memcpy(d.to, to, ID);
	LIST_ADD(a->due, d);
}

static void after_signal(
	struct actor *a, const struct pending *p, struct copy *c, bool ok, struct str answer)
{
	size_t want = 0;
	for (size_t i = 0; c->in && i < c->count; i++) {
		const struct seen *s = &c->seen[i];
		if (p->kind == TO_ROOM || (p->kind == TO_USER && s->user == p->user) ||
			(p->kind == TO_PEER && !strcmp(s->peer, p->peer))) {
			due(a, s->peer, p->n);
			want++;
		}
	}
	if (c->in && p->kind == TO_PEER && !strcmp(c->self, p->peer)) {
		due(a, c->self, p->n);
		want++;
	}
	if (ok != (c->in && (want || p->kind == TO_ROOM)))
		VIOLATION("%zu to reach, but " STR_FMT, want, STR_ARG(answer));
	if (ok && int_at(answer, "result.queued") != (int64_t)want)
		VIOLATION("%zu to reach, but " STR_FMT, want, STR_ARG(answer));
	atomic_fetch_add(&total_signals, (int)want);
}

static void after_publish(struct actor *a, const struct pending *p, int64_t offset)
{
	for (size_t i = a->messages.count; i-- > 0;) {
		const struct message *m = &a->messages.items[i];
		if (m->room != p->room || m->n != p->n)
			continue;
		if (m->offset != offset)
			VIOLATION("published at %" PRId64 ", heard at %" PRId64, offset, m->offset);
		return;
	}
	VIOLATION("did not hear its own message");
}

static void check_answer(struct actor *a, const struct pending *p, struct str answer)
{
	struct copy *c = &a->copies[p->room];
	struct str result = value_at(answer, "result"),
		   reason = value_at(answer, "error.data.reason");
	bool ok = result.n > 0;
	if (str_is(reason, "\"overloaded\"")) { /* then nothing was done */
		atomic_fetch_add(&overloads, 1);
		return;
	}
	if (p->n <= c->answered)
		VIOLATION("%" PRId64 " is answered after %" PRId64, p->n, c->answered);
	c->answered = p->n;
	if (p->kind == TO_PEER || p->kind == TO_USER || p->kind == TO_ROOM) {
		after_signal(a, p, c, ok, answer);
	} else if (p->kind == JOIN || p->kind == LEAVE) {
		if (!ok)
			VIOLATION("refused: " STR_FMT, STR_ARG(answer));
		else if (p->kind == JOIN)
			after_join(a, p, c, result);
		else
			c->in = false;
	} else if (c->in) {
		if (!ok)
			VIOLATION("refused: " STR_FMT, STR_ARG(answer));
		else if (p->kind == STATE)
			c->own_state = p->n;
		else if (p->kind == PUBLISH)
			after_publish(a, p, int_at(result, "offset"));
		else
			compare_roster(c, value_at(result, "members"));
	} else if (p->kind == STATE && ok) {
		VIOLATION("set its state in a room it is not in");
	}
}
