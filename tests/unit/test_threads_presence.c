/* Who is there, against a naive model: users with sessions on several workers, that come, go, lose their
 * connections and say how they are, and others who watch. Each reader hears of each change, never of what it
 * knows, and in the end knows how everybody is; also when all goes on in another process. Then storms. */
#include "room_clients.h"

#include "core/json_out.h"
#include "signaling/presence_watch.h"

enum {
	USERS = 10,
	SEATS = 30, /* clients at most */
	STEPS = 70, /* between two looks */
	LOOKS = 3,
	ROUNDS = 3,
	DAMAGES = 40,
	CROWD = 1000,
	AN_HOUR_MS = 3600 * 1000,
	TEXT_MAX = 160,
	RECORDS_MAX = 1 << 24,
};

static unsigned seed;

static unsigned roll(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* ---- the service ---- */

static struct signaling_options o;

static void start(int workers, const char *plan)
{
	o = signaling_defaults;
	start_service(&o, workers, plan);
}

static void open_here(void *context)
{
	struct client *k = context;
	people_opened(&k->endpoint, k->who->user);
}

static struct client *open_client(int worker, const char *user)
{
	struct client *k = client_new(worker, user);
	on_worker(worker, open_here, k);
	let_all_arrive();
	return k;
}

static void lose_connection(void *context)
{
	addr_connected(context, false);
}

static void find_connection(void *context)
{
	addr_connected(context, true);
}

/* ---- the model ---- */

static const char *name_of(int user)
{
	static const char *const names[USERS] = {"ann", "bob", "corp|\xc3\xa4", "client:x",
		"a \\\"b", "u5", "u6", "u7", "\xf0\x9f\xa6\x84", "nobody"};
	return names[user];
}

struct said {
	bool there, away;
	int note; /* 0: none */
	unsigned nth;
};

struct seat {
	struct client *k; /* NULL: free */
	int user;
	bool connected;
	struct said said;
	bool watches[USERS];
	char knows[USERS][TEXT_MAX];
};

static struct seat seats[SEATS];
static struct said left[USERS];
static unsigned nth;

static bool is_online(const struct seat *s)
{
	return !s->said.away && (s->connected || o.presence_grace_ms);
}

static const char *status_of(int user)
{
	bool here = left[user].there, online = here && !left[user].away;
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k && seats[i].user == user) {
			here = true;
			online |= is_online(&seats[i]);
		}
	return online ? "online" : here ? "away" : "offline";
}

static int note_of(int user)
{
	const struct said *newest = &left[user];
	for (int i = 0; i < SEATS; i++) {
		const struct seat *s = &seats[i];
		if (s->k && s->user == user && s->said.note &&
			(!newest->note || s->said.nth > newest->nth))
			newest = &s->said;
	}
	return newest->note;
}

static int devices_of(int user)
{
	int count = 0;
	for (int i = 0; i < SEATS; i++)
		count += seats[i].k && seats[i].user == user;
	return count;
}

static void expect_text(int user, char *ret_text)
{
	char note[32] = "";
	if (note_of(user))
		snprintf(note, sizeof(note), ",\"note\":%d", note_of(user));
	snprintf(ret_text, TEXT_MAX, "\"user\":\"%s\",\"status\":\"%s\"%s", name_of(user),
		status_of(user), note);
}

/* ---- what readers hear ---- */

/* An entry without what the model does not know. */
static int read_entry(struct str entry, char *ret_text, bool with_devices)
{
	struct str user = value_at(entry, "user"), status = value_at(entry, "status");
	struct str note = value_at(entry, "note");
	snprintf(ret_text, TEXT_MAX, "\"user\":" STR_FMT ",\"status\":" STR_FMT "%s" STR_FMT,
		STR_ARG(user), STR_ARG(status), note.n ? ",\"note\":" : "", STR_ARG(note));
	for (int i = 0; i < USERS; i++) {
		char quoted[64];
		snprintf(quoted, sizeof(quoted), "\"%s\"", name_of(i));
		if (!str_is(user, quoted))
			continue;
		assert_int_equal(value_at(entry, "devices").n > 0, with_devices);
		if (with_devices)
			assert_int_equal(
				strtol(value_at(entry, "devices").p, NULL, 10), devices_of(i));
		return i;
	}
	fail_msg("nobody asked for " STR_FMT, STR_ARG(entry));
	return -1;
}

static void learn(struct seat *s, struct str message)
{
	struct str entry, users = value_at(message, "params.users");
	expect_at(message, "method", "\"presence.changed\"");
	for (struct json_walk w = json_walk(users); json_next(&w, NULL, &entry);) {
		char text[TEXT_MAX];
		int user = read_entry(entry, text, false);
		assert_true(s->watches[user]);
		if (strcmp(text, s->knows[user]) == 0 && !value_at(entry, "last_seen").n)
			fail_msg("it knew " STR_FMT, STR_ARG(entry));
		memcpy(s->knows[user], text, TEXT_MAX);
	}
}

static void hear_all(struct seat *s)
{
	struct heard *h;
	do {
		pthread_mutex_lock(&s->k->lock);
		h = find_heard(s->k, false, 0, true);
		pthread_mutex_unlock(&s->k->lock);
		if (h) {
			learn(s, h->text);
			free((char *)(uintptr_t)h->text.p);
			free(h);
		}
	} while (h);
}

/* An answer, behind the events that came before it. */
static struct str answer_in_order(struct seat *s, uint64_t tag)
{
	struct client *k = s->k;
	pthread_mutex_lock(&k->lock);
	while (!find_heard(k, true, tag, false))
		pthread_cond_wait(&k->more, &k->lock);
	struct heard *h;
	while (!(h = k->first)->is_answer) {
		find_heard(k, false, 0, true);
		learn(s, h->text);
		free((char *)(uintptr_t)h->text.p);
		free(h);
	}
	assert_ptr_equal(find_heard(k, true, tag, true), h);
	pthread_mutex_unlock(&k->lock);
	return keep_text(h);
}

/* ---- what happens ---- */

static void come(struct seat *s)
{
	*s = (struct seat){.user = (int)roll(USERS - 1), .connected = true};
	char plain[64] = "";
	size_t n = 0;
	for (const char *p = name_of(s->user); *p; p++)
		if (*p != '\\')
			plain[n++] = *p;
	s->k = open_client((int)roll((unsigned)workers_count()), plain);
}

static void go(struct seat *s, bool clean)
{
	struct said *was = &left[s->user];
	bool less = was->there && !was->away && !is_online(s);
	if (clean && o.presence_linger_ms && !less)
		*was = s->said.note || !was->there
			? (struct said){true, !is_online(s), s->said.note, s->said.nth}
			: (struct said){true, !is_online(s), was->note, was->nth};
	client_end(s->k, clean);
	client_free(s->k);
	s->k = NULL;
	let_all_arrive();
}

static void say(struct seat *s)
{
	char note[32] = "";
	s->said = (struct said){true, roll(2), roll(3) ? 0 : 1 + (int)roll(9), ++nth};
	if (s->said.note || roll(2))
		snprintf(note, sizeof(note), ",\"note\":%.*d", s->said.note ? 1 : 0, s->said.note);
	expect_result(ask(s->k, "presence.set", "{\"status\":\"%s\"%s%s}",
		s->said.away ? "away" : "online", note, note[0] && !s->said.note ? "null" : ""));
	left[s->user] = (struct said){0};
}

static void lose_or_find(struct seat *s)
{
	on_worker(s->k->worker, s->connected ? lose_connection : find_connection, s->k);
	s->connected = !s->connected;
	let_all_arrive();
}

static void write_some(struct buf *b, bool *chosen)
{
	struct json_out json = JSON_OUT(b);
	json_open(&json, "users", '[');
	for (unsigned n = 1 + roll(USERS); n--;) {
		int user = (int)roll(USERS);
		buf_addf(b, "%s\"%s\"", json.comma ? "," : "", name_of(user));
		json.comma = true;
		chosen[user] = true;
	}
	json_close(&json, ']');
}

/* What is answered to who watches may be half a second old: what has changed since comes behind it. */
static void watch_some(struct seat *s)
{
	struct buf b = BUF_INIT(4096);
	bool chosen[USERS] = {false}, only_look = !roll(3);
	struct str entry;
	write_some(&b, chosen);
	uint64_t tag = send_call(s->k, only_look ? "presence.get" : "presence.watch", "{%s}", b.p);
	struct str answer = answer_in_order(s, tag);
	struct json_walk w = json_walk(value_at(answer, "result.users"));
	while (json_next(&w, NULL, &entry)) {
		char text[TEXT_MAX], expected[TEXT_MAX];
		int user = read_entry(entry, text, true);
		expect_text(user, expected);
		if (only_look)
			assert_string_equal(text, expected);
		assert_true(chosen[user]);
		chosen[user] = false;
		if (only_look)
			continue;
		s->watches[user] = true;
		memcpy(s->knows[user], text, TEXT_MAX);
	}
	for (int i = 0; i < USERS; i++)
		assert_false(chosen[i]);
	buf_free(&b);
}

static void unwatch_some(struct seat *s)
{
	struct buf b = BUF_INIT(4096);
	bool chosen[USERS] = {false}, all = !roll(3);
	write_some(&b, chosen);
	uint64_t tag = send_call(s->k, "presence.unwatch", "{%s}", all ? "" : b.p);
	expect_result(answer_in_order(s, tag));
	for (int i = 0; i < USERS; i++)
		if (all || chosen[i])
			s->watches[i] = false;
	buf_free(&b);
}

static void something_happens(void)
{
	struct seat *s = &seats[roll(SEATS)];
	if (!s->k) {
		come(s);
		return;
	}
	switch (roll(12)) {
	case 0:
		go(s, true);
		break;
	case 1:
		go(s, false);
		break;
	case 2:
	case 3:
	case 4:
		lose_or_find(s);
		break;
	case 5:
	case 6:
		watch_some(s);
		break;
	case 7:
		unwatch_some(s);
		break;
	default:
		say(s);
	}
}

/* ---- looking ---- */

static char unknown[2 * TEXT_MAX + 16];

static bool all_know(void)
{
	for (int i = 0; i < SEATS; i++)
		for (int user = 0; seats[i].k && user < USERS; user++) {
			char expected[TEXT_MAX];
			expect_text(user, expected);
			if (seats[i].watches[user] && strcmp(seats[i].knows[user], expected) != 0) {
				snprintf(unknown, sizeof(unknown), "%s, and not %s",
					seats[i].knows[user], expected);
				return false;
			}
		}
	return true;
}

static void hear_everybody(void)
{
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k)
			hear_all(&seats[i]);
}

static size_t watches(void)
{
	size_t count = 0;
	for (int i = 0; i < SEATS; i++)
		for (int user = 0; seats[i].k && user < USERS; user++)
			count += seats[i].watches[user];
	return count;
}

static void look(void)
{
	static const struct timespec pause = {.tv_nsec = 5 * 1000000L};
	time_t until = time(NULL) + PATIENCE_S;
	for (hear_everybody(); !all_know() && time(NULL) < until; hear_everybody())
		nanosleep(&pause, NULL);
	if (!all_know())
		fail_msg("somebody knows %s", unknown);
	assert_int_equal(metric_read(METRIC_WATCHES), (int64_t)watches());
}

/* ---- another process ---- */

enum { CHAPTERS = 8 };

static struct buf chapters[CHAPTERS];
static struct addr addr_before[SEATS];

static void save_here(void *context)
{
	(void)context;
	for (int i = 0; signaling_chapters[i].name; i++)
		signaling_chapters[i].save(&chapters[i]);
}

static bool find(
	void *context, struct addr old, struct addr *ret_addr, const struct principal **ret_who)
{
	(void)context;
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k && addr_eq(addr_before[i], old)) {
			*ret_addr = seats[i].k->endpoint.addr;
			*ret_who = seats[i].k->who;
			return true;
		}
	return false;
}

static void load_here(void *context)
{
	int i = *(int *)context;
	const struct chapter_lookup lookup = {.find = find};
	chapter_load(&signaling_chapters[i], buf_str(&chapters[i]), &lookup);
}

static void on_all(void (*run)(void *), void *context)
{
	for (int i = 0; i < workers_count(); i++)
		on_worker(i, run, context);
}

static void leave_worker(void *context)
{
	struct client *k = context;
	k->endpoint.workers_called = 0; /* the process ends: nobody is told */
	addr_release(&k->endpoint, false);
}

static void register_again(void *context)
{
	struct client *k = context;
	addr_register(&k->endpoint, &hearing);
	k->endpoint.workers_called = ~UINT64_C(0);
	people_kept(&k->endpoint, k->who->user);
}

static void save_all(void)
{
	for (int i = 0; i < CHAPTERS; i++)
		chapters[i] = BUF_INIT(RECORDS_MAX);
	let_all_arrive();
	on_all(save_here, NULL);
	hear_everybody();
}

static void load_all(void)
{
	for (int i = 0; signaling_chapters[i].name; i++) {
		on_all(load_here, &i);
		let_all_arrive();
	}
}

static void end_process(void)
{
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k) {
			addr_before[i] = seats[i].k->endpoint.addr;
			on_worker(seats[i].k->worker, leave_worker, seats[i].k);
		}
	stop_service();
	assert_int_equal(metric_read(METRIC_WATCHES), 0);
}

static void next_process(int workers)
{
	start_service(&o, workers, NULL);
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k) {
			seats[i].k->worker = (int)roll((unsigned)workers);
			on_worker(seats[i].k->worker, register_again, seats[i].k);
		}
	let_all_arrive();
}

static void free_chapters(void)
{
	for (int i = 0; i < CHAPTERS; i++)
		buf_free(&chapters[i]);
}

static void hand_over(int workers)
{
	save_all();
	end_process();
	next_process(workers);
	load_all();
	free_chapters();
}

static void everybody_leaves(void)
{
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k)
			go(&seats[i], false);
	assert_int_equal(metric_read(METRIC_WATCHES), 0);
}

static void everybody_knows_how_all_are(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		start(1 + (int)roll(4), NULL);
		o.presence_grace_ms = roll(2) ? AN_HOUR_MS : 0;
		o.presence_linger_ms = roll(2) ? AN_HOUR_MS : 0;
		on_all(nothing, NULL); /* none of them reads the options now */
		signaling_configure(&o);
		memset(left, 0, sizeof(left));
		for (int i = 0; i < LOOKS; i++) {
			for (int step = 0; step < STEPS; step++)
				something_happens();
			if (i > 0)
				hand_over(1 + (int)roll(4));
			look();
		}
		everybody_leaves();
		stop_service();
		remove_db();
	}
}

static void what_is_damaged_harms_nobody(void **state)
{
	(void)state;
	start(3, NULL);
	memset(left, 0, sizeof(left));
	for (int step = 0; step < 3 * STEPS; step++)
		something_happens();
	save_all();
	end_process();
	for (int i = 0; i < DAMAGES; i++) {
		next_process(2);
		for (int k = 0; signaling_chapters[k].name; k++) {
			struct buf *b = &chapters[k];
			if (!b->n)
				continue;
			struct str whole = {mem_copy(buf_str(b)), b->n};
			for (unsigned flips = 1 + roll(8); flips-- && b->n;)
				b->p[roll((unsigned)b->n)] = (char)roll(256);
			if (!roll(4))
				b->n = roll((unsigned)b->n + 1);
			on_all(load_here, &k);
			let_all_arrive();
			b->n = whole.n;
			memcpy(b->p, whole.p, whole.n);
			free((char *)(uintptr_t)whole.p);
		}
		end_process();
	}
	free_chapters();
	start(1, NULL);
	for (int i = 0; i < SEATS; i++)
		if (seats[i].k) {
			seats[i].k->ended = true;
			client_free(seats[i].k);
			seats[i].k = NULL;
		}
	stop_service();
	remove_db();
}

/* ---- storms ---- */

static struct client *crowd[CROWD];

static void gather(void)
{
	for (int i = 0; i < CROWD; i++) {
		char user[16];
		snprintf(user, sizeof(user), "c%d", i);
		crowd[i] = client_new(i % workers_count(), user);
		on_worker(crowd[i]->worker, open_here, crowd[i]);
	}
	let_all_arrive();
}

static void disperse(void)
{
	for (int i = 0; i < CROWD; i++)
		client_free(crowd[i]);
	let_all_arrive();
	assert_int_equal(metric_read(METRIC_WATCHES), 0);
}

static uint64_t set_status(struct client *k, bool away)
{
	return send_call(k, "presence.set", "{\"status\":\"%s\"}", away ? "away" : "online");
}

static unsigned now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

/* The news that a client has heard so far: how many messages, bytes, and users; how the last one is, and how
 * many of the crowd are away. */
struct count {
	unsigned messages, users, crowd_away;
	size_t bytes;
	bool away, of_crowd[CROWD];
};

static void count_entry(struct str entry, struct count *count)
{
	const char *user = text_at(entry, "user");
	count->users++;
	count->away = str_is(value_at(entry, "status"), "\"away\"");
	if (user[0] != 'c')
		return;
	bool *was = &count->of_crowd[strtol(user + 1, NULL, 10)];
	count->crowd_away += (unsigned)count->away - (unsigned)*was;
	*was = count->away;
}

static void count_heard(struct client *k, struct count *count)
{
	pthread_mutex_lock(&k->lock);
	for (struct heard *h; (h = find_heard(k, false, 0, true));) {
		struct str entry;
		struct json_walk w = json_walk(value_at(h->text, "params.users"));
		count->messages++;
		count->bytes += h->text.n;
		while (json_next(&w, NULL, &entry))
			count_entry(entry, count);
		free((char *)(uintptr_t)h->text.p);
		free(h);
	}
	pthread_mutex_unlock(&k->lock);
}

static void a_moment(void)
{
	static const struct timespec pause = {.tv_nsec = 5 * 1000000L};
	nanosleep(&pause, NULL);
}

/* One whom all watch changes as fast as it can. */
static void who_changes_fast_is_told_slowly(void **state)
{
	(void)state;
	enum { CHANGES = 200 };
	static struct count counts[CROWD];
	start(3, NULL);
	gather();
	struct client *star = open_client(1, "star");
	for (int i = 0; i < CROWD; i++)
		expect_result(ask(crowd[i], "presence.watch", "{\"users\":[\"star\"]}"));
	unsigned begin = now_ms();
	for (int i = 1; i <= CHANGES; i++)
		expect_result(answer_to(star, set_status(star, i % 2)));
	for (int i = 0; i < CROWD; i++) {
		counts[i].away = true;
		while (now_ms() - begin < PATIENCE_S * 1000 &&
			(count_heard(crowd[i], &counts[i]), counts[i].away))
			a_moment();
		assert_false(counts[i].away);
	}
	unsigned took = now_ms() - begin;
	assert_true(took >= PRESENCE_PAUSE_MS - 1);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(counts[i].messages, counts[i].users);
		assert_in_range(counts[i].messages, 2, 2 + took / PRESENCE_PAUSE_MS);
	}
	expect_silence(crowd[0]);
	disperse();
	client_free(star);
	stop_service();
	remove_db();
}

/* A crowd that one watches changes all at once, again and again. */
static void who_watches_many_hears_so_much_at_once(void **state)
{
	(void)state;
	enum { CHANGES = 5, AT_ONCE = 200 };
	static struct count count;
	start(3, NULL);
	gather();
	struct client *reader = open_client(2, "reader");
	for (int first = 0; first < CROWD; first += AT_ONCE) {
		struct buf b = BUF_INIT(8192);
		for (int i = first; i < first + AT_ONCE; i++)
			buf_addf(&b, "%s\"c%d\"", b.n ? "," : "", i);
		expect_result(ask(reader, "presence.watch", "{\"users\":[%s]}", b.p));
		buf_free(&b);
	}
	unsigned begin = now_ms();
	for (int change = 1; change <= CHANGES; change++)
		for (int i = 0; i < CROWD; i++)
			set_status(crowd[i], change % 2);
	while (now_ms() - begin < PATIENCE_S * 1000 &&
		(count_heard(reader, &count), count.crowd_away < CROWD))
		a_moment();
	unsigned took = now_ms() - begin;
	assert_int_equal(count.crowd_away, CROWD);
	assert_in_range(count.users, CROWD, CROWD * (2 + took / PRESENCE_PAUSE_MS));
	assert_in_range(count.messages, 1, 2 + took / WATCH_PAUSE_MS);
	assert_in_range(count.bytes, 1, 65 * 1024 + (size_t)took * WATCH_BYTES_PER_S / 1000);
	for (int i = 0; i < CROWD; i++)
		for (uint64_t tag = 1; tag <= CHANGES; tag++)
			expect_result(answer_to(crowd[i], tag));
	client_free(reader);
	disperse();
	stop_service();
	remove_db();
}

/* ---- single things ---- */

static void guests_do_not_look(void **state)
{
	(void)state;
	start(2, NULL);
	struct client *guest = open_client(0, "guest:abc"), *ann = open_client(1, "ann");
	expect_reason(ask(guest, "presence.watch", "{\"users\":[\"ann\"]}"), "guest");
	expect_reason(ask(guest, "presence.get", "{\"users\":[\"ann\"]}"), "guest");
	expect_result(ask(guest, "presence.set", "{\"status\":\"away\"}"));
	expect_at(ask(ann, "presence.get", "{\"users\":[\"guest:abc\"]}"), "result.users.0.status",
		"\"away\"");
	client_free(guest);
	client_free(ann);
	stop_service();
	start(1, NULL); /* nothing is written down of guests */
	struct client *bob = open_client(0, "bob");
	struct str a = ask(bob, "presence.get", "{\"users\":[\"guest:abc\",\"ann\"]}");
	assert_int_equal(value_at(a, "result.users.0.last_seen").n, 0);
	assert_true(value_at(a, "result.users.1.last_seen").n > 0);
	client_free(bob);
	stop_service();
	remove_db();
}

/* It says how everybody is, but not since when; and what was to be written is written later. */
static void a_store_in_trouble_stops_nobody(void **state)
{
	(void)state;
	start(2, "SEEN_GET:1:overloaded,SEEN_PUT:1:overloaded");
	struct client *ann = open_client(0, "ann"), *bob = open_client(1, "bob");
	struct str a = ask(ann, "presence.watch", "{\"users\":[\"bob\",\"eve\"]}");
	expect_at(a, "result.users.0.status", "\"online\"");
	expect_at(a, "result.users.1.status", "\"offline\"");
	client_end(bob, false);
	struct str e = event_of(ann, "presence.changed");
	assert_true(value_at(e, "params.users.0.last_seen").n > 0);
	struct str seen = STR("");
	for (time_t until = time(NULL) + PATIENCE_S; !seen.n && time(NULL) < until; a_moment()) {
		struct store_op *op =
			store_ask_now(STORE_SEEN_GET, STORE_TEXT(STR("[null,\"bob\"]")), STORE_END);
		if (op->rows)
			seen = STR("is written");
		store_op_free(&op);
	}
	assert_true(seen.n);
	client_free(ann);
	client_free(bob);
	stop_service();
	remove_db();
}

int main(void)
{
	const char *given = getenv("SEED");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	fflush(stdout);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_knows_how_all_are),
		cmocka_unit_test(what_is_damaged_harms_nobody),
		cmocka_unit_test(who_changes_fast_is_told_slowly),
		cmocka_unit_test(who_watches_many_hears_so_much_at_once),
		cmocka_unit_test(guests_do_not_look),
		cmocka_unit_test(a_store_in_trouble_stops_nobody),
	};
	return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
