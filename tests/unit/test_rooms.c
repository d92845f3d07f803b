/* Rooms in memory: joining, the roster, limits; on one worker and on three. What members send each other
 * is in test_room_messages.c; what the store has to do with it in test_room_records.c. */
#include "room_service.h"

static int with_small_limits(void **state)
{
	(void)state;
	struct signaling_options o = test_options();
	o.members_per_room = 3;
	o.rooms_per_session = 4;
	o.state_max = 10;
	o.data_max = 20;
	return start_with(o, 3);
}

/* ---- joining and the roster ---- */

static void a_join_answers_all_that_the_contract_says(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	struct str a = ask(ann, "room.join", "{\"room\":\"e-1\",\"state\":{\"mic\" : 1e0}}");
	expect_at(a, "result.room", "\"e-1\"");
	expect_at(a, "result.role", "\"member\"");
	expect_at(a, "result.members", "[]");
	expect_at(a, "result.members_cursor", "");
	expect_at(a, "result.offset", "0");
	expect_at(a, "result.recovered", "false");
	expect_at(a, "result.messages", "[]");
	expect_at(a, "result.ice_servers.0", "{\"urls\":[\"stun:a.example\",\"stun:b.example\"]}");
	assert_true(value_at(a, "result.epoch").n > 8);
	assert_int_equal(value_at(a, "result.peer").n, 24); /* 128 bits and more, in quotes */
	client_free(ann);
}

static void the_later_joiner_is_the_polite_one(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	struct str a = ask(ann, "room.join", "{\"room\":\"e-1\",\"state\":[1]}");
	struct str b = joined(bob, "e-1");
	assert_int_equal(length_at(b, "result.members"), 1);
	expect_at(b, "result.members.0.polite", "true");
	expect_at(b, "result.members.0.user", "\"ann\"");
	expect_at(b, "result.members.0.name", "\"ann\"");
	expect_at(b, "result.members.0.role", "\"member\"");
	expect_at(b, "result.members.0.state", "[1]");
	expect_at(b, "result.members.0.connected", "true");
	assert_string_equal(text_at(b, "result.members.0.peer"), text_at(a, "result.peer"));
	struct str e = event_of(ann, "room.joined");
	expect_at(e, "params.room", "\"e-1\"");
	assert_int_equal(length_at(e, "params.members"), 1);
	expect_at(e, "params.members.0.polite", "false");
	expect_at(e, "params.members.0.state", "null");
	assert_string_equal(text_at(e, "params.members.0.peer"), text_at(b, "result.peer"));
	expect_silence(bob);
	client_free(ann);
	client_free(bob);
}

static void joining_again_is_the_same_peer(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	struct str first = joined(ann, "e-1");
	joined(bob, "e-1");
	event_of(ann, "room.joined");
	struct str again = ask(ann, "room.join", "{\"room\":\"e-1\",\"state\":7}");
	assert_string_equal(text_at(first, "result.peer"), text_at(again, "result.peer"));
	expect_at(again, "result.members.0.user", "\"bob\"");
	expect_at(again, "result.members.0.polite", "false"); /* ann was here before */
	struct str e = event_of(bob, "room.updated");
	expect_at(e, "params.changes", "{\"state\":7}");
	joined(ann, "e-1"); /* without a state: the old one stays */
	expect_at(ask(bob, "room.presence", "{\"room\":\"e-1\"}"), "result.members.0.state", "7");
	expect_silence(bob);
	expect_silence(ann);
	client_free(ann);
	client_free(bob);
}

static void endings_are_told_with_their_reason(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *others[3];
	const char *const reasons[] = {"\"left\"", "\"left\"", "\"lost\""};
	joined(ann, "e-1");
	for (int i = 0; i < 3; i++) {
		others[i] = client("bob");
		const char *peer = text_at(joined(others[i], "e-1"), "result.peer");
		event_of(ann, "room.joined");
		if (i == 0)
			expect_at(
				ask(others[0], "room.leave", "{\"room\":\"e-1\"}"), "result", "{}");
		else
			client_end(others[i], i == 1);
		struct str e = event_of(ann, "room.left");
		expect_at(e, "params.room", "\"e-1\"");
		expect_at(e, "params.reason", reasons[i]);
		assert_string_equal(text_at(e, "params.peer"), peer);
	}
	expect_at(ask(ann, "room.presence", "{\"room\":\"e-1\"}"), "result.members", "[]");
	expect_result(ask(others[0], "room.leave", "{\"room\":\"e-1\"}")); /* again: no error */
	expect_silence(others[0]);
	for (int i = 0; i < 3; i++)
		client_free(others[i]);
	client_free(ann);
}

static void an_ephemeral_room_ends_with_its_last_member(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	const char *epoch = text_at(joined(ann, "lobby"), "result.epoch");
	expect_result(ask(ann, "room.publish", "{\"room\":\"lobby\",\"data\":1}"));
	struct str b = joined(bob, "lobby");
	assert_string_equal(text_at(b, "result.epoch"), epoch);
	expect_at(b, "result.offset", "1");
	ask(ann, "room.leave", "{\"room\":\"lobby\"}");
	assert_int_equal(metric_read(METRIC_ROOMS), 1);
	ask(bob, "room.leave", "{\"room\":\"lobby\"}");
	assert_int_equal(metric_read(METRIC_ROOMS), 0);
	b = joined(bob, "lobby");
	assert_string_not_equal(text_at(b, "result.epoch"), epoch);
	expect_at(b, "result.offset", "0");
	client_free(ann);
	client_free(bob);
}

static void who_may_make_an_ephemeral_room(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	struct principal weak = {.user = STR("weak"), .scopes = SCOPE_ROOMS_JOIN};
	struct client *bob = client_of(0, &weak);
	expect_reason(ask(ann, "room.join", "{\"room\":\"other\"}"), "no_such_room");
	expect_reason(ask(bob, "room.join", "{\"room\":\"e-1\"}"), "no_such_room");
	joined(ann, "e-1");
	joined(bob, "e-1"); /* now it is there */
	expect_reason(ask(ann, "room.create", "{\"room\":\"e-1\"}"), "room_exists");
	struct str g = ask(ann, "room.get", "{\"room\":\"e-1\"}");
	expect_at(g, "result.persistent", "false");
	expect_at(g, "result.member_count", "2");
	expect_at(g, "result.owner", "null");
	client_free(ann);
	client_free(bob);
}

static void a_token_for_other_rooms(void **state)
{
	(void)state;
	struct str seen = STR("e-mine-*");
	struct principal narrow = {.user = STR("ann"),
		.scopes = SCOPES_DEFAULT,
		.rooms_limited = true,
		.room_count = 1,
		.rooms = &seen};
	struct client *ann = client_of(0, &narrow), *bob = client("bob");
	joined(ann, "e-mine-1");
	joined(bob, "e-2");
	expect_reason(ask(ann, "room.join", "{\"room\":\"e-2\"}"), "room_not_in_token");
	expect_reason(ask(ann, "room.join", "{\"room\":\"e-3\"}"), "room_not_in_token");
	expect_reason(ask(ann, "room.presence", "{\"room\":\"e-2\"}"), "room_not_in_token");
	expect_reason(ask(ann, "room.get", "{\"room\":\"e-2\"}"), "room_not_in_token");
	expect_reason(ask(ann, "room.create", "{\"room\":\"new\"}"), "room_not_in_token");
	expect_reason(
		ask(ann, "room.publish", "{\"room\":\"e-2\",\"data\":1}"), "room_not_in_token");
	client_free(ann);
	client_free(bob);
}

static void names_are_checked(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	char longest[260];
	memset(longest, 'e', sizeof(longest));
	longest[1] = '-';
	longest[255] = 0;
	joined(ann, longest);
	longest[255] = 'e';
	longest[256] = 0;
	expect_reason(ask(ann, "room.join", "{\"room\":\"%s\"}", longest), "invalid_params");
	expect_reason(ask(ann, "room.join", "{\"room\":\"\"}"), "invalid_params");
	expect_reason(ask(ann, "room.join", "{\"room\":\"e-\\u0007\"}"), "invalid_params");
	expect_reason(ask(ann, "room.join", "{\"room\":7}"), "invalid_params");
	struct str a = ask(ann, "room.join", "{\"room\":\"e-1\",\"colour\":1}");
	expect_reason(a, "invalid_params");
	expect_at(a, "error.data.field", "\"colour\"");
	struct str odd =
		ask(ann, "room.join", "{\"room\":\"e-\\u00e4 \\\"\\\\ \xf0\x9f\x98\x80\"}");
	expect_at(odd, "result.room", "\"e-\xc3\xa4 \\\"\\\\ \xf0\x9f\x98\x80\"");
	client_free(ann);
}

static void state_is_told_to_the_others(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob"), *eve = client("eve");
	const char *peer = text_at(joined(ann, "e-1"), "result.peer");
	joined(bob, "e-1");
	event_of(ann, "room.joined");
	struct str set = ask(ann, "room.state", "{\"room\":\"e-1\",\"state\":{\"hand\":true}}");
	expect_at(set, "result", "{}");
	struct str e = event_of(bob, "room.updated");
	assert_string_equal(text_at(e, "params.peer"), peer);
	expect_at(e, "params.changes", "{\"state\":{\"hand\":true}}");
	expect_at(joined(eve, "e-1"), "result.members.0.state", "{\"hand\":true}");
	expect_silence(eve);
	expect_reason(ask(ann, "room.state", "{\"room\":\"e-2\",\"state\":1}"), "not_a_member");
	event_of(ann, "room.joined");
	expect_silence(ann);
	client_free(ann);
	client_free(bob);
	client_free(eve);
}

static void a_large_roster_comes_in_pages(void **state)
{
	(void)state;
	enum { MANY = 120 };
	struct client *all[MANY], *last = client("last");
	char big[4001];
	memset(big, 'x', 4000);
	big[4000] = 0;
	for (int i = 0; i < MANY; i++) {
		all[i] = client("crowd");
		expect_result(
			ask(all[i], "room.join", "{\"room\":\"e-1\",\"state\":\"%.3990s\"}", big));
	}
	struct str page = joined(last, "e-1");
	assert_true(page.n < FRAME_MAX_BYTES);
	size_t seen = length_at(page, "result.members");
	while (value_at(page, "result.members_cursor").n) {
		assert_true(length_at(page, "result.members") > 0);
		page = ask(last, "room.presence", "{\"room\":\"e-1\",\"cursor\":\"%s\"}",
			text_at(page, "result.members_cursor"));
		expect_at(page, "result.members.0.polite", "true");
		assert_true(page.n < FRAME_MAX_BYTES);
		seen += length_at(page, "result.members");
	}
	assert_int_equal(seen, MANY);
	expect_reason(ask(last, "room.presence", "{\"room\":\"e-1\",\"cursor\":\"x\"}"),
		"invalid_params");
	client_free(last);
	for (int i = 0; i < MANY; i++)
		client_free(all[i]);
}

static void presence_without_joining(void **state)
{
	(void)state;
	struct client *ann = client("ann"), *bob = client("bob");
	expect_reason(ask(bob, "room.presence", "{\"room\":\"e-1\"}"), "no_such_room");
	joined(ann, "e-1");
	struct str p = ask(bob, "room.presence", "{\"room\":\"e-1\"}");
	assert_int_equal(length_at(p, "result.members"), 1);
	expect_at(p, "result.members.0.user", "\"ann\"");
	expect_at(p, "result.members.0.polite", "false");
	expect_silence(ann);
	client_free(ann);
	client_free(bob);
}

/* ---- limits ---- */

static void each_limit_has_its_reason(void **state)
{
	(void)state;
	struct client *all[4], *ann;
	for (int i = 0; i < 4; i++)
		all[i] = client("ann");
	for (int i = 0; i < 3; i++)
		joined(all[i], "e-full");
	struct str full = ask(all[3], "room.join", "{\"room\":\"e-full\"}");
	expect_reason(full, "room_full");
	expect_at(full, "error.code", "-32023");
	expect_at(full, "error.data.limit", "3");
	joined(all[0], "e-full"); /* who is in it is not refused */
	ann = all[3];
	for (int i = 0; i < 3; i++) /* the refused join took no place */
		expect_result(ask(ann, "room.join", "{\"room\":\"e-%d\"}", i));
	expect_reason(ask(ann, "room.join", "{\"room\":\"nowhere\"}"), "no_such_room");
	joined(ann, "e-3");
	struct str many = ask(ann, "room.join", "{\"room\":\"e-4\"}");
	expect_reason(many, "too_many_rooms");
	expect_at(many, "error.data.limit", "4");
	joined(ann, "e-3");
	ask(ann, "room.leave", "{\"room\":\"e-2\"}");
	let_all_arrive();
	joined(ann, "e-4");
	expect_reason(ask(ann, "room.join", "{\"room\":\"e-5\"}"), "too_many_rooms");
	assert_int_equal(metric_read(METRIC_MEMBERS), 7);
	assert_int_equal(metric_read(METRIC_ROOMS), 5);
	for (int i = 0; i < 4; i++)
		client_free(all[i]);
}

static void what_is_too_large_is_refused_by_name(void **state)
{
	(void)state;
	struct client *ann = client("ann");
	joined(ann, "e-1");
	static const struct {
		const char *method, *params, *field, *limit;
	} rows[] = {
		{"room.join", "{\"room\":\"e-1\",\"state\":\"123456789\"}", "\"state\"", "10"},
		{"room.state", "{\"room\":\"e-1\",\"state\":\"123456789\"}", "\"state\"", "10"},
		{"room.publish", "{\"room\":\"e-1\",\"data\":\"1234567890123456789\"}", "\"data\"",
			"20"},
		{"signal.send",
			"{\"room\":\"e-1\",\"to\":\"room\",\"type\":\"offer\","
			"\"data\":\"1234567890123456789\"}",
			"\"data\"", "20"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct str a = ask(ann, rows[i].method, "%s", rows[i].params);
		expect_reason(a, "too_large");
		expect_at(a, "error.data.field", rows[i].field);
		expect_at(a, "error.data.limit", rows[i].limit);
	}
	expect_result(ask(ann, "room.state", "{\"room\":\"e-1\",\"state\":\"12345678\"}"));
	client_free(ann);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on(on_one, a_join_answers_all_that_the_contract_says),
		on(on_one, the_later_joiner_is_the_polite_one),
		on(on_three, the_later_joiner_is_the_polite_one),
		on(on_three, joining_again_is_the_same_peer),
		on(on_one, endings_are_told_with_their_reason),
		on(on_three, endings_are_told_with_their_reason),
		on(on_three, an_ephemeral_room_ends_with_its_last_member),
		on(on_three, who_may_make_an_ephemeral_room),
		on(on_three, a_token_for_other_rooms),
		on(on_three, names_are_checked),
		on(on_three, state_is_told_to_the_others),
		on(on_three, a_large_roster_comes_in_pages),
		on(on_three, presence_without_joining),
		on(with_small_limits, each_limit_has_its_reason),
		on(with_small_limits, what_is_too_large_is_refused_by_name),
	};
	return cmocka_run_group_tests(tests, make, clean);
}
