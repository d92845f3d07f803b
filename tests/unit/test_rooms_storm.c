/* Rosters of large rooms, which are told together: whatever happens, each member knows in the end just
 * who is there and how, was never told what it knew, and got no more messages than it may.
 *
 * Each client's view is made of nothing but what it heard, in the order it heard it.
 * SEED and ROUNDS can be given in the environment. */
#include "room_clients.h"

#include "signaling/announce.h"

enum {
	CLIENTS = 40,
	MERGE_ABOVE = 4,
	WORKERS = 3,
	ID = 24,
	KINDS = 3,         /* messages of one telling, at most */
	CONNECTED_BIT = 1, /* of what is compared of a member */
	POLITE_BIT = 2,
};

static const struct str globs[] = {STR("e-*")};
static unsigned seed;
static int rounds = 25;

static unsigned roll(unsigned sides)
{
	return (unsigned)rand_r(&seed) % sides;
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- what a client knows ---- */

struct known {
	char peer[ID];
	unsigned flags;
	char *state;
};

struct watcher {
	struct client *client;
	bool in, away;

	uint64_t last_leave;
	char self[ID];
	struct known known[CLIENTS];
	size_t count;
	size_t messages; /* about the roster, since counted last */
	size_t largest;
};

static struct watcher all[CLIENTS];
static struct client *auditor;

static struct known *find(struct watcher *w, const char *peer)
{
	for (size_t i = 0; i < w->count; i++)
		if (!strcmp(w->known[i].peer, peer))
			return &w->known[i];
	return NULL;
}

static void peer_into(char *out, struct str object)
{
	struct str v = value_at(object, "peer");
	assert_true(v.n >= 2 && v.n - 2 < ID);
	memcpy(out, v.p + 1, v.n - 2);
	out[v.n - 2] = 0;
}

static void set_state(struct known *k, struct str state)
{
	free(k->state);
	k->state = mem_copy(state);
}

static void learn(struct watcher *w, struct str entry)
{
	char peer[ID];
	peer_into(peer, entry);
	if (find(w, peer) || !strcmp(peer, w->self))
		fail_msg("told of who was known: " STR_FMT, STR_ARG(entry));
	struct known *k = &w->known[w->count++];
	*k = (struct known){
		.flags = (str_is(value_at(entry, "connected"), "true") ? CONNECTED_BIT : 0u) |
			(str_is(value_at(entry, "polite"), "true") ? POLITE_BIT : 0u)};
	memcpy(k->peer, peer, ID);
	set_state(k, value_at(entry, "state"));
}

static void unlearn(struct watcher *w, struct str entry)
{
	char peer[ID];
	peer_into(peer, entry);
	struct known *k = find(w, peer);
	if (!k)
		fail_msg("left, but was not there: " STR_FMT, STR_ARG(entry));
	free(k->state);
	*k = w->known[--w->count];
}

static void change(struct watcher *w, struct str entry, bool alone)
{
	char peer[ID];
	struct str state = value_at(entry, "changes.state"),
		   connected = value_at(entry, "changes.connected");
	peer_into(peer, entry);
	struct known *k = find(w, peer);
	if (!state.n && !connected.n)
		fail_msg("no change: " STR_FMT, STR_ARG(entry));
	if (!k && !alone && !strcmp(peer, w->self))
		return; /* its own, among others */
	if (!k)
		fail_msg("changed, but is not there: " STR_FMT, STR_ARG(entry));
	if (state.n)
		set_state(k, state);
	if (connected.n)
		k->flags = (k->flags & ~(unsigned)CONNECTED_BIT) |
			(str_is(connected, "true") ? CONNECTED_BIT : 0u);
}

static void forget_all(struct watcher *w)
{
	while (w->count)
		free(w->known[--w->count].state);
}

static void take_event(struct watcher *w, struct str text)
{
	struct str params = value_at(text, "params"), members = value_at(params, "members"), entry;
	struct str method = value_at(text, "method");
	bool many = members.n > 0;
	w->messages++;
	w->largest = text.n > w->largest ? text.n : w->largest;
	if (many && length_at(params, "members") < (str_is(method, "\"room.joined\"") ? 1 : 2))
		fail_msg("many of one: " STR_FMT, STR_ARG(text));
	struct json_walk walk = json_walk(members);
	for (bool more = true; more && w->in;) {
		more = many && json_next(&walk, NULL, &entry);
		if (many && !more)
			break;
		if (str_is(method, "\"room.joined\""))
			learn(w, entry);
		else if (str_is(method, "\"room.left\""))
			unlearn(w, many ? entry : params);
		else if (str_is(method, "\"room.updated\""))
			change(w, many ? entry : params, !many);
		else
			fail_msg("heard " STR_FMT, STR_ARG(text));
	}
}

/* Of what was asked for, only joins and leaves change what it knows. */
static void take_answer(struct watcher *w, uint64_t tag, struct str text)
{
	struct str members = value_at(text, "result.members"), entry;
	if (members.n) {
		forget_all(w);
		w->in = true;
		peer_into(w->self, value_at(text, "result"));
		for (struct json_walk walk = json_walk(members); json_next(&walk, NULL, &entry);)
			learn(w, entry);
	} else if (tag == w->last_leave) {
		forget_all(w);
		w->in = false;
	}
}

static void hear_all(struct watcher *w)
{
	pthread_mutex_lock(&w->client->lock);
	struct heard *h = w->client->first;
	w->client->first = NULL;
	w->client->last = &w->client->first;
	pthread_mutex_unlock(&w->client->lock);
	for (struct heard *next; h; h = next) {
		next = h->next;
		if (h->is_answer)
			take_answer(w, h->tag, h->text);
		else
			take_event(w, h->text);
		free((char *)(uintptr_t)h->text.p);
		free(h);
	}
}

/* ---- the truth ---- */

static size_t place_of(struct str members, const char *peer)
{
	struct str entry;
	char other[ID];
	size_t i = 0;
	for (struct json_walk walk = json_walk(members); json_next(&walk, NULL, &entry); i++) {
		peer_into(other, entry);
		if (!strcmp(other, peer))
			return i;
	}
	fail_msg("%s is not in the roster", peer);
	return 0;
}

static void compare(struct watcher *w, struct str members)
{
	struct str entry;
	char peer[ID];
	size_t self = place_of(members, w->self), i = 0;
	if (w->count + 1 != length_at(members, ""))
		fail_msg("%zu are known to %s, %zu are there", w->count + 1, w->self,
			length_at(members, ""));
	for (struct json_walk walk = json_walk(members); json_next(&walk, NULL, &entry); i++) {
		peer_into(peer, entry);
		const struct known *k = i == self ? NULL : find(w, peer);
		if (i == self)
			continue;
		if (!k)
			fail_msg("%s does not know of %s", w->self, peer);
		expect_at(entry, "state", k->state);
		expect_at(entry, "connected", k->flags & CONNECTED_BIT ? "true" : "false");
		assert_int_equal(!!(k->flags & POLITE_BIT), i < self);
	}
}

static size_t compare_all(void)
{
	let_all_arrive();
	ask(auditor, "room.presence", "{\"room\":\"e-1\"}"); /* behind what waits for the store */
	let_all_be_told();
	struct str p = ask(auditor, "room.presence", "{\"room\":\"e-1\"}");
	struct str members = value_at(p, "result.members");
	size_t inside = 0;
	for (int i = 0; i < CLIENTS; i++) {
		hear_all(&all[i]);
		if (all[i].in)
			compare(&all[i], members);
		inside += all[i].in;
	}
	assert_int_equal(inside, length_at(members, ""));
	return inside;
}

/* ---- what happens ---- */

static void start(size_t merge_above, size_t state_max)
{
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 1;
	o.roster_merge_above = merge_above;
	o.state_max = state_max;
	start_service(&o, WORKERS, NULL);
	for (int i = 0; i < CLIENTS; i++)
		all[i] = (struct watcher){.client = client_new(i % WORKERS, "somebody")};
	auditor = client_new(0, "auditor");
}

static void stop(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		forget_all(&all[i]);
		client_free(all[i].client);
	}
	client_free(auditor);
	stop_service();
	remove_db();
}

static void lose_connection(void *context)
{
	addr_connected(&((struct client *)context)->endpoint, false);
}

static void find_connection(void *context)
{
	addr_connected(&((struct client *)context)->endpoint, true);
}

static void replace(struct watcher *w)
{
	client_end(w->client, roll(2));
	let_all_arrive();
	hear_all(w);
	forget_all(w);
	client_free(w->client);
	*w = (struct watcher){.client = client_new((int)roll(WORKERS), "another")};
}

static void something_happens(struct watcher *w)
{
	unsigned what = roll(20);
	if (what < 8) {
		if (roll(2))
			send_call(w->client, "room.join", "{\"room\":\"e-1\"}");
		else
			send_call(w->client, "room.join", "{\"room\":\"e-1\",\"state\":%u}",
				roll(99));
	} else if (what < 11) {
		w->last_leave = send_call(w->client, "room.leave", "{\"room\":\"e-1\"}");
		let_all_arrive(); /* which leave is the last is then known */
		hear_all(w);
	} else if (what < 16) {
		send_call(w->client, "room.state", "{\"room\":\"e-1\",\"state\":%u}", roll(99));
	} else if (what < 19) {
		on_worker(
			w->client->worker, w->away ? find_connection : lose_connection, w->client);
		w->away = !w->away;
	} else {
		replace(w);
	}
}

static void each_knows_in_the_end_who_is_there(void **state)
{
	(void)state;
	start(MERGE_ABOVE, 4096);
	size_t most = 0, told = 0;
	for (int round = 0; round < rounds; round++) {
		unsigned among = 1 + roll(CLIENTS), steps = roll(200);
		while (steps--)
			something_happens(&all[roll(among)]);
		if (roll(3))
			usleep(1000 * roll(400)); /* so that the timer tells some of it */
		size_t inside = compare_all();
		most = inside > most ? inside : most;
	}
	for (int i = 0; i < CLIENTS; i++)
		told += all[i].messages;
	assert_true(most > MERGE_ABOVE);
	assert_true(metric_read(METRIC_ROSTER_MERGED) > 0);
	printf("%zu members at most, %zu messages of the last to be client, %lld changes merged\n",
		most, told, (long long)metric_read(METRIC_ROSTER_MERGED));
	stop();
}

static void join_all(int from, int to)
{
	for (int i = from; i < to; i++)
		send_call(all[i].client, "room.join", "{\"room\":\"e-1\"}");
}

/* All the time something, for a second: each telling has its pause, whatever it is about. */
static void nobody_gets_more_than_it_may(void **state)
{
	(void)state;
	start(MERGE_ABOVE, 4096);
	join_all(0, CLIENTS / 2);
	compare_all();
	for (int i = 0; i < CLIENTS; i++)
		all[i].messages = 0;
	int64_t begin = now_ms();
	for (int step = 0; now_ms() - begin < 1500; step++) {
		struct watcher *w = &all[CLIENTS / 2 + step % (CLIENTS / 2)];
		send_call(all[step % 5].client, "room.state", "{\"room\":\"e-1\",\"state\":%d}",
			step);
		send_call(w->client, "room.join", "{\"room\":\"e-1\"}");
		if (roll(2))
			w->last_leave = send_call(w->client, "room.leave", "{\"room\":\"e-1\"}");
		let_all_arrive();
		hear_all(w);
	}
	int64_t took = now_ms() - begin;
	for (int i = 0; i < CLIENTS / 2; i++) {
		hear_all(&all[i]);
		assert_true(all[i].messages > 0);
		assert_true((int64_t)all[i].messages <= took / ANNOUNCE_PAUSE_MS + KINDS);
	}
	compare_all();
	stop();
}

static void await_messages(struct watcher *w, size_t count)
{
	int64_t until = now_ms() + PATIENCE_S * 1000;
	for (hear_all(w); w->messages < count && now_ms() < until; hear_all(w))
		usleep(1000);
	assert_true(w->messages >= count);
}

static void one_alone_is_told_at_once_and_in_the_form_for_one(void **state)
{
	(void)state;
	start(1, 4096);
	joined(all[0].client, "e-1");
	joined(all[1].client, "e-1");
	const char *third = text_at(joined(all[2].client, "e-1"), "result.peer");
	struct str e = event_of(all[1].client, "room.joined");
	assert_string_equal(text_at(e, "params.members.0.peer"), third);
	let_all_be_told();
	usleep(1000 * (ANNOUNCE_PAUSE_MS + 50)); /* no pause is left over */
	expect_result(ask(all[2].client, "room.state", "{\"room\":\"e-1\",\"state\":1}"));
	e = event_of(all[1].client, "room.updated");
	assert_string_equal(text_at(e, "params.peer"), third);
	expect_at(e, "params.changes", "{\"state\":1}");
	expect_silence(all[2].client); /* nobody is told alone of itself */
	usleep(1000 * (ANNOUNCE_PAUSE_MS + 50));
	client_end(all[2].client, false);
	e = event_of(all[1].client, "room.left");
	assert_string_equal(text_at(e, "params.peer"), third);
	expect_at(e, "params.reason", "\"lost\"");
	expect_at(e, "params.members", "");
	stop();
}

static void many_are_told_in_the_form_for_many(void **state)
{
	(void)state;
	start(1, 4096);
	join_all(0, CLIENTS);
	compare_all();
	for (int i = 1; i < CLIENTS; i++)
		send_call(all[i].client, "room.state", "{\"room\":\"e-1\",\"state\":%d}", i);
	for (int i = 1; i < CLIENTS; i += 2)
		on_worker(all[i].client->worker, lose_connection, all[i].client);
	assert_int_equal(compare_all(), CLIENTS);
	assert_true(all[0].messages <= 6);
	all[0].messages = 0;
	for (int i = 2; i < CLIENTS; i++)
		client_end(all[i].client, i % 2);
	let_all_be_told();
	hear_all(&all[0]);
	assert_int_equal(all[0].count, 1);
	stop();
}

/* A telling has a limit; what is beyond it comes in the next ones, by itself. */
static void large_states_are_told_bit_by_bit(void **state)
{
	(void)state;
	enum { STATE = 15000 };
	char *big = mem_alloc(STATE + 1);
	memset(big, '1', STATE);
	start(1, 16384);
	struct watcher *w = &all[0];
	join_all(0, 1);
	assert_int_equal(compare_all(), 1);
	for (int i = 1; i < CLIENTS; i++)
		send_call(all[i].client, "room.join", "{\"room\":\"e-1\",\"state\":%s}", big);
	for (int i = 1; i < CLIENTS; i++) /* an update of who was told, and of who was not yet */
		send_call(all[i].client, "room.state", "{\"room\":\"e-1\",\"state\":\"%.14990s\"}",
			big);
	let_all_arrive();
	await_messages(w, (CLIENTS - 1) * STATE / ANNOUNCE_BYTES);
	int64_t until = now_ms() + PATIENCE_S * 1000;
	while (now_ms() < until) {
		size_t done = 0;
		hear_all(w);
		for (size_t i = 0; i < w->count; i++)
			done += *w->known[i].state == '"';
		if (done == CLIENTS - 1)
			break;
		usleep(10000);
	}
	assert_int_equal(w->count, CLIENTS - 1);
	for (size_t i = 0; i < w->count; i++)
		assert_int_equal(*w->known[i].state, '"');
	assert_true(w->largest <= FRAME_MAX_BYTES && w->largest > ANNOUNCE_BYTES / 3);
	free(big);
	stop();
}

/* In a small room a burst of joins is gathered, but nothing overtakes it. */
static void in_a_small_room_nothing_overtakes_joins(void **state)
{
	(void)state;
	start(100, 4096);
	struct watcher *w = &all[0];
	join_all(0, 1);
	assert_int_equal(compare_all(), 1);
	for (int i = 1; i < CLIENTS; i++) {
		joined(all[i].client, "e-1");
		if (i % 20)
			continue;
		hear_all(w); /* the last of them were not told yet, if this was quick */
		expect_result(ask(all[i].client, "signal.send",
			"{\"room\":\"e-1\",\"to\":\"room\",\"type\":\"x\",\"data\":1}"));
		let_all_arrive();
		struct heard *h;
		while ((h = take_heard(w->client, false, 0))) {
			struct str text = keep_text(h);
			if (str_is(value_at(text, "method"), "\"signal.received\""))
				break;
			take_event(w, text);
		}
		assert_int_equal(w->count, i);
	}
	stop();
}

static void take_away_its_scopes(void *context)
{
	struct client *k = context;
	struct principal less = {.user = k->who->user, .name = k->who->name};
	struct principal *who = principal_new(&less);
	addr_granted(&k->endpoint, who);
	principal_unref(&who);
}

/* Of those who came just before it was put out, too, it hears before its own end. */
static void who_is_put_out_hears_of_nobody_behind_it(void **state)
{
	(void)state;
	enum { OTHERS = ANNOUNCE_BURST + 6 };
	start(100, 4096);
	struct client *k = all[0].client;
	joined(k, "e-1");
	for (int i = 1; i <= OTHERS; i++)
		joined(all[i].client, "e-1");
	on_worker(k->worker, take_away_its_scopes, k);
	size_t came = 0;
	struct str text;
	for (;;) {
		text = keep_text(take_heard(k, false, 0));
		if (!str_is(value_at(text, "method"), "\"room.joined\""))
			break;
		came += length_at(text, "params.members");
	}
	expect_at(text, "params.reason", "\"closed\"");
	assert_int_equal(came, OTHERS);
	expect_silence(k);
	stop();
}

int main(void)
{
	const char *given = getenv("SEED"), *given_rounds = getenv("ROUNDS");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	if (given_rounds)
		rounds = (int)strtol(given_rounds, NULL, 10);
	printf("SEED=%u\n", seed);
	fflush(stdout);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_knows_in_the_end_who_is_there),
		cmocka_unit_test(nobody_gets_more_than_it_may),
		cmocka_unit_test(one_alone_is_told_at_once_and_in_the_form_for_one),
		cmocka_unit_test(many_are_told_in_the_form_for_many),
		cmocka_unit_test(large_states_are_told_bit_by_bit),
		cmocka_unit_test(in_a_small_room_nothing_overtakes_joins),
		cmocka_unit_test(who_is_put_out_hears_of_nobody_behind_it),
	};
	return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
