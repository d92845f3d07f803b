/* Rooms and the store: records, roles, lists, what waits while a room is loaded, and what becomes of
 * it when the store fails. */
#include "room_clients.h"

#include <sqlite3.h>

static const struct str globs[] = {STR("e-*")};

static struct signaling_options test_options(void)
{
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 1;
	return o;
}

static void start(const char *plan)
{
	struct signaling_options o = test_options();
	start_service(&o, 3, plan);
}

static int end(void **state)
{
	(void)state;
	stop_service();
	remove_db();
	return 0;
}

static int begin(void **state)
{
	(void)state;
	start(NULL);
	return 0;
}

static struct client *client(const char *user)
{
	static int next;
	return client_new(next++ % 3, user);
}

/* What there is no method for yet. */
static void change_rooms(const char *sql)
{
	sqlite3 *db = NULL;
	char *why = NULL;
	assert_int_equal(sqlite3_open(test_db, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s", why);
	sqlite3_close(db);
}

static void create(struct client *k, const char *more)
{
	expect_result(ask(k, "room.create", "{\"room\":\"r\"%s}", more));
}

/* ---- records ---- */

static void a_room_is_as_it_was_asked_for(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	const char *metadata = "{ \"a\":1e0,\"a\" : \"\\ud800\" }";
	struct str c = ask(ann, "room.create",
		"{\"room\":\"r\",\"title\":\"The \\\"Room\\\"\",\"visibility\":\"public\","
		"\"max_members\":7,\"metadata\":%s}",
		metadata);
	for (int i = 0; i < 3; i++) {
		expect_at(c, "result.room", "\"r\"");
		expect_at(c, "result.title", "\"The \\\"Room\\\"\"");
		expect_at(c, "result.owner", "\"ann\"");
		expect_at(c, "result.visibility", "\"public\"");
		expect_at(c, "result.max_members", "7");
		expect_at(c, "result.locked", "false");
		expect_at(c, "result.metadata", metadata);
		expect_at(c, "result.persistent", "true");
		expect_at(c, "result.member_count", "0");
		expect_at(c, "result.role", i == 2 ? "\"member\"" : "\"owner\"");
		assert_true(value_at(c, "result.created_at").n >= 10);
		c = ask(i == 0 ? ann : bob, "room.get", "{\"room\":\"r\"}");
	}
	struct str twice = ask(bob, "room.create", "{\"room\":\"r\"}");
	expect_reason(twice, "room_exists");
	expect_at(twice, "error.code", "-32009");
	c = ask(bob, "room.create", "{\"room\":\"plain\"}");
	expect_at(c, "result.title", "null");
	expect_at(c, "result.metadata", "null");
	expect_at(c, "result.visibility", "\"public\"");
	expect_at(c, "result.max_members", "1000");
	client_free(ann);
	client_free(bob);
}

static void wrong_wishes_are_refused(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	static const struct {
		const char *more, *field;
	} rows[] = {
		{"\"visibility\":\"secret\"", "\"visibility\""},
		{"\"visibility\":\"\"", "\"visibility\""},
		{"\"max_members\":0", "\"max_members\""},
		{"\"max_members\":1001", "\"max_members\""},
		{"\"max_members\":1.5", "\"max_members\""},
		{"\"title\":7", "\"title\""},
		{"\"owner\":\"bob\"", "\"owner\""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct str a = ask(ann, "room.create", "{\"room\":\"r\",%s}", rows[i].more);
		expect_reason(a, "invalid_params");
		expect_at(a, "error.data.field", rows[i].field);
	}
	char *big = mem_alloc(20000);
	memset(big, '1', 19999);
	struct str a = ask(ann, "room.create", "{\"room\":\"r\",\"metadata\":%s}", big);
	free(big);
	expect_reason(a, "too_large");
	expect_at(a, "error.data.limit", "16384");
	expect_reason(ask(ann, "room.get", "{\"room\":\"r\"}"), "no_such_room");
	client_free(ann);
}

static void a_room_outlives_the_service(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	create(ann, ",\"metadata\":[1.10]");
	client_free(ann);
	stop_service();
	start(NULL);
	ann = client("ann");
	struct str g = ask(ann, "room.get", "{\"room\":\"r\"}");
	expect_at(g, "result.metadata", "[1.10]");
	expect_at(g, "result.role", "\"owner\"");
	expect_at(joined(ann, "r"), "result.role", "\"owner\"");
	expect_reason(ask(ann, "room.create", "{\"room\":\"r\"}"), "room_exists");
	client_free(ann);
}

/* ---- roles ---- */

/* A room "r" of ann's, changed by SQL, in a service that has not seen it yet. */
static void start_over(const char *more, const char *sql, const char *plan)
{
	struct client *ann = client("ann");
	create(ann, more);
	client_free(ann);
	stop_service();
	change_rooms(sql);
	start(plan);
}

static void roles_are_honoured(void **state)
{
	(void)state;
	start_over(",\"visibility\":\"private\"",
		"INSERT INTO room_roles VALUES (1, 'mod', 'moderator'), (1, 'bob', 'member'), "
		"(1, 'vic', 'viewer'); INSERT INTO room_bans VALUES (1, 'ban', '', '', 0, NULL)",
		NULL);
	struct client *ann = client("ann"), *mod = client("mod"), *bob = client("bob"),
		      *vic = client("vic"), *ban = client("ban"), *eve = client("eve");
	expect_at(joined(ann, "r"), "result.role", "\"owner\"");
	expect_at(joined(mod, "r"), "result.role", "\"moderator\"");
	expect_at(joined(bob, "r"), "result.role", "\"member\"");
	struct str v = joined(vic, "r");
	expect_at(v, "result.role", "\"viewer\"");
	expect_at(v, "result.members.1.role", "\"moderator\"");
	static const char *const methods[] = {"room.join", "room.get", "room.presence"};
	for (int i = 0; i < 3; i++) {
		struct str b = ask(ban, methods[i], "{\"room\":\"r\"}");
		expect_reason(b, "banned");
		expect_at(b, "error.code", "-32003");
		expect_reason(ask(eve, methods[i], "{\"room\":\"r\"}"), "room_private");
	}
	expect_reason(ask(eve, "room.publish", "{\"room\":\"r\",\"data\":1}"), "room_private");
	const char *signal = "{\"room\":\"r\",\"to\":\"room\",\"type\":\"x\",\"data\":1}";
	expect_reason(ask(vic, "signal.send", "%s", signal), "viewer");
	expect_reason(ask(vic, "room.publish", "{\"room\":\"r\",\"data\":1}"), "viewer");
	expect_result(ask(vic, "room.state", "{\"room\":\"r\",\"state\":1}"));
	expect_at(ask(ann, "signal.send", "%s", signal), "result.queued", "3");
	event_of(vic, "signal.received"); /* a viewer receives */
	client_free(ann);
	client_free(mod);
	client_free(bob);
	client_free(vic);
	client_free(ban);
	client_free(eve);
}

static void scopes_of_the_token_stand_for_roles(void **state)
{
	(void)state;
	start_over(",\"visibility\":\"private\"",
		"INSERT INTO room_bans VALUES (1, 'ban', '', '', 0, NULL); "
		"INSERT INTO room_roles VALUES (1, 'vic', 'viewer')",
		NULL);
	struct principal who = {
		.user = STR("client:x"), .scopes = SCOPE_ROOMS_JOIN | SCOPE_ROOMS_MODERATE};
	struct client *mod = client_of(0, &who);
	who.user = STR("vic");
	struct client *vic = client_of(1, &who);
	who.user = STR("ban");
	who.scopes |= SCOPE_ADMIN;
	struct client *ban = client_of(2, &who);
	who.user = STR("root");
	struct client *admin = client_of(0, &who);
	expect_at(joined(mod, "r"), "result.role", "\"moderator\"");
	expect_at(joined(vic, "r"), "result.role", "\"moderator\"");
	expect_at(joined(admin, "r"), "result.role", "\"owner\"");
	expect_reason(ask(ban, "room.join", "{\"room\":\"r\"}"), "banned");
	client_free(mod);
	client_free(vic);
	client_free(ban);
	client_free(admin);
}

static void a_locked_room_lets_only_moderators_in(void **state)
{
	(void)state;
	start_over(",\"max_members\":2",
		"INSERT INTO room_roles VALUES (1, 'mod', 'moderator'), (1, 'bob', 'member'); "
		"UPDATE rooms SET locked = 1",
		NULL);
	struct client *ann = client("ann"), *bob = client("bob"), *mod = client("mod"),
		      *ann2 = client("ann");
	expect_reason(ask(bob, "room.join", "{\"room\":\"r\"}"), "room_locked");
	expect_at(ask(bob, "room.get", "{\"room\":\"r\"}"), "result.locked", "true");
	joined(mod, "r");
	joined(ann, "r");
	struct str full = ask(ann2, "room.join", "{\"room\":\"r\"}");
	expect_reason(full, "room_full");
	expect_at(full, "error.data.limit", "2");
	client_free(ann);
	client_free(bob);
	client_free(mod);
	client_free(ann2);
}

static void any_number_of_roles_is_loaded(void **state)
{
	(void)state;
	start_over(",\"visibility\":\"private\"",
		"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499) "
		"INSERT INTO room_roles SELECT 1, 'user' || i, 'member' FROM n",
		NULL);
	for (int i = 0; i < 2500; i += 119) {
		char name[32];
		snprintf(name, sizeof(name), "user%d", i);
		struct client *k = client(name);
		joined(k, "r");
		client_free(k);
	}
	struct client *k = client("user2500");
	expect_reason(ask(k, "room.join", "{\"room\":\"r\"}"), "room_private");
	client_free(k);
}

/* ---- lists ---- */

/* Asks page after page; counts the rooms and checks that none of them is named so. */
static size_t list_all(struct client *k, int limit, const char *hidden, size_t *ret_pages)
{
	size_t count = 0;
	struct str page = ask(k, "room.list", "{\"limit\":%d}", limit);
	for (*ret_pages = 1;; ++*ret_pages) {
		size_t here = length_at(page, "result.rooms");
		assert_true(here <= (size_t)limit && page.n <= FRAME_MAX_BYTES);
		count += here;
		if (hidden && memmem(page.p, page.n, hidden, strlen(hidden)))
			fail_msg("%s is told in " STR_FMT, hidden, STR_ARG(page));
		if (!value_at(page, "result.cursor").n)
			return count;
		page = ask(k, "room.list", "{\"limit\":%d,\"cursor\":\"%s\"}", limit,
			text_at(page, "result.cursor"));
	}
}

static void make_rooms(struct client *ann)
{
	for (int i = 0; i < 60; i++)
		expect_result(ask(ann, "room.create", "{\"room\":\"%s-%d\",\"visibility\":\"%s\"}",
			i % 3 ? "team" : "other", i, i % 2 ? "private" : "public"));
}

static void a_list_has_what_the_caller_may_see(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob"), *k;
	make_rooms(ann);
	change_rooms("INSERT INTO room_roles SELECT id, 'bob', 'viewer' FROM rooms WHERE name = "
		     "'team-1'; INSERT INTO room_bans SELECT id, 'bob', '', '', 0, NULL FROM rooms "
		     "WHERE name = 'team-2'");
	size_t pages = 0;
	assert_int_equal(list_all(ann, 100, NULL, &pages), 60);
	assert_int_equal(pages, 1);
	assert_int_equal(list_all(ann, 20, NULL, &pages), 60);
	assert_int_equal(pages, 3);
	assert_int_equal(list_all(ann, 7, NULL, &pages), 60);
	assert_int_equal(list_all(bob, 7, "\"team-2\"", &pages), 30);
	struct str teams = STR("team-*");
	struct principal who = {.user = STR("ann"),
		.scopes = SCOPES_DEFAULT,
		.rooms_limited = true,
		.room_count = 1,
		.rooms = &teams};
	k = client_of(0, &who);
	assert_int_equal(list_all(k, 3, "other", &pages), 40);
	client_free(k);
	who = (struct principal){.user = STR("mod"), .scopes = SCOPE_ROOMS_MODERATE};
	k = client_of(0, &who);
	assert_int_equal(list_all(k, 50, NULL, &pages), 60);
	client_free(k);
	struct str page = ask(bob, "room.list", "{\"limit\":2}");
	expect_at(page, "result.rooms.0.room", "\"other-0\"");
	expect_at(page, "result.rooms.0.role", "\"member\"");
	expect_at(page, "result.rooms.0.owner", "\"ann\"");
	expect_at(page, "result.rooms.1.room", "\"team-1\"");
	expect_at(page, "result.rooms.1.role", "\"viewer\"");
	expect_reason(ask(bob, "room.list", "{\"cursor\":\"x\"}"), "invalid_params");
	expect_reason(ask(bob, "room.list", "{\"limit\":101}"), "invalid_params");
	client_free(ann);
	client_free(bob);
}

static void large_records_make_short_pages(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	for (int i = 0; i < 105; i++)
		expect_result(ask(
			ann, "room.create", "{\"room\":\"r%d\",\"metadata\":\"%016000d\"}", i, i));
	size_t pages = 0;
	assert_int_equal(list_all(ann, 100, NULL, &pages), 105);
	assert_true(pages > 9);
	client_free(ann);
}

/* ---- waiting for the store ---- */

static void while_a_room_is_loaded_all_wait_in_order(void **state)
{
	(void)state;
	start_over("", "SELECT 1", "ROOM_GET:*:delay=150");
	struct client *ann = client("ann"), *bob = client("bob");
	uint64_t a = send_call(ann, "room.join", "{\"room\":\"r\"}");
	usleep(20000); /* so that the room hears ann first */
	uint64_t b = send_call(bob, "room.join", "{\"room\":\"r\"}");
	uint64_t p[3];
	for (int i = 0; i < 3; i++)
		p[i] = send_call(bob, "room.publish", "{\"room\":\"r\",\"data\":%d}", i);
	uint64_t s = send_call(bob, "room.state", "{\"room\":\"r\",\"state\":5}");
	uint64_t to = send_call(bob, "signal.send",
		"{\"room\":\"r\",\"to\":{\"user\":\"ann\"},\"type\":\"x\",\"data\":6}");
	uint64_t l = send_call(bob, "room.leave", "{\"room\":\"r\"}");
	expect_at(answer_to(ann, a), "result.members", "[]");
	assert_int_equal(length_at(answer_to(bob, b), "result.members"), 1);
	for (int i = 0; i < 3; i++) {
		char offset[16];
		snprintf(offset, sizeof(offset), "%d", i + 1);
		expect_at(answer_to(bob, p[i]), "result.offset", offset);
	}
	expect_result(answer_to(bob, s));
	expect_at(answer_to(bob, to), "result.queued", "1");
	expect_result(answer_to(bob, l));
	event_of(ann, "room.joined");
	for (int i = 0; i < 3; i++)
		event_of(ann, "room.message");
	event_of(ann, "room.updated");
	event_of(ann, "signal.received");
	event_of(ann, "room.left");
	expect_silence(ann);
	client_free(ann);
	client_free(bob);
}

static void who_ends_while_waiting_does_not_haunt_the_room(void **state)
{
	(void)state;
	start_over("", "SELECT 1", "ROOM_GET:*:delay=150");
	struct client *ann = client("ann"), *bob = client("bob"), *eve = client("eve");
	send_call(bob, "room.join", "{\"room\":\"r\"}");
	usleep(20000);
	uint64_t a = send_call(ann, "room.join", "{\"room\":\"r\"}");
	usleep(20000);
	client_end(bob, false);
	assert_int_equal(length_at(answer_to(ann, a), "result.members"), 1);
	struct str left = event_of(ann, "room.left");
	expect_at(left, "params.reason", "\"lost\"");
	expect_at(joined(eve, "r"), "result.members.0.user", "\"ann\"");
	assert_int_equal(metric_read(METRIC_MEMBERS), 2);
	client_free(ann);
	client_free(bob);
	client_free(eve);
	let_all_arrive();
	assert_int_equal(metric_read(METRIC_MEMBERS), 0);
}

static void what_comes_behind_a_creation_finds_the_room(void **state)
{
	(void)state;
	stop_service();
	start("ROOM_ADD:*:delay=150");
	struct client *ann = client("ann"), *bob = client("bob");
	uint64_t c = send_call(ann, "room.create", "{\"room\":\"e-r\"}");
	usleep(20000);
	uint64_t twice = send_call(bob, "room.create", "{\"room\":\"e-r\"}");
	uint64_t join = send_call(bob, "room.join", "{\"room\":\"e-r\"}");
	usleep(20000);
	client_end(ann, true); /* does not undo it */
	expect_reason(answer_to(bob, twice), "room_exists");
	expect_result(answer_to(bob, join));
	expect_at(ask(bob, "room.get", "{\"room\":\"e-r\"}"), "result.owner", "\"ann\"");
	(void)c;
	client_free(ann);
	client_free(bob);
}

/* ---- when the store fails ---- */

static void a_room_that_cannot_be_loaded_leaves_nothing(void **state)
{
	(void)state;
	static const char *const plans[] = {"ROOM_GET:1:delay=100,ROOM_GET:1:internal",
		"ROOM_GET:1:delay=100,ROOM_ROLES:1:internal"};
	start_over("", "SELECT 1", plans[0]);
	for (int i = 0; i < 2; i++) {
		if (i) {
			stop_service();
			start(plans[i]);
		}
		struct client *ann = client("ann"), *bob = client("bob");
		uint64_t a = send_call(ann, "room.join", "{\"room\":\"r\"}");
		uint64_t b = send_call(bob, "room.get", "{\"room\":\"r\"}");
		uint64_t p = send_call(ann, "room.publish", "{\"room\":\"r\",\"data\":1}");
		struct str r = answer_to(ann, a);
		expect_reason(r, "internal");
		expect_at(r, "error.code", "-32603");
		expect_reason(answer_to(bob, b), "internal");
		expect_reason(answer_to(ann, p), "internal");
		assert_int_equal(metric_read(METRIC_ROOMS), 0);
		joined(ann, "r"); /* and once more */
		expect_at(joined(bob, "r"), "result.members.0.user", "\"ann\"");
		client_free(ann);
		client_free(bob);
	}
}

static void an_overloaded_store_says_so(void **state)
{
	(void)state;
	start_over("", "SELECT 1",
		"ROOM_GET:1:overloaded,ROOM_ADD:1:overloaded,"
		"ROOM_LIST:1:overloaded,ROOM_LIST:2:internal");
	struct client *ann = client("ann");
	struct str r = ask(ann, "room.join", "{\"room\":\"r\"}");
	expect_reason(r, "overloaded");
	expect_at(r, "error.data.retry_after", "2");
	expect_reason(ask(ann, "room.create", "{\"room\":\"s\"}"), "overloaded");
	expect_reason(ask(ann, "room.list", "{}"), "overloaded");
	expect_reason(ask(ann, "room.list", "{}"), "internal");
	assert_int_equal(length_at(ask(ann, "room.list", "{}"), "result.rooms"), 1);
	expect_result(ask(ann, "room.create", "{\"room\":\"s\"}"));
	client_free(ann);
}

static void a_creation_that_was_not_kept_is_not_answered(void **state)
{
	(void)state;
	static const char *const plans[] = {"ROOM_ADD:1:delay=100,ROOM_ADD:1:internal",
		"ROOM_ADD:1:delay=100,commit:1:internal"};
	static const char *const words[] = {"internal", "overloaded"};
	for (int i = 0; i < 2; i++) {
		stop_service();
		remove_db();
		start(plans[i]);
		struct client *ann = client("ann"), *bob = client("bob");
		uint64_t c = send_call(ann, "room.create", "{\"room\":\"r\"}");
		usleep(20000);
		uint64_t j = send_call(bob, "room.join", "{\"room\":\"r\"}");
		expect_reason(answer_to(ann, c), words[i]);
		expect_reason(answer_to(bob, j), "no_such_room");
		assert_int_equal(metric_read(METRIC_ROOMS), 0);
		create(ann, "");
		joined(bob, "r");
		client_free(ann);
		client_free(bob);
	}
}

/* ---- leaving memory ---- */

static void wait_for_rooms(int64_t count)
{
	for (int i = 0; i < 500 && metric_read(METRIC_ROOMS) != count; i++)
		usleep(10000);
	assert_int_equal(metric_read(METRIC_ROOMS), count);
}

static void an_idle_room_leaves_memory(void **state)
{
	(void)state;
	stop_service();
	struct signaling_options o = test_options();
	o.room_idle_ms = 50;
	o.history_age_s = 1;
	start_service(&o, 3, NULL);
	struct client *ann = client("ann");
	create(ann, "");
	wait_for_rooms(0);
	expect_result(ask(ann, "room.get", "{\"room\":\"r\"}"));
	wait_for_rooms(0);
	const char *epoch = text_at(joined(ann, "r"), "result.epoch");
	usleep(200000);
	assert_int_equal(metric_read(METRIC_ROOMS), 1); /* somebody is there */
	expect_result(ask(ann, "room.publish", "{\"room\":\"r\",\"data\":1}"));
	expect_result(ask(ann, "room.leave", "{\"room\":\"r\"}"));
	usleep(200000);
	struct str again = ask(ann, "room.join",
		"{\"room\":\"r\",\"since\":{\"epoch\":\"%s\",\"offset\":0}}", epoch);
	expect_at(again, "result.recovered", "true"); /* history outlives the members */
	assert_int_equal(length_at(again, "result.messages"), 1);
	expect_result(ask(ann, "room.leave", "{\"room\":\"r\"}"));
	wait_for_rooms(0); /* until it is too old */
	client_free(ann);
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_room_is_as_it_was_asked_for),
		test(wrong_wishes_are_refused),
		test(a_room_outlives_the_service),
		test(roles_are_honoured),
		test(scopes_of_the_token_stand_for_roles),
		test(a_locked_room_lets_only_moderators_in),
		test(any_number_of_roles_is_loaded),
		test(a_list_has_what_the_caller_may_see),
		test(large_records_make_short_pages),
		test(while_a_room_is_loaded_all_wait_in_order),
		test(who_ends_while_waiting_does_not_haunt_the_room),
		test(what_comes_behind_a_creation_finds_the_room),
		test(a_room_that_cannot_be_loaded_leaves_nothing),
		test(an_overloaded_store_says_so),
		test(a_creation_that_was_not_kept_is_not_answered),
		test(an_idle_room_leaves_memory),
	};
	return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
