/* quota: against a model of counts, from one thread and from many at once. */
#include "service/forwarded.h"
#include "service/quota.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { ADDRESSES = 12, USERS = 5, THREADS = 4, MOST = 7 };

/* Those of one line are one customer. */
static const char *const texts[ADDRESSES] = {"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2",
	"198.51.100.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8:0:1::1",
	"2001:db8:0:1:8000::", "10.0.0.1", "10.0.0.2", "203.0.113.9"};
static const int customers[ADDRESSES] = {0, 0, 2, 3, 4, 4, 4, 7, 7, 9, 10, 11};
static const char *const names[USERS] = {"ann", "bob", "192.0.2.1", "an", "annn"};

static bool trusted(int i)
{
	return i == 9 || i == 10;
}

static void begin(struct quota_limits limits)
{
	static char *proxies[] = {"10.0.0.0/8"};
	struct config c = {.server = {.trusted_proxies = {proxies, 1}}};
	forwarded_configure(&c);
	quota_configure(&limits);
}

/* What is counted: by customer, and what of it is of each address, which alone can give it back. */
struct model {
	unsigned sockets[ADDRESSES], sockets_of[ADDRESSES];
	unsigned openings[ADDRESSES], openings_of[ADDRESSES];
	unsigned sessions[USERS];
};

static void connect_one(struct model *m, int i)
{
	unsigned n = m->sockets[customers[i]];
	enum quota_room want = QUOTA_ROOM;
	if (!trusted(i) && n >= MOST)
		want = n < MOST + QUOTA_CROWD ? QUOTA_CROWDED : QUOTA_PACKED;
	assert_int_equal(quota_connect(str_of(texts[i])), want);
	m->sockets[customers[i]] += want != QUOTA_PACKED;
	m->sockets_of[i] += want != QUOTA_PACKED;
}

static void disconnect_one(struct model *m, int i)
{
	if (!m->sockets_of[i])
		return;
	quota_disconnect(str_of(texts[i]));
	m->sockets[customers[i]]--, m->sockets_of[i]--;
}

static void begin_opening(struct model *m, int i)
{
	struct refusal why;
	bool full = !trusted(i) && m->openings[customers[i]] >= MOST;
	assert_int_equal(quota_opening(str_of(texts[i]), &why), full ? ERR_RATE_LIMITED : ERR_OK);
	if (full)
		return;
	quota_opening_begun(str_of(texts[i]));
	m->openings[customers[i]]++, m->openings_of[i]++;
}

static void end_opening(struct model *m, int i)
{
	if (!m->openings_of[i])
		return;
	quota_opening_ended(str_of(texts[i]));
	m->openings[customers[i]]--, m->openings_of[i]--;
}

static void begin_session(struct model *m, int u)
{
	struct refusal why;
	bool full = m->sessions[u] >= MOST;
	assert_int_equal(quota_session(str_of(names[u]), &why), full ? ERR_FULL : ERR_OK);
	m->sessions[u] += !full;
}

static void end_session(struct model *m, int u)
{
	if (!m->sessions[u])
		return;
	quota_session_ended(str_of(names[u]));
	m->sessions[u]--;
}

static void end_all(struct model *m)
{
	for (int i = 0; i < ADDRESSES; i++) {
		while (m->sockets_of[i])
			disconnect_one(m, i);
		while (m->openings_of[i])
			end_opening(m, i);
	}
	for (int u = 0; u < USERS; u++)
		while (m->sessions[u])
			end_session(m, u);
}

static void counts_as_the_model(void **state)
{
	(void)state;
	static void (*const steps[])(struct model * m, int i) = {
		connect_one, connect_one, disconnect_one, begin_opening, end_opening};
	enum { STEPS = sizeof(steps) / sizeof(*steps) };
	unsigned seed = (unsigned)time(NULL);
	printf("seed %u\n", seed);
	begin((struct quota_limits){.addresses = true,
		.connections_per_address = MOST,
		.unopened_per_address = MOST,
		.sessions_per_user = MOST});
	struct model m = {0};
	for (int n = 0; n < 100000; n++) {
		int i = rand_r(&seed) % ADDRESSES, step = rand_r(&seed) % (STEPS + 2);
		if (step < STEPS)
			steps[step](&m, i);
		else if (step == STEPS)
			begin_session(&m, i % USERS);
		else
			end_session(&m, i % USERS);
	}
	end_all(&m);
	quota_finish();
}

static void what_comes_back_with_time(void **state)
{
	(void)state;
	begin((struct quota_limits){.addresses = true,
		.failed_authentications_per_minute = 6,
		.handshakes_per_second = 1,
		.http_requests_per_second = 10});
	struct str here = STR("192.0.2.1"), other = STR("192.0.2.2"), proxy = STR("10.0.0.1");
	struct refusal why = {0};
	for (int i = 0; i < 6; i++) {
		assert_int_equal(quota_token(here, &why), ERR_OK);
		quota_token_failed(here);
		quota_token_failed(proxy);
	}
	assert_int_equal(quota_token(here, &why), ERR_RATE_LIMITED);
	assert_string_equal(why.reason, "too_many_failures");
	assert_in_range(why.retry_after, 1, 10);
	assert_int_equal(why.limit, 6);
	assert_int_equal(quota_token(other, &why), ERR_OK);
	assert_int_equal(quota_token(proxy, &why), ERR_OK);
	int taken = 0;
	while (!quota_handshake(here, &why))
		taken++;
	assert_in_range(taken, 10, 12);
	assert_int_equal(why.retry_after, 1);
	assert_int_equal(quota_handshake(other, &why), ERR_OK);
	for (int i = 0; i < 100; i++)
		assert_int_equal(quota_handshake(proxy, &why), ERR_OK);
	assert_int_equal(quota_requests(STR("ann"), 100, &why), ERR_OK); /* owed */
	assert_int_equal(quota_requests(STR("ann"), 1, &why), ERR_RATE_LIMITED);
	assert_in_range(why.retry_after, 8, 10);
	assert_int_equal(quota_requests(STR("bob"), 1, &why), ERR_OK);
	quota_finish();
}

static void without_limits_nobody_is_refused(void **state)
{
	(void)state;
	struct quota_limits all[] = {{.addresses = true},
		{.connections_per_address = 1,
			.unopened_per_address = 1,
			.handshakes_per_second = 1,
			.failed_authentications_per_minute = 1}};
	struct refusal why;
	struct str here = STR("192.0.2.1");
	for (size_t l = 0; l < 2; l++) {
		begin(all[l]);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(quota_connect(here), QUOTA_ROOM);
			assert_int_equal(quota_handshake(here, &why), ERR_OK);
			assert_int_equal(quota_opening(here, &why), ERR_OK);
			quota_opening_begun(here);
			quota_token_failed(here);
			assert_int_equal(quota_token(here, &why), ERR_OK);
			assert_int_equal(quota_session(STR("ann"), &why), ERR_OK);
			assert_int_equal(quota_requests(STR("ann"), 1000, &why), ERR_OK);
		}
		for (int i = 0; i < 100; i++) {
			quota_disconnect(here);
			quota_opening_ended(here);
			quota_session_ended(STR("ann"));
		}
		quota_finish();
	}
}

/* More addresses than are remembered: what is open is counted all the same. */
static void more_than_can_be_remembered(void **state)
{
	(void)state;
	begin((struct quota_limits){.addresses = true,
		.connections_per_address = 1,
		.failed_authentications_per_minute = 1});
	char text[64];
	struct refusal why;
	for (unsigned i = 0; i < QUOTA_REMEMBERED; i++) {
		int n = snprintf(text, sizeof(text), "2001:db8:%x:%x::1", i >> 8, i & 255);
		quota_token_failed((struct str){text, (size_t)n});
	}
	assert_int_equal(quota_token(str_of(text), &why), ERR_RATE_LIMITED);
	quota_token_failed(STR("192.0.2.1"));
	assert_int_equal(quota_token(STR("192.0.2.1"), &why), ERR_OK);
	assert_int_equal(quota_connect(STR("192.0.2.1")), QUOTA_ROOM);
	assert_int_equal(quota_connect(STR("192.0.2.1")), QUOTA_CROWDED);
	quota_disconnect(STR("192.0.2.1"));
	quota_disconnect(STR("192.0.2.1"));
	quota_finish();
}

static void *busy(void *argument)
{
	unsigned seed = *(unsigned *)argument, held = 0;
	struct refusal why;
	for (int step = 0; step < 20000; step++) {
		struct str address = str_of(texts[rand_r(&seed) % 3]);
		if (quota_connect(address) != QUOTA_PACKED)
			quota_disconnect(address);
		quota_token_failed(address);
		(void)quota_handshake(address, &why);
		if (!quota_session(STR("ann"), &why))
			held++;
		while (held > 1) {
			quota_session_ended(STR("ann"));
			held--;
		}
	}
	while (held-- > 0)
		quota_session_ended(STR("ann"));
	return NULL;
}

static void from_many_threads(void **state)
{
	(void)state;
	begin((struct quota_limits){.addresses = true,
		.connections_per_address = 2,
		.handshakes_per_second = 5,
		.failed_authentications_per_minute = 5,
		.sessions_per_user = 4});
	pthread_t threads[THREADS];
	unsigned seeds[THREADS] = {1, 2, 3, 4};
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, busy, &seeds[i]);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	quota_finish(); /* nothing is counted any more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_as_the_model),
		cmocka_unit_test(what_comes_back_with_time),
		cmocka_unit_test(without_limits_nobody_is_refused),
		cmocka_unit_test(more_than_can_be_remembered),
		cmocka_unit_test(from_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
