/* Rooms under load from many threads, against a naive model.
 *
 * Fifty endpoints on four workers join, leave, signal, publish and end at random. Each keeps a plain
 * copy of every room it is in, made of nothing but what it has heard. All that a room tells one
 * endpoint arrives in the order it happened there: so whenever an answer comes, the copy is the room
 * as it was when the call was handled, and says exactly what the answer must be. In the end, what was
 * to be delivered is compared with what was heard, and the rooms with who is really there.
 *
 * SEED and STEPS (calls of each endpoint) can be given in the environment. */
#include "room_clients.h"

#include <inttypes.h>
#include <stdatomic.h>

enum {
	WORKERS = 4,
	SLOTS = 50,
	ROOMS = 10, /* the first STORED of them are kept */
	STORED = 4,
	USERS = 30,
	IN_FLIGHT = 4,
	ROSTER_MAX = 128,
	KEPT_MESSAGES = 20,
	ID = 24,
};

static int steps = 400;

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

static struct {
	struct actor *now;
	int budget, in_flight;
	unsigned random;
} slots[SLOTS];

static atomic_int violations, serials, finished, total_signals, total_joins;
static atomic_llong numbers;
static struct actor *everybody;
static pthread_mutex_t everybody_lock = PTHREAD_MUTEX_INITIALIZER;
static uv_sem_t all_finished;

#define VIOLATION(...) \
	do { \
		if (atomic_fetch_add(&violations, 1) < 10) { \
			printf("violation (line %d): ", __LINE__); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

static unsigned roll(unsigned *state, unsigned sides)
{
	return (unsigned)rand_r(state) % sides;
}

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
	static const char *const names[ROOMS] = {
		"s-0", "s-1", "s-2", "s-3", "e-4", "e-5", "e-6", "e-7", "e-8", "e-9"};
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
		memset(c, 0, sizeof(*c));
		c->in = true;
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
	if (str_is(reason, "\"overloaded\"")) /* then nothing was done */
		return;
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

/* ---- calls ---- */

static void issue(struct actor *a);
static void end_actor(struct actor *a);

static void on_answer(struct endpoint *e, struct call *c)
{
	struct actor *a = (struct actor *)e;
	struct pending *p = &a->pending[c->tag];
	if (!p->used)
		VIOLATION("answered twice");
	check_answer(a, p, frame_str(c->answer));
	p->used = false;
	slots[a->slot].in_flight--;
	call_free(&c);
	issue(a);
}

static const struct endpoint_ops actor_ops = {on_event, on_answer};

static void choose(struct actor *a, struct pending *p)
{
	static const enum kind often[] = {JOIN, JOIN, JOIN, LEAVE, TO_PEER, TO_PEER, TO_PEER,
		TO_PEER, TO_USER, TO_USER, TO_ROOM, TO_ROOM, PUBLISH, PUBLISH, PUBLISH, STATE,
		PRESENCE};
	*p = (struct pending){.used = true,
		.kind = often[roll(&a->random, sizeof(often) / sizeof(*often))],
		.room = (int)roll(&a->random, ROOMS),
		.user = (int)roll(&a->random, USERS),
		.n = atomic_fetch_add(&numbers, 1) + 1,
		.since = -1};
	const struct copy *c = &a->copies[p->room];
	if (p->kind == JOIN && c->epoch[0] && roll(&a->random, 3)) {
		p->since = c->offset - (int64_t)roll(&a->random, 3) * (int64_t)roll(&a->random, 15);
		p->since = p->since < 0 ? 0 : p->since;
		memcpy(p->epoch, c->epoch, ID);
	}
	unsigned whom = c->count ? roll(&a->random, (unsigned)c->count) : 0;
	memcpy(p->peer, c->count ? c->seen[whom].peer : "AAAAAAAAAAAAAAAAAAAAAA\0", ID);
	if (!roll(&a->random, 20) && c->in)
		memcpy(p->peer, c->self, ID);
}

static void write_params(struct buf *b, const struct actor *a, const struct pending *p)
{
	buf_addf(b, "{\"room\":\"%s\"", room_name(p->room));
	if (p->kind == JOIN || p->kind == STATE)
		buf_addf(b, ",\"state\":%" PRId64, p->n);
	if (p->since >= 0)
		buf_addf(b, ",\"since\":{\"epoch\":\"%s\",\"offset\":%" PRId64 "}", p->epoch,
			p->since);
	if (p->kind == TO_PEER)
		buf_addf(b, ",\"to\":{\"peer\":\"%s\"}", p->peer);
	if (p->kind == TO_USER)
		buf_addf(b, ",\"to\":{\"user\":\"u%d\"}", p->user);
	if (p->kind == TO_ROOM)
		buf_addf(b, ",\"to\":\"room\"");
	if (p->kind == TO_PEER || p->kind == TO_USER || p->kind == TO_ROOM)
		buf_addf(b, ",\"type\":\"x\",\"data\":[%d,%" PRId64 "]", a->serial, p->n);
	if (p->kind == PUBLISH)
		buf_addf(b, ",\"data\":%" PRId64, p->n);
	buf_addc(b, '}');
}

static void send_one(struct actor *a, size_t place)
{
	static const char *const methods[KINDS] = {"room.join", "room.leave", "signal.send",
		"signal.send", "signal.send", "room.publish", "room.state", "room.presence"};
	struct pending *p = &a->pending[place];
	choose(a, p);
	struct buf b = BUF_INIT(4096);
	write_params(&b, a, p);
	struct call *c = NULL;
	struct params_problem problem;
	if (call_new(method_named(methods[p->kind]), a->who, STR("1"), buf_str(&b), &c, &problem))
		abort();
	buf_free(&b);
	c->tag = place;
	slots[a->slot].in_flight++;
	slots[a->slot].budget--;
	call_send(c, &a->endpoint);
}

struct later {
	struct post post;
	struct actor *actor;
};

static void run_later(struct post *p)
{
	struct actor *a = ((struct later *)p)->actor;
	free(p);
	issue(a);
}

static void run_end(struct post *p)
{
	struct actor *a = ((struct later *)p)->actor;
	free(p);
	if (!a->ended)
		end_actor(a);
}

static void post_later(struct actor *a, void (*run)(struct post *))
{
	struct later *l = mem_new(struct later);
	*l = (struct later){{.run = run}, a};
	worker_post(worker_self(), &l->post);
}

/* Sends what it may have in flight: now and then within the answer before, as a session does that
 * has more to read, else in a turn of its own. */
static void issue(struct actor *a)
{
	if (a->ended)
		return;
	if (a->depth == 3 || (a->depth && roll(&a->random, 2))) {
		post_later(a, run_later);
		return;
	}
	a->depth++;
	for (size_t i = 0; i < IN_FLIGHT && slots[a->slot].budget > 0; i++)
		if (!a->pending[i].used)
			send_one(a, i);
	a->depth--;
	if (slots[a->slot].budget > 0 && !roll(&a->random, 60))
		post_later(a, run_end);
	if (slots[a->slot].budget <= 0 && !slots[a->slot].in_flight && slots[a->slot].now == a) {
		slots[a->slot].now = NULL; /* told once */
		if (atomic_fetch_add(&finished, 1) + 1 == SLOTS)
			uv_sem_post(&all_finished);
	}
}

static struct actor *new_actor(int slot)
{
	struct actor *a = mem_new(struct actor);
	char user[ID];
	a->slot = slot;
	a->serial = atomic_fetch_add(&serials, 1);
	a->random = slots[slot].random;
	roll(&slots[slot].random, 2);
	a->user = (int)roll(&a->random, USERS);
	snprintf(user, sizeof(user), "u%d", a->user);
	a->who = principal_new(&(struct principal){
		.user = str_of(user), .name = str_of(user), .scopes = SCOPES_DEFAULT});
	addr_register(&a->endpoint, &actor_ops);
	pthread_mutex_lock(&everybody_lock);
	a->next = everybody;
	everybody = a;
	pthread_mutex_unlock(&everybody_lock);
	slots[slot].now = a;
	return a;
}

/* Abruptly, with calls on their way; another one takes its place. */
static void end_actor(struct actor *a)
{
	if (slots[a->slot].budget <= 0)
		return; /* the last of a slot stay, to be compared */
	a->ended = true;
	addr_release(&a->endpoint, roll(&a->random, 2));
	slots[a->slot].in_flight = 0;
	issue(new_actor(a->slot));
}

static void begin_slot(void *context)
{
	issue(new_actor((int)(intptr_t)context));
}

static void release_actor(void *context)
{
	struct actor *a = context;
	a->ended = true;
	addr_release(&a->endpoint, false);
}

/* ---- in the end ---- */

static int by_receiver(const void *x, const void *y)
{
	const struct delivery *a = x, *b = y;
	int to = strcmp(a->to, b->to);
	if (to)
		return to;
	if (a->from != b->from)
		return (a->from > b->from) - (a->from < b->from);
	return (a->order > b->order) - (a->order < b->order);
}

static int by_place(const void *x, const void *y)
{
	const struct message *a = x, *b = y;
	int epoch = strcmp(a->epoch, b->epoch);
	if (epoch)
		return epoch;
	return (a->offset > b->offset) - (a->offset < b->offset);
}

static int by_peer(const void *x, const void *y)
{
	return strcmp(((const struct owner *)x)->peer, ((const struct owner *)y)->peer);
}

static LIST(struct delivery) all_due, all_heard;
static LIST(struct message) all_messages;
static LIST(struct owner) all_peers;

static void gather_all(void)
{
	for (const struct actor *a = everybody; a; a = a->next) {
		for (size_t i = 0; i < a->due.count; i++)
			LIST_ADD(all_due, a->due.items[i]);
		for (size_t i = 0; i < a->heard.count; i++)
			LIST_ADD(all_heard, a->heard.items[i]);
		for (size_t i = 0; i < a->messages.count; i++)
			LIST_ADD(all_messages, a->messages.items[i]);
		for (size_t i = 0; i < a->peers.count; i++) {
			struct owner o = a->peers.items[i];
			o.ended = a->ended;
			LIST_ADD(all_peers, o);
		}
	}
	qsort(all_due.items, all_due.count, sizeof(*all_due.items), by_receiver);
	qsort(all_heard.items, all_heard.count, sizeof(*all_heard.items), by_receiver);
	qsort(all_messages.items, all_messages.count, sizeof(*all_messages.items), by_place);
	qsort(all_peers.items, all_peers.count, sizeof(*all_peers.items), by_peer);
}

static bool peer_ended(const char *peer)
{
	struct owner key = {.ended = false};
	memcpy(key.peer, peer, ID);
	const struct owner *o =
		bsearch(&key, all_peers.items, all_peers.count, sizeof(key), by_peer);
	return !o || o->ended; /* unknown: it ended before it knew */
}

static bool sender_ended(int serial)
{
	const struct actor *a = everybody;
	while (a->serial != serial)
		a = a->next;
	return a->ended;
}

/* Where the deliveries of the pair at i end. */
static size_t pair_end(const struct delivery *list, size_t count, size_t i)
{
	size_t end = i;
	while (end < count && !strcmp(list[end].to, list[i].to) && list[end].from == list[i].from)
		end++;
	return end;
}

/* One pair's: the same, in the same order. But who has ended may have missed the last ones, and does
 * not know what became of the last ones that it sent. */
static void compare_pair(const struct delivery *due, size_t due_count, const struct delivery *heard,
	size_t heard_count)
{
	for (size_t i = 0; i < due_count && i < heard_count; i++)
		if (due[i].n != heard[i].n) {
			VIOLATION("%s heard %d:%" PRId64 " and not %" PRId64, due[i].to,
				due[i].from, heard[i].n, due[i].n);
			return;
		}
	if (due_count > heard_count && !peer_ended(due[0].to))
		VIOLATION(
			"%s did not hear %d:%" PRId64, due[0].to, due[0].from, due[heard_count].n);
	if (heard_count > due_count && !sender_ended(heard[0].from))
		VIOLATION("%s heard %d:%" PRId64 ", which was not for it", heard[0].to,
			heard[0].from, heard[due_count].n);
}

static int compare_pairs(const struct delivery *a, const struct delivery *b)
{
	int to = strcmp(a->to, b->to);
	return to ? to : (a->from > b->from) - (a->from < b->from);
}

static void compare_deliveries(void)
{
	const struct delivery *due = all_due.items, *heard = all_heard.items;
	for (size_t d = 0, h = 0; d < all_due.count || h < all_heard.count;) {
		size_t d_end = pair_end(due, all_due.count, d);
		size_t h_end = pair_end(heard, all_heard.count, h);
		int order = d == d_end ? 1 : h == h_end ? -1 : compare_pairs(&due[d], &heard[h]);
		if (order < 0)
			h_end = h;
		if (order > 0)
			d_end = d;
		compare_pair(due + d, d_end - d, heard + h, h_end - h);
		d = d_end;
		h = h_end;
	}
}

static void compare_messages(void)
{
	for (size_t i = 1; i < all_messages.count; i++) {
		const struct message *a = &all_messages.items[i - 1], *b = a + 1;
		if (!strcmp(a->epoch, b->epoch) && a->offset == b->offset && a->n != b->n)
			VIOLATION("offset %" PRId64 " is %" PRId64 " and %" PRId64, a->offset, a->n,
				b->n);
	}
}

/* Whether those who think they are in the room, and nobody else, know of each other, and of each pair
 * exactly one gives way. */
static void compare_copies(int room, struct str members)
{
	size_t inside = 0;
	for (struct actor *a = everybody; a; a = a->next) {
		struct copy *mine = &a->copies[room];
		if (a->ended || !mine->in)
			continue;
		inside++;
		for (struct actor *b = everybody; b; b = b->next) {
			struct copy *theirs = &b->copies[room];
			if (b == a || b->ended || !theirs->in)
				continue;
			const struct seen *s = find_seen(mine, theirs->self);
			const struct seen *back = find_seen(theirs, mine->self);
			if (!s || !back || s->state != theirs->own_state || s->user != b->user)
				VIOLATION("%s: %s and %s differ", room_name(room), mine->self,
					theirs->self);
			else if (s->polite == back->polite)
				VIOLATION("both or none give way");
		}
	}
	struct str item;
	size_t listed = 0;
	for (struct json_walk w = json_walk(members); json_next(&w, NULL, &item);)
		listed++;
	for (struct actor *a = everybody; a; a = a->next)
		if (!a->ended && a->copies[room].in && a->copies[room].count + 1 != inside)
			VIOLATION("%s: a ghost, or somebody is unknown", room_name(room));
	if (listed != inside)
		VIOLATION("%s has %zu members; %zu are alive", room_name(room), listed, inside);
}

static void compare_rooms(void)
{
	struct client *auditor = client_new(0, "auditor");
	for (int room = 0; room < ROOMS; room++) {
		struct str p = ask(auditor, "room.presence", "{\"room\":\"%s\"}", room_name(room));
		compare_copies(room, value_at(p, "result.members"));
	}
	client_free(auditor);
}

static void run_all(void)
{
	uv_sem_init(&all_finished, 0);
	for (int i = 0; i < SLOTS; i++)
		on_worker(i % WORKERS, begin_slot, (void *)(intptr_t)i);
	uv_sem_wait(&all_finished);
	uv_sem_destroy(&all_finished);
	let_all_arrive();
}

static void free_everybody(void)
{
	for (struct actor *a = everybody, *next; a; a = next) {
		next = a->next;
		principal_unref(&a->who);
		free(a->due.items);
		free(a->heard.items);
		free(a->messages.items);
		free(a->peers.items);
		free(a);
	}
	free(all_due.items);
	free(all_heard.items);
	free(all_messages.items);
	free(all_peers.items);
}

static void rooms_are_what_everybody_heard_of_them(void **state)
{
	(void)state;
	static const struct str globs[] = {STR("e-*")};
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 1;
	o.history_messages = KEPT_MESSAGES;
	o.room_idle_ms = 20;
	make_folder();
	start_service(&o, WORKERS, "ROOM_GET:*:delay=3");
	struct client *owner = client_new(0, "owner");
	for (int i = 0; i < STORED; i++)
		expect_result(ask(owner, "room.create", "{\"room\":\"%s\"}", room_name(i)));
	client_free(owner);
	run_all();
	compare_rooms();
	gather_all();
	compare_deliveries();
	compare_messages();
	for (struct actor *a = everybody; a; a = a->next)
		if (!a->ended)
			on_worker(a->slot % WORKERS, release_actor, a);
	let_all_arrive();
	assert_int_equal(metric_read(METRIC_MEMBERS), 0);
	stop_service();
	remove_folder();
	printf("%d endpoints, %d joins, %d signals to deliver, %zu heard, %zu messages heard\n",
		serials, total_joins, total_signals, all_heard.count, all_messages.count);
	free_everybody();
	assert_int_equal(violations, 0);
}

int main(void)
{
	const char *given = getenv("SEED"), *given_steps = getenv("STEPS");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	if (given_steps)
		steps = (int)strtol(given_steps, NULL, 10);
	printf("SEED=%u\n", seed);
	fflush(stdout);
	for (int i = 0; i < SLOTS; i++) {
		slots[i].budget = steps;
		slots[i].random = seed * 7919u + (unsigned)i;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rooms_are_what_everybody_heard_of_them)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
