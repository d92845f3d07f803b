/* Rooms under load from many threads, against a naive model (room_model.h).
 *
 * Fifty endpoints on four workers join, leave, signal, publish and end at random; every answer and
 * event is compared with the model as it comes. In the end, what was to be delivered is compared with
 * what was heard, and the rooms with who is really there.
 *
 * SEED and STEPS (calls of each endpoint) can be given in the environment. */
#include "room_model.h"

enum {
	WORKERS = 4,
	SLOTS = 50,
	FEW_CALLS = 40, /* so that workers are overloaded, too */
	BUSY = 8,   /* everybody is in these now and then; each of the others has few visitors, */
	STORED = 2, /* and is empty again and again: so are loaded; every STORED-th room is kept */
};

static int steps = 400;

static struct {
	struct actor *now;
	int budget, in_flight;
	unsigned random;
} slots[SLOTS];

static atomic_int serials, finished;
static atomic_llong numbers;
static struct actor *everybody;
static pthread_mutex_t everybody_lock = PTHREAD_MUTEX_INITIALIZER;
static uv_sem_t all_finished;

static unsigned roll(unsigned *state, unsigned sides)
{
	return (unsigned)rand_r(state) % sides;
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

static const struct endpoint_ops actor_ops = {.event = on_event, .answer = on_answer};

static void choose(struct actor *a, struct pending *p)
{
	static const enum kind often[] = {JOIN, JOIN, JOIN, LEAVE, LEAVE, TO_PEER, TO_PEER, TO_PEER,
		TO_PEER, TO_USER, TO_USER, TO_ROOM, TO_ROOM, PUBLISH, PUBLISH, PUBLISH, STATE,
		PRESENCE};
	*p = (struct pending){.used = true,
		.kind = often[roll(&a->random, sizeof(often) / sizeof(*often))],
		.room = (int)roll(&a->random, BUSY),
		.user = (int)roll(&a->random, USERS),
		.n = atomic_fetch_add(&numbers, 1) + 1,
		.since = -1};
	if (!roll(&a->random, 3)) {
		p->room = BUSY + a->slot % (ROOMS - BUSY);
		p->kind = roll(&a->random, 3) ? p->kind : LEAVE;
	}
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
	let_all_be_told();
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
	o.room_idle_ms = 1;
	o.rooms_per_session = ROOMS + IN_FLIGHT; /* a place not given back will be missed */
	make_folder();
	start_service(&o, WORKERS, "ROOM_GET:*:delay=3");
	struct client *owner = client_new(0, "owner");
	for (int i = 0; i < ROOMS; i += STORED)
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
	assert_true(
		metric_read(METRIC_CALLS_OVERLOADED) >= overloads); /* some had left meanwhile */
	stop_service();
	remove_folder();
	printf("%d endpoints, %d joins, %d calls refused by load, %d signals to deliver, %zu "
	       "heard, %zu messages heard\n",
		serials, total_joins, overloads, total_signals, all_heard.count,
		all_messages.count);
	free_everybody();
	assert_int_equal(violations, 0);
}

int main(void)
{
	const char *given = getenv("SEED"), *given_steps = getenv("STEPS");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	if (given_steps)
		steps = (int)strtol(given_steps, NULL, 10);
	if (seed % 2)
		service_calls_max = FEW_CALLS;
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
