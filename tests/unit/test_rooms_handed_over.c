/* Rooms handed over from one process to the next: saved, loaded by another set of workers, and to
 * everybody in them just what they were. In one process here: the services follow each other.
 *
 * SEED can be given in the environment. */
#include "room_clients.h"

enum { RECORDS_MAX = 64 << 20 };

static const struct str globs[] = {STR("e-*")};
static const struct str desks[] = {STR("e-desk-*")};
static const struct room_template templates[] = {{.names = desks,
	.name_count = 1,
	.ephemeral = true,
	.private = true,
	.maker_role = ROLE_MODERATOR}};
static unsigned seed;

static unsigned roll(unsigned sides)
{
	return (unsigned)rand_r(&seed) % sides;
}

static struct signaling_options test_options(void)
{
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 1;
	o.templates = templates;
	o.template_count = 1;
	o.history_messages = 8;
	o.rooms_per_session = 6;
	return o;
}

static void start(int workers, const char *plan)
{
	struct signaling_options o = test_options();
	start_service(&o, workers, plan);
}

/* ---- one process, and the next ---- */

static struct buf records; /* all workers', one behind the other */
static size_t history_max = SIZE_MAX;
static enum err saved;

static void save_here(void *context)
{
	(void)context;
	enum err err = signaling_save(&records, history_max);
	saved = err ? err : saved;
}

static void on_every_worker(void (*run)(void *), void *context)
{
	for (int i = 0; i < workers_count(); i++)
		on_worker(i, run, context);
}

static void save(size_t max)
{
	buf_free(&records);
	records = BUF_INIT(max);
	saved = ERR_OK;
	let_all_be_told();
	on_every_worker(save_here, NULL);
}

/* Who was somebody, by the address it had then. */
static struct client *before[64];
static struct addr addr_before[64];
static size_t before_count;

static bool find(
	void *context, struct addr old, struct addr *ret_addr, const struct principal **ret_who)
{
	(void)context;
	for (size_t i = 0; i < before_count; i++)
		if (addr_eq(addr_before[i], old) && !before[i]->ended) {
			*ret_addr = before[i]->endpoint.addr;
			*ret_who = before[i]->who;
			return true;
		}
	return false;
}

static void load_here(void *context)
{
	signaling_load(*(struct str *)context, &(struct chapter_lookup){.find = find});
}

static void load(struct str text)
{
	on_every_worker(load_here, &text);
	let_all_arrive();
}

static void register_again(void *context)
{
	struct client *k = context;
	addr_register(&k->endpoint, &hearing);
	k->endpoint.workers_called = ~UINT64_C(0);
}

static void leave_worker(void *context)
{
	struct client *k = context;
	k->endpoint.workers_called = 0; /* the process ends: nobody is told */
	addr_release(&k->endpoint, false);
}

static void stop_process(void)
{
	for (size_t i = 0; i < before_count; i++)
		if (!before[i]->ended)
			on_worker(before[i]->worker, leave_worker, before[i]);
	stop_service();
}

/* The process ends; these were in it. */
static void end_process(struct client **clients, size_t count)
{
	before_count = count;
	for (size_t i = 0; i < count; i++) {
		before[i] = clients[i];
		addr_before[i] = clients[i]->endpoint.addr;
	}
	stop_process();
}

/* Another one starts, and has these clients but the last few, at other addresses. */
static void next_process(int workers, size_t gone, const char *plan)
{
	start(workers, plan);
	for (size_t i = before_count; i-- > 0;) {
		before[i]->worker = (int)roll((unsigned)workers);
		if (i >= before_count - gone)
			before[i]->ended = true;
		else
			on_worker(before[i]->worker, register_again, before[i]);
	}
}

static void hand_over(struct client **clients, size_t count, int workers, size_t gone)
{
	save(RECORDS_MAX);
	assert_int_equal(saved, ERR_OK);
	end_process(clients, count);
	next_process(workers, gone, NULL);
	load(buf_str(&records));
}

/* ---- what can be seen of a room ---- */

enum { PEOPLE = 24, ROOMS = 8, STEPS = 600 };

static const char *room_name(int room)
{
	static const char *const names[ROOMS] = {
		"s-0", "e-1", "s-2", "e-3", "s-4", "e-5", "s-6", "e-\xc3\xa4 \\\"\\\\"};
	return names[room];
}

/* What one client sees of a room when it joins (again), without what differs by reader or time. */
struct view {
	bool in;
	char *peer, *role, *epoch, *offset, *members;
};

static char *copy_at(struct str text, const char *path)
{
	return mem_copy(value_at(text, path));
}

static void free_view(struct view *v)
{
	free(v->peer);
	free(v->role);
	free(v->epoch);
	free(v->offset);
	free(v->members);
	*v = (struct view){0};
}

static struct view look(struct client *k, const char *room)
{
	struct str a = ask(k, "room.join", "{\"room\":\"%s\"}", room);
	expect_result(a);
	return (struct view){true, copy_at(a, "result.peer"), copy_at(a, "result.role"),
		copy_at(a, "result.epoch"), copy_at(a, "result.offset"),
		copy_at(a, "result.members")};
}

static void forget_heard(struct client *k)
{
	struct heard *h;
	let_all_arrive();
	pthread_mutex_lock(&k->lock);
	while ((h = find_heard(k, false, 0, true))) {
		free((char *)(uintptr_t)h->text.p);
		free(h);
	}
	pthread_mutex_unlock(&k->lock);
}

/* ---- the random one ---- */

static struct client *people[PEOPLE];
static bool in[PEOPLE][ROOMS], published[PEOPLE][ROOMS];
static bool away[PEOPLE];

static void lose_connection(void *context)
{
	addr_connected(&((struct client *)context)->endpoint, false);
}

static void find_connection(void *context)
{
	addr_connected(&((struct client *)context)->endpoint, true);
}

static void something_happens(void)
{
	int who = (int)roll(PEOPLE), room = (int)roll(ROOMS);
	struct client *k = people[who];
	const char *name = room_name(room);
	switch (roll(8)) {
	case 0:
	case 1:
	case 2:
		in[who][room] =
			value_at(ask(k, "room.join", "{\"room\":\"%s\"}", name), "result").n;
		break;
	case 3:
		ask(k, "room.leave", "{\"room\":\"%s\"}", name);
		in[who][room] = false;
		break;
	case 4:
		ask(k, "room.state", "{\"room\":\"%s\",\"state\":{\"n\" : [%u]}}", name,
			roll(1000));
		break;
	case 5:
		on_worker(k->worker, away[who] ? find_connection : lose_connection, k);
		away[who] = !away[who];
		break;
	default:
		published[who][room] |= value_at(ask(k, "room.publish",
							 "{\"room\":\"%s\",\"data\":%u,"
							 "\"idempotency_key\":\"k%d\"}",
							 name, roll(1000), who),
						"result")
						.n > 0;
	}
}

/* An ephemeral room's keys end with it. */
static void forget_keys_of_empty_rooms(void)
{
	for (int room = 1; room < ROOMS; room += 2) {
		bool empty = true;
		for (int i = 0; i < PEOPLE; i++)
			empty = empty && !in[i][room];
		for (int i = 0; empty && i < PEOPLE; i++)
			published[i][room] = false;
	}
}

static void look_everywhere(struct view views[PEOPLE][ROOMS])
{
	for (int i = 0; i < PEOPLE; i++)
		for (int room = 0; room < ROOMS; room++)
			if (in[i][room] && !people[i]->ended)
				views[i][room] = look(people[i], room_name(room));
}

static void expect_same(const struct view *a, const struct view *b)
{
	assert_int_equal(a->in, b->in);
	if (!a->in)
		return;
	assert_string_equal(a->peer, b->peer);
	assert_string_equal(a->role, b->role);
	assert_string_equal(a->epoch, b->epoch);
	assert_string_equal(a->offset, b->offset);
	assert_string_equal(a->members, b->members);
}

static void expect_places(int i)
{
	int rooms = 0;
	for (int room = 0; room < ROOMS; room++)
		rooms += in[i][room];
	for (int extra = 0; rooms < 6; extra++, rooms++)
		expect_result(ask(people[i], "room.join", "{\"room\":\"e-extra-%d\"}", extra));
	expect_reason(ask(people[i], "room.join", "{\"room\":\"e-more\"}"), "too_many_rooms");
}

static void expect_keys_known(int i)
{
	for (int room = 0; room < ROOMS; room++) {
		if (!in[i][room] || !published[i][room])
			continue;
		char *offset =
			copy_at(ask(people[i], "room.join", "{\"room\":\"%s\"}", room_name(room)),
				"result.offset");
		struct str again = ask(people[i], "room.publish",
			"{\"room\":\"%s\",\"data\":1,\"idempotency_key\":\"k%d\"}", room_name(room),
			i);
		expect_result(again);
		expect_at(ask(people[i], "room.join", "{\"room\":\"%s\"}", room_name(room)),
			"result.offset", offset);
		free(offset);
	}
}

/* Each but the first few of the messages comes back, and just these. */
static void expect_history(int i)
{
	for (int room = 0; room < ROOMS; room++) {
		if (!in[i][room])
			continue;
		struct str a = ask(people[i], "room.join", "{\"room\":\"%s\"}", room_name(room));
		int64_t top = 0;
		assert_int_equal(json_decode_int(value_at(a, "result.offset"), &top), ERR_OK);
		int64_t since = top > 8 ? top - 8 : 0;
		a = ask(people[i], "room.join",
			"{\"room\":\"%s\",\"since\":{\"epoch\":%.14s,\"offset\":%lld}}",
			room_name(room), value_at(a, "result.epoch").p, (long long)since);
		expect_at(a, "result.recovered", "true");
		assert_int_equal(length_at(a, "result.messages"), top - since);
	}
}

static void to_everybody_it_is_the_same_room(void **state)
{
	(void)state;
	static const int sets[][2] = {{1, 4}, {4, 1}, {3, 2}, {2, 2}};
	for (size_t s = 0; s < sizeof(sets) / sizeof(*sets); s++) {
		static struct view then[PEOPLE][ROOMS], now[PEOPLE][ROOMS];
		remove_db();
		start(sets[s][0], NULL);
		memset(in, 0, sizeof(in));
		memset(published, 0, sizeof(published));
		memset(away, 0, sizeof(away));
		for (int i = 0; i < PEOPLE; i++) {
			char user[16];
			snprintf(user, sizeof(user), "u%d", i % 16); /* some on two devices */
			people[i] = client_new((int)roll((unsigned)sets[s][0]), user);
		}
		for (int room = 0; room < ROOMS; room += 2)
			expect_result(ask(
				people[room], "room.create", "{\"room\":\"%s\"}", room_name(room)));
		for (int i = 0; i < STEPS; i++) {
			something_happens();
			forget_keys_of_empty_rooms();
		}
		look_everywhere(then);
		int64_t members = metric_read(METRIC_MEMBERS);
		for (int i = 0; i < PEOPLE; i++)
			forget_heard(people[i]);
		hand_over(people, PEOPLE, sets[s][1], 0);
		assert_int_equal(metric_read(METRIC_MEMBERS), members);
		for (int i = 0; i < PEOPLE; i++)
			expect_silence(people[i]);
		look_everywhere(now);
		for (int i = 0; i < PEOPLE; i++)
			for (int room = 0; room < ROOMS; room++) {
				expect_same(&then[i][room], &now[i][room]);
				free_view(&then[i][room]);
				free_view(&now[i][room]);
			}
		for (int i = 0; i < PEOPLE; i++) {
			expect_history(i);
			expect_keys_known(i);
			expect_places(i);
		}
		for (int i = 0; i < PEOPLE; i++)
			client_free(people[i]);
		stop_service();
	}
}

/* ---- single things ---- */

static struct client *ann, *bob, *eve;
static char *ann_peer, *bob_peer, *eve_peer;

/* Three in a room, which has one message. */
static void gather(int workers, const char *room)
{
	struct client **all[] = {&ann, &bob, &eve};
	char **peers[] = {&ann_peer, &bob_peer, &eve_peer};
	static const char *const users[] = {"ann", "bob", "eve"};
	remove_db();
	start(workers, NULL);
	for (int i = 0; i < 3; i++) {
		*all[i] = client_new(i % workers, users[i]);
		if (i == 0 && *room == 's')
			expect_result(ask(ann, "room.create", "{\"room\":\"%s\"}", room));
		*peers[i] = copy_at(joined(*all[i], room), "result.peer");
	}
	expect_result(ask(ann, "room.publish", "{\"room\":\"%s\",\"data\":1}", room));
	for (int i = 0; i < 3; i++)
		forget_heard(*all[i]);
}

static void part(void)
{
	client_free(ann);
	client_free(bob);
	client_free(eve);
	free(ann_peer);
	free(bob_peer);
	free(eve_peer);
	stop_service();
}

static void end_here(size_t gone, int workers, const char *plan)
{
	save(RECORDS_MAX);
	end_process((struct client *[]){ann, bob, eve}, 3);
	next_process(workers, gone, plan);
}

static void who_does_not_come_back_is_lost(void **state)
{
	(void)state;
	gather(2, "e-1");
	end_here(1, 3, NULL);
	load(buf_str(&records));
	struct client *others[] = {ann, bob};
	for (int i = 0; i < 2; i++) {
		struct str e = event_of(others[i], "room.left");
		expect_at(e, "params.peer", eve_peer);
		expect_at(e, "params.reason", "\"lost\"");
		expect_silence(others[i]);
	}
	assert_int_equal(metric_read(METRIC_MEMBERS), 2);
	expect_reason(ask(ann, "signal.send",
			      "{\"room\":\"e-1\",\"to\":{\"peer\":%s},\"type\":\"x\",\"data\":1}",
			      eve_peer),
		"no_such_peer");
	client_end(bob, false); /* the address that it has now */
	expect_at(event_of(ann, "room.left"), "params.peer", bob_peer);
	part();
}

static void a_room_of_the_lost_is_gone(void **state)
{
	(void)state;
	gather(2, "e-1");
	end_here(3, 1, NULL);
	load(buf_str(&records));
	assert_int_equal(metric_read(METRIC_ROOMS), 0);
	part();
}

static void who_comes_later_is_polite(void **state)
{
	(void)state;
	gather(2, "s-1");
	end_here(0, 3, NULL);
	load(buf_str(&records));
	struct client *late = client_new(0, "late");
	struct str a = joined(late, "s-1");
	assert_int_equal(length_at(a, "result.members"), 3);
	for (int i = 0; i < 3; i++) {
		static const char *const paths[] = {"result.members.0.polite",
			"result.members.1.polite", "result.members.2.polite"};
		expect_at(a, paths[i], "true");
	}
	expect_at(event_of(ann, "room.joined"), "params.members.0.polite", "false");
	client_free(late);
	part();
}

/* Nothing is told of who is away until it comes back. */
static void who_is_away_stays_away(void **state)
{
	(void)state;
	gather(2, "e-1");
	on_worker(eve->worker, lose_connection, eve);
	expect_at(event_of(ann, "room.updated"), "params.changes", "{\"connected\":false}");
	event_of(bob, "room.updated");
	end_here(0, 3, NULL);
	load(buf_str(&records));
	expect_silence(ann);
	on_worker(bob->worker, find_connection, bob);
	expect_silence(ann); /* bob was never away for her */
	on_worker(eve->worker, find_connection, eve);
	struct str e = event_of(ann, "room.updated");
	expect_at(e, "params.peer", eve_peer);
	expect_at(e, "params.changes", "{\"connected\":true}");
	part();
}

static const char *const signal_to_bob =
	"{\"room\":\"s-1\",\"to\":{\"user\":\"bob\"},\"type\":\"x\",\"data\":1}";

/* Signals need no rules; what needs them asks the store each time, until it answers. */
static void a_store_that_fails_stops_no_signals(void **state)
{
	(void)state;
	gather(2, "s-1");
	end_here(0, 2, "ROOM_GET:1:internal,ROOM_GET:2:overloaded");
	load(buf_str(&records));
	expect_result(ask(ann, "signal.send", "%s", signal_to_bob));
	event_of(bob, "signal.received");
	const char *publish = "{\"room\":\"s-1\",\"data\":2}";
	expect_reason(ask(eve, "room.publish", "%s", publish), "internal");
	uint64_t refused = send_call(eve, "room.publish", "%s", publish);
	uint64_t sent = send_call(eve, "signal.send", "%s", signal_to_bob); /* behind it */
	expect_reason(answer_to(eve, refused), "overloaded");
	expect_result(answer_to(eve, sent));
	event_of(bob, "signal.received");
	expect_at(ask(ann, "room.publish", "%s", publish), "result.offset", "2");
	expect_at(joined(ann, "s-1"), "result.role", "\"owner\"");
	assert_int_equal(metric_read(METRIC_MEMBERS), 3);
	part();
}

/* An end that came while the rules were asked for is not forgotten when they do not come. */
static void an_end_is_not_lost_with_the_store(void **state)
{
	(void)state;
	gather(2, "s-1");
	end_here(0, 2, "ROOM_GET:1:delay=300,ROOM_GET:1:internal");
	load(buf_str(&records));
	uint64_t publish = send_call(ann, "room.publish", "{\"room\":\"s-1\",\"data\":2}");
	let_all_arrive();
	client_end(eve, false);
	expect_reason(answer_to(ann, publish), "internal");
	expect_at(event_of(ann, "room.left"), "params.peer", eve_peer);
	assert_int_equal(metric_read(METRIC_MEMBERS), 2);
	part();
}

static void a_room_that_is_stored_no_more_is_closed(void **state)
{
	(void)state;
	gather(2, "s-1");
	save(RECORDS_MAX);
	end_process((struct client *[]){ann, bob, eve}, 3);
	remove_db();
	next_process(3, 0, NULL);
	load(buf_str(&records));
	expect_silence(ann);
	expect_reason(ask(ann, "room.publish", "{\"room\":\"s-1\",\"data\":2}"), "no_such_room");
	struct client *all[] = {ann, bob, eve};
	char *peers[] = {ann_peer, bob_peer, eve_peer};
	for (int i = 0; i < 3; i++) {
		struct str e = event_of(all[i], "room.left");
		expect_at(e, "params.peer", peers[i]);
		expect_at(e, "params.reason", "\"closed\"");
		expect_silence(all[i]);
	}
	assert_int_equal(metric_read(METRIC_ROOMS), 0);
	assert_int_equal(metric_read(METRIC_MEMBERS), 0);
	part();
}

/* Puts the messages of the records so much further into the past. */
static void age(int64_t ms)
{
	for (char *p = records.p; (p = strstr(p, "\"at\":"));) {
		p += strlen("\"at\":");
		int64_t at = strtoll(p, NULL, 10) - ms;
		char digits[32];
		snprintf(digits, sizeof(digits), "%lld", (long long)at);
		memcpy(p, digits, strlen(digits)); /* as many as there were */
	}
}

static void messages_age_between_the_processes(void **state)
{
	(void)state;
	for (int hours = 0; hours < 2; hours++) {
		gather(2, "s-1");
		char *epoch = copy_at(joined(bob, "s-1"), "result.epoch");
		save(RECORDS_MAX);
		age((hours ? 3601 : 3500) * INT64_C(1000)); /* one hour is kept */
		end_process((struct client *[]){ann, bob, eve}, 3);
		next_process(2, 0, NULL);
		load(buf_str(&records));
		struct str a = ask(bob, "room.join",
			"{\"room\":\"s-1\",\"since\":{\"epoch\":%s,\"offset\":0}}", epoch);
		expect_at(a, "result.offset", "1");
		expect_at(a, "result.recovered", hours ? "false" : "true");
		assert_int_equal(length_at(a, "result.messages"), hours ? 0 : 1);
		free(epoch);
		part();
	}
}

/* Who is in the room goes on; what was published is forgotten, and that is said. */
static void history_that_does_not_fit_is_forgotten(void **state)
{
	(void)state;
	gather(2, "s-1");
	char *epoch = copy_at(joined(bob, "s-1"), "result.epoch");
	history_max = 1;
	end_here(0, 1, NULL);
	history_max = SIZE_MAX;
	assert_int_equal(saved, ERR_OK);
	load(buf_str(&records));
	struct str a = ask(bob, "room.join",
		"{\"room\":\"s-1\",\"since\":{\"epoch\":%s,\"offset\":0}}", epoch);
	expect_at(a, "result.offset", "1");
	expect_at(a, "result.recovered", "false");
	assert_int_equal(length_at(a, "result.messages"), 0);
	assert_int_equal(length_at(a, "result.members"), 2);
	a = ask(bob, "room.publish", "{\"room\":\"s-1\",\"data\":2}");
	expect_at(a, "result.offset", "2");
	free(epoch);
	part();
}

/* What a room said of its history is known again only once its rules are. */
static void a_longer_history_is_handed_over_whole(void **state)
{
	(void)state;
	gather(2, "e-1");
	expect_result(ask(ann, "room.create", "{\"room\":\"s-9\",\"history\":{\"messages\":20}}"));
	char *epoch = copy_at(joined(bob, "s-9"), "result.epoch");
	for (int i = 0; i < 20; i++)
		expect_result(ask(bob, "room.publish", "{\"room\":\"s-9\",\"data\":1}"));
	end_here(0, 2, NULL);
	load(buf_str(&records));
	expect_result(ask(bob, "room.publish", "{\"room\":\"s-9\",\"data\":20}"));
	struct str a = ask(bob, "room.join",
		"{\"room\":\"s-9\",\"since\":{\"epoch\":%s,\"offset\":1}}", epoch);
	expect_at(a, "result.recovered", "true");
	assert_int_equal(length_at(a, "result.messages"), 20);
	free(epoch);
	part();
}

static void rules_of_an_ephemeral_room_are_handed_over(void **state)
{
	(void)state;
	gather(2, "e-1");
	expect_at(joined(ann, "e-desk-1"), "result.role", "\"moderator\"");
	expect_reason(ask(bob, "room.join", "{\"room\":\"e-desk-1\"}"), "room_private");
	end_here(0, 2, NULL);
	load(buf_str(&records));
	expect_reason(ask(bob, "room.join", "{\"room\":\"e-desk-1\"}"), "room_private");
	struct str a = ask(ann, "room.get", "{\"room\":\"e-desk-1\"}");
	expect_at(a, "result.role", "\"moderator\"");
	expect_at(a, "result.visibility", "\"private\"");
	expect_at(a, "result.persistent", "false");
	part();
}

/* data and state may be as deep as a message lets them be. */
static void the_deepest_json_is_handed_over(void **state)
{
	(void)state;
	char deep[JSON_DEPTH_MAX * 2] = "";
	for (int i = 0; i < JSON_DEPTH_MAX - 2; i++) {
		deep[i] = '[';
		deep[2 * (JSON_DEPTH_MAX - 2) - 1 - i] = ']';
	}
	gather(1, "e-1");
	expect_result(ask(bob, "room.publish", "{\"room\":\"e-1\",\"data\":%s}", deep));
	expect_result(ask(bob, "room.state", "{\"room\":\"e-1\",\"state\":%s}", deep));
	forget_heard(ann);
	forget_heard(eve);
	end_here(0, 2, NULL);
	load(buf_str(&records));
	expect_at(joined(ann, "e-1"), "result.members.0.state", deep);
	expect_at(joined(ann, "e-1"), "result.offset", "2");
	part();
}

/* ---- records that are not what they should be ---- */

static void what_is_cut_off_is_there_whole_or_not_at_all(void **state)
{
	(void)state;
	gather(2, "e-1");
	save(RECORDS_MAX);
	size_t whole = records.n;
	end_process((struct client *[]){ann, bob, eve}, 3);
	for (size_t n = 0; n <= whole; n += n + 40 < whole ? 1 + roll(40) : 1) {
		next_process(2, 0, NULL);
		load((struct str){records.p, n});
		assert_int_equal(metric_read(METRIC_MEMBERS), n == whole ? 3 : 0);
		assert_int_equal(metric_read(METRIC_ROOMS), n == whole ? 1 : 0);
		stop_process();
	}
	ann->ended = bob->ended = eve->ended = true;
	start(1, NULL);
	part();
}

static void nothing_that_is_damaged_does_harm(void **state)
{
	(void)state;
	enum { TIMES = 3000 };
	static const char odd[] = {'0', '9', '"', '{', '}', ',', ':', '[', 0x1e, 0x1f, 0, -1, 'e'};
	gather(2, "e-1");
	expect_result(ask(
		ann, "room.publish", "{\"room\":\"e-1\",\"data\":1,\"idempotency_key\":\"k\"}"));
	save(RECORDS_MAX);
	end_process((struct client *[]){ann, bob, eve}, 3);
	ann->ended = bob->ended = eve->ended = true;
	start(2, NULL);
	char *bytes = mem_alloc(records.n);
	for (int i = 0; i < TIMES; i++) {
		memcpy(bytes, records.p, records.n);
		for (unsigned flips = 1 + roll(3); flips--;)
			bytes[roll((unsigned)records.n)] = odd[roll(sizeof(odd))];
		load((struct str){bytes, records.n});
		assert_int_equal(metric_read(METRIC_MEMBERS), 0);
	}
	free(bytes);
	part();
}

static void other_versions_and_second_records_are_dropped(void **state)
{
	(void)state;
	gather(2, "e-1");
	end_here(0, 2, NULL);
	char *version = strstr(records.p, "\"version\":1");
	version[strlen("\"version\":")] = '2';
	load(buf_str(&records));
	assert_int_equal(metric_read(METRIC_ROOMS), 0);
	version[strlen("\"version\":")] = '1';
	load(buf_str(&records));
	load(buf_str(&records));
	assert_int_equal(metric_read(METRIC_ROOMS), 1);
	assert_int_equal(metric_read(METRIC_MEMBERS), 3);
	expect_silence(ann);
	part();
}

static void a_room_that_does_not_fit_is_left_out(void **state)
{
	(void)state;
	gather(1, "e-large");
	joined(ann, "e-small");
	char big[4001];
	memset(big, '1', 4000);
	big[4000] = 0;
	expect_result(ask(bob, "room.state", "{\"room\":\"e-large\",\"state\":%s}", big));
	forget_heard(ann);
	save(2000);
	assert_int_equal(saved, ERR_TOO_LARGE);
	assert_null(strstr(records.p, "e-large"));
	end_process((struct client *[]){ann, bob, eve}, 3);
	next_process(1, 0, NULL);
	load(buf_str(&records));
	assert_int_equal(metric_read(METRIC_MEMBERS), 1);
	assert_int_equal(metric_read(METRIC_ROOMS), 1);
	part();
}

static int clean(void **state)
{
	buf_free(&records);
	return folder_teardown(state);
}

int main(void)
{
	const char *given = getenv("SEED");
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	fflush(stdout);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_everybody_it_is_the_same_room),
		cmocka_unit_test(who_does_not_come_back_is_lost),
		cmocka_unit_test(a_room_of_the_lost_is_gone),
		cmocka_unit_test(who_comes_later_is_polite),
		cmocka_unit_test(who_is_away_stays_away),
		cmocka_unit_test(a_store_that_fails_stops_no_signals),
		cmocka_unit_test(an_end_is_not_lost_with_the_store),
		cmocka_unit_test(a_room_that_is_stored_no_more_is_closed),
		cmocka_unit_test(messages_age_between_the_processes),
		cmocka_unit_test(history_that_does_not_fit_is_forgotten),
		cmocka_unit_test(a_longer_history_is_handed_over_whole),
		cmocka_unit_test(rules_of_an_ephemeral_room_are_handed_over),
		cmocka_unit_test(the_deepest_json_is_handed_over),
		cmocka_unit_test(what_is_cut_off_is_there_whole_or_not_at_all),
		cmocka_unit_test(nothing_that_is_damaged_does_harm),
		cmocka_unit_test(other_versions_and_second_records_are_dropped),
		cmocka_unit_test(a_room_that_does_not_fit_is_left_out),
	};
	return cmocka_run_group_tests(tests, folder_setup, clean);
}
