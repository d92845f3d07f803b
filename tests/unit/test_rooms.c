/* Rooms in memory: joining, the roster, signaling, publishing, recovery, limits; on one worker and
 * on three. What the store has to do with it is in test_room_records.c. */
#include "room_clients.h"

#include "signaling/ice.h"

static const struct str globs[] = {STR("e-*"), STR("lobby")};
static const struct str stun_urls[] = {STR("stun:a.example"), STR("stun:b.example")};
static const struct str turn_urls[] = {STR("turn:t.example?transport=udp")};
static const struct ice_server ice[] = {
	{.urls = stun_urls, .url_count = 2},
	{.urls = turn_urls, .url_count = 1, .secret = STR("north")},
	{.urls = turn_urls, .url_count = 1, .username = STR("u"), .credential = STR("c")},
};

static struct signaling_options test_options(void)
{
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 2;
	o.ice = ice;
	o.ice_count = 3;
	return o;
}

static int workers;

static int start_with(struct signaling_options o, int count)
{
	workers = count;
	start_service(&o, count, NULL);
	return 0;
}

static int on_one(void **state)
{
	(void)state;
	return start_with(test_options(), 1);
}

static int on_three(void **state)
{
	(void)state;
	return start_with(test_options(), 3);
}

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

static int with_short_history(void **state)
{
	(void)state;
	struct signaling_options o = test_options();
	o.history_messages = 5;
	return start_with(o, 3);
}

static int with_much_ice(void **state) /* far more than the configuration lets through */
{
	(void)state;
	static char url[40000] = "turn:";
	static const struct str urls[] = {{url, sizeof(url) - 1}};
	static const struct ice_server much = {.urls = urls, .url_count = 1, .secret = STR("s")};
	struct signaling_options o = test_options();
	memset(url + 5, 'h', sizeof(url) - 6);
	o.ice = &much;
	o.ice_count = 1;
	return start_with(o, 3);
}

static int stop(void **state)
{
	(void)state;
	stop_service();
	remove_db();
	return 0;
}

static struct client *client(const char *user)
{
	static int next;
	return client_new(next++ % workers, user);
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

/* ---- signaling ---- */

static struct client *ann, *bob, *bob2, *eve;
static const char *ann_peer, *bob_peer, *bob2_peer;

static void gather(void)
{
	ann = client("ann");
	bob = client("bob");
	bob2 = client("bob");
	eve = client("eve");
	ann_peer = text_at(joined(ann, "e-1"), "result.peer");
	bob_peer = text_at(joined(bob, "e-1"), "result.peer");
	bob2_peer = text_at(joined(bob2, "e-1"), "result.peer");
	event_of(ann, "room.joined");
	event_of(ann, "room.joined");
	event_of(bob, "room.joined");
}

static void part(void)
{
	client_free(ann);
	client_free(bob);
	client_free(bob2);
	client_free(eve);
}

static struct str signal_to(struct client *from, const char *to)
{
	return ask(from, "signal.send",
		"{\"room\":\"e-1\",\"to\":%s,\"type\":\"offer\",\"data\":{\"sdp\":\"v=0\"}}", to);
}

static void expect_offer(struct client *k, const char *from_user, const char *from_peer)
{
	struct str e = event_of(k, "signal.received");
	char quoted[64];
	snprintf(quoted, sizeof(quoted), "\"%s\"", from_user);
	expect_at(e, "params.room", "\"e-1\"");
	expect_at(e, "params.from.user", quoted);
	expect_at(e, "params.from.name", quoted);
	assert_string_equal(text_at(e, "params.from.peer"), from_peer);
	expect_at(e, "params.type", "\"offer\"");
	expect_at(e, "params.data", "{\"sdp\":\"v=0\"}");
}

static void signals_reach_whom_they_are_for(void **state)
{
	(void)state;
	gather();
	char to[64];
	int64_t before = metric_read(METRIC_SIGNALS);
	snprintf(to, sizeof(to), "{\"peer\":\"%s\"}", bob2_peer);
	expect_at(signal_to(ann, to), "result", "{\"queued\":1}");
	expect_offer(bob2, "ann", ann_peer);
	expect_at(signal_to(ann, "{\"user\":\"bob\"}"), "result", "{\"queued\":2}");
	expect_offer(bob, "ann", ann_peer);
	expect_offer(bob2, "ann", ann_peer);
	expect_at(signal_to(bob, "{ \"user\" : \"b\\u006fb\" }"), "result", "{\"queued\":1}");
	expect_offer(bob2, "bob", bob_peer);
	expect_at(signal_to(bob, "\"room\""), "result", "{\"queued\":2}");
	expect_offer(ann, "bob", bob_peer);
	expect_offer(bob2, "bob", bob_peer);
	expect_at(signal_to(bob, "\"ro\\u006fm\""), "result", "{\"queued\":2}");
	expect_offer(ann, "bob", bob_peer);
	expect_offer(bob2, "bob", bob_peer);
	assert_int_equal(metric_read(METRIC_SIGNALS) - before, 8);
	expect_silence(ann);
	expect_silence(bob);
	expect_silence(bob2);
	part();
}

static void signals_to_nobody_are_refused_at_once(void **state)
{
	(void)state;
	gather();
	struct str a = signal_to(ann, "{\"peer\":\"AAAAAAAAAAAAAAAAAAAAAA\"}");
	expect_reason(a, "no_such_peer");
	expect_at(a, "error.code", "-32004");
	expect_reason(signal_to(ann, "{\"user\":\"nobody\"}"), "no_such_user");
	expect_reason(signal_to(ann, "{\"user\":\"ann\"}"), "no_such_user"); /* no other device */
	expect_reason(signal_to(eve, "\"room\""), "not_a_member");
	char to[64];
	snprintf(to, sizeof(to), "{\"peer\":\"%s\"}", bob_peer);
	client_end(bob, false);
	event_of(ann, "room.left");
	expect_reason(signal_to(ann, to), "no_such_peer");
	expect_at(signal_to(ann, "{\"user\":\"bob\"}"), "result", "{\"queued\":1}");
	client_end(bob2, false);
	event_of(ann, "room.left");
	expect_at(signal_to(ann, "\"room\""), "result", "{\"queued\":0}"); /* no error */
	expect_silence(ann);
	part();
}

static void what_a_signal_may_look_like(void **state)
{
	(void)state;
	gather();
	static const char *const wrong_to[] = {"\"rooms\"", "{}", "7", "null", "[]", "\"\"",
		"{\"peer\":\"a\",\"user\":\"b\"}", "{\"peer\":7}", "{\"peer\":\"\"}",
		"{\"everybody\":true}", "{\"peer\":\"a\",\"x\":1}"};
	for (size_t i = 0; i < sizeof(wrong_to) / sizeof(*wrong_to); i++) {
		struct str a = signal_to(ann, wrong_to[i]);
		expect_reason(a, "invalid_params");
		expect_at(a, "error.data.field", "\"to\"");
	}
	static const char *const good_types[] = {
		"answer", "candidates-end", "x", "Hang_Up-2", "abcdefghijklmnopqrstuvwxyzabcdef"};
	static const char *const bad_types[] = {
		"", "two words", "a.b", "\\u00e4", "abcdefghijklmnopqrstuvwxyzabcdefg"};
	for (size_t i = 0; i < 5; i++) {
		expect_result(ask(ann, "signal.send",
			"{\"room\":\"e-1\",\"to\":\"room\",\"type\":\"%s\",\"data\":1}",
			good_types[i]));
		struct str a = ask(ann, "signal.send",
			"{\"room\":\"e-1\",\"to\":\"room\",\"type\":\"%s\",\"data\":1}",
			bad_types[i]);
		expect_reason(a, "invalid_params");
		expect_at(a, "error.data.field", "\"type\"");
	}
	part();
}

static const char *const odd_json[] = {"1e0", "1.10", "0.1", "18446744073709551616", "1e400",
	"-0.0", "\"\\u0000\"", "\"\\ud800\"", "\"\\/\"", "\"\\u0061\"", "{\"a\":1,\"a\":2}",
	"{ \"a\" :\t[ 1 ,2 ] }", "[ ]", "null", "\"\xc3\xa4\"", "[[[[[[[[]]]]]]]]"};

static void bytes_are_passed_on_as_they_came(void **state)
{
	(void)state;
	gather();
	for (size_t i = 0; i < sizeof(odd_json) / sizeof(*odd_json); i++) {
		const char *json = odd_json[i];
		expect_result(ask(ann, "signal.send",
			"{\"room\":\"e-1\",\"to\":{\"user\":\"bob\"},\"type\":\"x\",\"data\": %s }",
			json));
		expect_at(event_of(bob, "signal.received"), "params.data", json);
		expect_at(event_of(bob2, "signal.received"), "params.data", json);
		expect_result(ask(ann, "room.publish", "{\"room\":\"e-1\",\"data\": %s }", json));
		expect_at(event_of(ann, "room.message"), "params.data", json);
		expect_at(event_of(bob, "room.message"), "params.data", json);
		event_of(bob2, "room.message");
		expect_result(ask(ann, "room.state", "{\"room\":\"e-1\",\"state\": %s }", json));
		expect_at(event_of(bob, "room.updated"), "params.changes.state", json);
		event_of(bob2, "room.updated");
		struct str p = ask(eve, "room.presence", "{\"room\":\"e-1\"}");
		expect_at(p, "result.members.0.state", json);
	}
	part();
}

/* ---- publishing ---- */

static void a_message_reaches_all_and_has_an_offset(void **state)
{
	(void)state;
	gather();
	struct client *all[] = {ann, bob, bob2};
	const char *epoch = text_at(joined(ann, "e-1"), "result.epoch");
	for (int i = 1; i <= 3; i++) {
		struct str r = ask(bob, "room.publish", "{\"room\":\"e-1\",\"data\":[%d]}", i);
		assert_string_equal(text_at(r, "result.epoch"), epoch);
		char offset[16], data[16];
		snprintf(offset, sizeof(offset), "%d", i);
		snprintf(data, sizeof(data), "[%d]", i);
		expect_at(r, "result.offset", offset);
		for (int k = 0; k < 3; k++) { /* the sender too */
			struct str e = event_of(all[k], "room.message");
			expect_at(e, "params.offset", offset);
			expect_at(e, "params.data", data);
			expect_at(e, "params.room", "\"e-1\"");
			expect_at(e, "params.from.user", "\"bob\"");
			assert_string_equal(text_at(e, "params.from.peer"), bob_peer);
			assert_string_equal(text_at(e, "params.epoch"), epoch);
			int64_t ms = 0;
			assert_int_equal(json_decode_int(value_at(e, "params.time"), &ms), ERR_OK);
			assert_true(ms / 1000 - (int64_t)time(NULL) <= 1 &&
				(int64_t)time(NULL) - ms / 1000 <= 60);
		}
	}
	part();
}

static void one_key_is_one_message(void **state)
{
	(void)state;
	gather();
	const char *once = "{\"room\":\"e-1\",\"data\":1,\"idempotency_key\":\"k\"}";
	expect_at(ask(ann, "room.publish", "%s", once), "result.offset", "1");
	expect_at(ask(ann, "room.publish", "%s", once), "result.offset", "1");
	expect_at(ask(bob, "room.publish", "%s", once), "result.offset", "2"); /* another user's */
	expect_at(ask(bob2, "room.publish", "%s", once), "result.offset", "2");
	event_of(ann, "room.message");
	event_of(ann, "room.message");
	expect_silence(ann);
	for (int i = 0; i < 1100; i++) /* what is remembered is bounded */
		expect_result(ask(ann, "room.publish",
			"{\"room\":\"e-1\",\"data\":1,\"idempotency_key\":\"k%d\"}", i));
	expect_at(ask(ann, "room.publish", "%s", once), "result.offset", "1103");
	expect_at(ask(ann, "room.publish",
			  "{\"room\":\"e-1\",\"data\":1,\"idempotency_key\":\"k1099\"}"),
		"result.offset", "1102");
	part();
}

static void who_is_not_in_the_room_publishes_for_who_is(void **state)
{
	(void)state;
	gather();
	struct principal moderator = {
		.user = STR("client:backend"), .scopes = SCOPE_ROOMS_JOIN | SCOPE_ROOMS_MODERATE};
	struct client *backend = client_of(0, &moderator), *ann_too = client("ann");
	const char *params = "{\"room\":\"e-1\",\"data\":1}";
	expect_reason(ask(eve, "room.publish", "%s", params), "not_a_member");
	expect_reason(ask(eve, "room.publish", "{\"room\":\"no\",\"data\":1}"), "no_such_room");
	expect_result(ask(ann_too, "room.publish", "%s", params)); /* ann is there */
	struct str e = event_of(bob, "room.message");
	expect_at(e, "params.from", "{\"peer\":null,\"user\":\"ann\"}");
	event_of(ann, "room.message");
	expect_silence(ann_too);
	expect_at(ask(backend, "room.publish", "%s", params), "result.offset", "2");
	expect_at(event_of(bob, "room.message"), "params.from",
		"{\"peer\":null,\"user\":\"client:backend\"}");
	expect_silence(backend);
	part();
	client_free(ann_too);
	client_free(backend);
}

/* ---- recovery ---- */

static struct str join_since(struct client *k, const char *epoch, int offset)
{
	return ask(k, "room.join", "{\"room\":\"e-1\",\"since\":{\"epoch\":\"%s\",\"offset\":%d}}",
		epoch, offset);
}

static void what_was_missed_is_told_whole_or_not_at_all(void **state)
{
	(void)state;
	gather();
	const char *epoch = text_at(joined(ann, "e-1"), "result.epoch");
	struct str r = join_since(eve, epoch, 0); /* nothing was published: nothing missed */
	expect_at(r, "result.recovered", "true");
	expect_at(r, "result.messages", "[]");
	ask(eve, "room.leave", "{\"room\":\"e-1\"}");
	for (int i = 1; i <= 7; i++)
		expect_result(ask(ann, "room.publish", "{\"room\":\"e-1\",\"data\":%d}", i));
	for (int since = 0; since <= 9; since++) {
		r = join_since(eve, epoch, since);
		bool complete = since >= 2 && since <= 7; /* five are kept */
		expect_at(r, "result.recovered", complete ? "true" : "false");
		expect_at(r, "result.offset", "7");
		assert_int_equal(
			length_at(r, "result.messages"), complete ? (size_t)(7 - since) : 0);
		for (int i = since + 1; complete && i <= 7; i++) {
			char path[64], number[16];
			snprintf(number, sizeof(number), "%d", i);
			snprintf(path, sizeof(path), "result.messages.%d.offset", i - since - 1);
			expect_at(r, path, number);
			snprintf(path, sizeof(path), "result.messages.%d.data", i - since - 1);
			expect_at(r, path, number);
		}
		if (since % 2)
			ask(eve, "room.leave", "{\"room\":\"e-1\"}");
	}
	r = join_since(eve, "AAAAAAAAAAAA", 7);
	expect_at(r, "result.recovered", "false");
	assert_string_equal(text_at(r, "result.epoch"), epoch);
	expect_reason(ask(eve, "room.join", "{\"room\":\"e-1\",\"since\":{\"epoch\":\"a\"}}"),
		"invalid_params");
	expect_reason(ask(eve, "room.join", "{\"room\":\"e-1\",\"since\":7}"), "invalid_params");
	expect_reason(join_since(eve, epoch, -1), "invalid_params");
	part();
}

static void too_much_to_recover_is_refused(void **state)
{
	(void)state;
	gather();
	const char *epoch = text_at(joined(ann, "e-1"), "result.epoch");
	char *big = mem_alloc(60001);
	memset(big, '1', 60000);
	for (int i = 0; i < 3; i++)
		expect_result(ask(ann, "room.publish", "{\"room\":\"e-1\",\"data\":%s}", big));
	free(big);
	expect_at(join_since(eve, epoch, 0), "result.recovered", "false");
	struct str r = join_since(eve, epoch, 1);
	expect_at(r, "result.recovered", "true");
	assert_int_equal(length_at(r, "result.messages"), 2);
	assert_true(r.n <= FRAME_MAX_BYTES);
	part();
}

/* Roster and ICE servers take their part of the answer first. */
static void what_does_not_fit_is_not_recovered(void **state)
{
	(void)state;
	enum { CROWD = 60, STATE = 2000, DATA = 64000 };
	struct client *crowd[CROWD];
	gather();
	const char *epoch = text_at(joined(ann, "e-1"), "result.epoch");
	char *big = mem_alloc(DATA + 1);
	memset(big, '1', STATE);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = client("one of a crowd");
		expect_result(ask(crowd[i], "room.join", "{\"room\":\"e-1\",\"state\":%s}", big));
	}
	memset(big, '1', DATA);
	expect_result(ask(ann, "room.publish", "{\"room\":\"e-1\",\"data\":%s}", big));
	expect_result(ask(ann, "room.publish", "{\"room\":\"e-1\",\"data\":%s}", big));
	free(big);
	struct str r = join_since(eve, epoch, 0);
	expect_at(r, "result.recovered", "false");
	expect_at(r, "result.messages", "[]");
	r = join_since(eve, epoch, 1); /* recovered */
	assert_int_equal(length_at(r, "result.messages"), 1);
	for (int i = 0; i < CROWD; i++)
		client_free(crowd[i]);
	part();
}

/* ---- ICE ---- */

static void turn_credentials_are_coturns(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(4096);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	ice_write(&o, STR("iss|a:b"), 1700000000);
	json_close(&o, '}');
	/* printf %s '1700000000:iss|a:b' | openssl dgst -sha1 -hmac north -binary | base64 */
	expect_at(buf_str(&b), "ice_servers.1.username", "\"1700000000:iss|a:b\"");
	expect_at(buf_str(&b), "ice_servers.1.credential", "\"LHgN2MUz/MytsyAyaTu2iV2u/KE=\"");
	expect_at(buf_str(&b), "ice_servers.2.username", "\"u\"");
	expect_at(buf_str(&b), "ice_servers.2.credential", "\"c\"");
	buf_free(&b);
	struct client *k = client("ann");
	struct str a = ask(k, "ice.servers", "{}");
	int64_t expires_at = 0;
	assert_int_equal(json_decode_int(value_at(a, "result.expires_at"), &expires_at), ERR_OK);
	assert_true(expires_at >= (int64_t)time(NULL) + 3590);
	assert_int_equal(length_at(a, "result.ice_servers"), 3);
	client_free(k);
}

static int make(void **state)
{
	(void)state;
	make_folder();
	return 0;
}

static int clean(void **state)
{
	(void)state;
	remove_folder();
	return 0;
}

#define on(where, f) cmocka_unit_test_setup_teardown(f, where, stop)

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
		on(on_one, signals_reach_whom_they_are_for),
		on(on_three, signals_reach_whom_they_are_for),
		on(on_three, signals_to_nobody_are_refused_at_once),
		on(on_three, what_a_signal_may_look_like),
		on(on_one, bytes_are_passed_on_as_they_came),
		on(on_three, bytes_are_passed_on_as_they_came),
		on(on_three, a_message_reaches_all_and_has_an_offset),
		on(on_three, one_key_is_one_message),
		on(on_three, who_is_not_in_the_room_publishes_for_who_is),
		on(with_short_history, what_was_missed_is_told_whole_or_not_at_all),
		on(on_three, too_much_to_recover_is_refused),
		on(with_much_ice, what_does_not_fit_is_not_recovered),
		on(on_three, turn_credentials_are_coturns),
	};
	return cmocka_run_group_tests(tests, make, clean);
}
