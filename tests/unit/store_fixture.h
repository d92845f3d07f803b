/* store_fixture.h: a store in a folder of its own for each test, and how it is asked. For
 * tests/unit/test_store*.c. */
#pragma once

#include "store/driver.h"
#include "store/fault.h"
#include "store/users.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"

#include "lone_worker.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { QUEUE_MAX = 20000, PATH_BYTES = 512 };

static char folder[256];
static char place[PATH_BYTES];
static char why[STORE_WHY_MAX];

/* ---- setting up ---- */

static const char *in_folder(const char *name)
{
	static char path[PATH_BYTES];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static inline void remove_file(void)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[PATH_BYTES + 16];
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		snprintf(path, sizeof(path), "%s%s", place, ends[i]);
		unlink(path);
	}
}

static inline void open_store(const char *plan, size_t queue_max)
{
	const struct store_driver *driver =
		plan ? store_fault(&store_sqlite, plan, why) : &store_sqlite;
	if (!driver || store_open(driver, place, queue_max, why) != ERR_OK)
		fail_msg("%s", why);
}

static inline int set_up(void **state)
{
	(void)state;
	remove_file();
	lone_start();
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	store_close();
	lone_stop();
	return 0;
}

static inline int group_set_up(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/test_store.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s", in_folder("signalbox.db"));
	log_configure(LOG_ERROR + 1, false, 2); /* failures are wanted here */
	umask(022);
	return 0;
}

static inline int group_tear_down(void **state)
{
	(void)state;
	remove_file();
	return rmdir(folder);
}

/* ---- asking ---- */

static inline enum err err_of(struct store_op *op)
{
	enum err err = op->err;
	if (err)
		assert_true(op->rows == 0 && op->cells == NULL);
	store_op_free(&op);
	return err;
}

#define ask(verb, ...) err_of(store_ask_now(verb, __VA_ARGS__, STORE_END))

static inline enum err add_user(const char *name)
{
	return ask(STORE_USER_ADD, STORE_TEXT(str_of(name)), STORE_TEXT(STR("Somebody")),
		STORE_NULL, STORE_INT(1700000000));
}

static inline enum err get_user(const char *name)
{
	return ask(STORE_USER_GET, STORE_TEXT(str_of(name)));
}

static inline enum err put_setting(const char *name, struct store_value value)
{
	return ask(STORE_SETTING_PUT, STORE_TEXT(str_of(name)), value);
}

/* What came back through done(). */
static struct {
	size_t done, by_err[ERR_COUNT];
} answers;

static inline void count_answer(struct store_op *op)
{
	answers.done++;
	answers.by_err[op->err]++;
}

static inline void add_user_later(const char *name)
{
	store_ask(STORE_USER_ADD, count_answer, NULL, STORE_TEXT(str_of(name)),
		STORE_TEXT(STR("Somebody")), STORE_NULL, STORE_INT(1700000000), STORE_END);
}

static inline void add_users_later(const char *prefix, size_t count)
{
	char name[32];
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%zu", prefix, i);
		add_user_later(name);
	}
}

static inline void wait_until_well(void)
{
	for (int i = 0; i < 200 && store_trouble(); i++)
		usleep(100 * 1000);
	assert_null(store_trouble());
}

static inline void forget_answers(void)
{
	memset(&answers, 0, sizeof(answers));
}

/* Until the store's thread has come so many times to where that entry of its plan lets it wait: what
 * is asked from now on gathers meanwhile. */
static inline void let_it_begin(size_t entry, unsigned times)
{
	while (store_fault_seen(entry) < times)
		usleep(1000);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
