/* room_service.h: a service for tests of rooms in memory: its options, on one worker or on three, and
 * clients who are spread over them. For tests/unit/test_room*.c. */
#pragma once

#include "room_clients.h"

static const struct str globs[] = {STR("e-*"), STR("lobby")};
static const struct str stun_urls[] = {STR("stun:a.example"), STR("stun:b.example")};
static const struct str turn_urls[] = {STR("turn:t.example?transport=udp")};
static const struct ice_server ice[] = {
	{.urls = stun_urls, .url_count = 2},
	{.urls = turn_urls, .url_count = 1, .secret = STR("north")},
	{.urls = turn_urls, .url_count = 1, .username = STR("u"), .credential = STR("c")},
};

static inline struct signaling_options test_options(void)
{
	struct signaling_options o = signaling_defaults;
	o.ephemeral = globs;
	o.ephemeral_count = 2;
	o.ice = ice;
	o.ice_count = 3;
	return o;
}

static int workers;

static inline int start_with(struct signaling_options o, int count)
{
	workers = count;
	start_service(&o, count, NULL);
	return 0;
}

static inline int on_one(void **state)
{
	(void)state;
	return start_with(test_options(), 1);
}

static inline int on_three(void **state)
{
	(void)state;
	return start_with(test_options(), 3);
}

static inline int stop(void **state)
{
	(void)state;
	stop_service();
	remove_db();
	return 0;
}

static inline struct client *client(const char *user)
{
	static int next;
	return client_new(next++ % workers, user);
}

static inline int make(void **state)
{
	(void)state;
	make_folder();
	return 0;
}

static inline int clean(void **state)
{
	(void)state;
	remove_folder();
	return 0;
}

#define on(where, f) cmocka_unit_test_setup_teardown(f, where, stop)
