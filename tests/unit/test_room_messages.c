/* Rooms in memory: signaling, publishing, recovery, ICE servers; on one worker and on three. */
#include "room_service.h"

#include "signaling/ice.h"

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
	ice_write(&o, STR("iss|a:b"), 1700000000, STR(""));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
