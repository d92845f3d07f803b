/* From one configuration to the next: what is told to differ, what is exchanged, and that nothing that
 * is pointed to moves. */
#include "service/config_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct config *loaded(struct str text)
{
	struct config *config = NULL;
	struct buf errors = BUF_INIT(CONFIG_TEXT_MAX);
	struct config_input input = {.text = &text};
	if (config_load(&input, &config, &errors))
		fail_msg("%s", buf_str(&errors).p);
	buf_free(&errors);
	return config;
}

static void tell(void *context, const char *path, bool at_start)
{
	buf_addf(context, "%s%s ", path, at_start ? "!" : "");
}

static void assert_differ(struct str one, struct str other, const char *expected)
{
	struct config *a = loaded(one), *b = loaded(other);
	struct buf told = BUF_INIT(4096);
	config_compare(a, b, tell, &told);
	assert_string_equal(buf_str(&told).p, expected);
	buf_free(&told);
	config_free(&a);
	config_free(&b);
}

static void tells_what_differs(void **state)
{
	(void)state;
	assert_differ(STR(""), STR(""), "");
	assert_differ(STR("limits: {message: 128KiB}"), STR(""), "");
	assert_differ(STR("limits: {message: 64KiB, calls_per_worker: 2000}"), STR(""),
		"limits.message limits.calls_per_worker! ");
	assert_differ(STR("server: {origins: [\"https://a.example\"], demo: false}"),
		STR("server: {origins: [\"https://b.example\"]}"), "server.origins server.demo! ");
	assert_differ(STR("ice_servers: [{urls: [\"stun:a.example\"]}]"), STR(""), "ice_servers ");
	assert_differ(
		STR("ice_servers: [{urls: [\"turn:a.example\"], username: a, credential: b}]"),
		STR("ice_servers: [{urls: [\"turn:a.example\"], username: a, credential: c}]"),
		"ice_servers ");
	assert_differ(STR("issuers: [{issuer: \"https://a.example\", alias: a, audiences: [b], "
			  "jwks_file: /dev/null}]"),
		STR(""), "issuers! ");
	assert_differ(STR("log: {level: debug, format: json}\nsession: {resume_window: 1s}"),
		STR("session: {resume_window: 1000ms}"), "log.level log.format ");
}

static void exchanges_what_can_change(void **state)
{
	(void)state;
	struct config *running = loaded(STR(
		"data: {directory: here}\nlimits: {message: 64KiB, batch: 7}\nice_servers: "
		"[{urls: [\"stun:a.example\"]}]\nrooms: {ephemeral: false}\nlog: {level: warn}"));
	struct config *fresh = loaded(
		STR("data: {directory: there}\nlimits: {message: 96KiB, calls_per_worker: "
		    "2000}\nserver: {origins: [\"https://a.example\", \"https://b.example\"]}"));
	const char *directory = running->data.directory;
	const struct config_ice_server *server = running->ice_servers.items;
	config_exchange(running, fresh);

	assert_ptr_equal(running->data.directory, directory);
	assert_string_equal(fresh->data.directory, "there");
	assert_int_equal(running->limits.calls_per_worker, 65536);

	assert_int_equal(running->limits.message, 96 * 1024);
	assert_int_equal(running->limits.batch, 100);
	assert_int_equal(running->server.origins.count, 2);
	assert_int_equal(running->ice_servers.count, 0);
	assert_true(running->rooms.ephemeral);
	assert_ptr_equal(fresh->ice_servers.items, server); /* lives as long as fresh */
	assert_string_equal(fresh->ice_servers.items[0].urls.items[0], "stun:a.example");

	struct buf told = BUF_INIT(4096); /* what is left is what could not be taken */
	struct config *again = loaded(
		STR("data: {directory: there}\nlimits: {message: 96KiB, calls_per_worker: "
		    "2000}\nserver: {origins: [\"https://a.example\", \"https://b.example\"]}"));
	config_compare(running, again, tell, &told);
	assert_string_equal(buf_str(&told).p, "data.directory! limits.calls_per_worker! ");
	buf_free(&told);
	config_free(&again);
	config_free(&running);
	config_free(&fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_differs),
		cmocka_unit_test(exchanges_what_can_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
