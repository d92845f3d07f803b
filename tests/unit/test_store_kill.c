/* store: a process that is killed at any moment loses nothing that it had acknowledged. A child adds
 * users from several threads and tells of each that was answered with OK through a pipe; it is killed
 * at a random moment, and the file is opened again. */
#include "core/log.h"
#include "core/mem.h"
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROUNDS = 20, THREADS = 8, KILL_AFTER_MS = 120, QUEUE_MAX = 1000 };

/* What goes through the pipe: short enough to be written whole or not at all. */
struct told {
	int round, thread, count;
};

struct adder {
	pthread_t thread;
	struct told at;
	int pipe;
};

static char folder[256], file[300];

static struct str name_of(const struct told *t, char *out, size_t size)
{
	snprintf(out, size, "r%d.t%d.%d", t->round, t->thread, t->count);
	return str_of(out);
}

static void *add_users(void *context)
{
	struct adder *a = context;
	for (;; a->at.count++) {
		char text[64];
		struct str name = name_of(&a->at, text, sizeof(text));
		struct store_op *op = store_ask_now(STORE_USER_ADD, STORE_TEXT(name),
			STORE_TEXT(name), STORE_NULL, STORE_INT(1), STORE_END);
		if (op->err || write(a->pipe, &a->at, sizeof(a->at)) != sizeof(a->at))
			_exit(1);
		store_op_free(&op);
	}
	return NULL;
}

static void child(int round, int to_parent)
{
	char why[STORE_WHY_MAX];
	struct adder adders[THREADS];
	if (store_open(&store_sqlite, file, QUEUE_MAX, why))
		_exit(2);
	for (int i = 0; i < THREADS; i++) {
		adders[i] = (struct adder){.at = {round, i, 0}, .pipe = to_parent};
		pthread_create(&adders[i].thread, NULL, add_users, &adders[i]);
	}
	pause();
	_exit(3);
}

/* Until the child is dead and the pipe is dry. */
static size_t listen_to(int pipe, struct told **ret_told)
{
	struct told *told = NULL;
	size_t count = 0, room = 0;
	for (;;) {
		if (count == room)
			told = mem_resize(told, room = 2 * room + 1024, sizeof(*told));
		if (read(pipe, &told[count], sizeof(*told)) != sizeof(*told))
			break;
		count++;
	}
	*ret_told = told;
	return count;
}

static void *kill_later(void *context)
{
	usleep((useconds_t)(rand() % (KILL_AFTER_MS * 1000)));
	kill(*(pid_t *)context, SIGKILL);
	return NULL;
}

/* One child's life; what it told is appended. */
static size_t one_round(int round, struct told **ret_told)
{
	int ends[2];
	pthread_t killer;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		child(round, ends[1]);
	}
	close(ends[1]);
	pthread_create(&killer, NULL, kill_later, &pid);
	size_t count = listen_to(ends[0], ret_told);
	pthread_join(killer, NULL);
	close(ends[0]);
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return count;
}

static void assert_kept(const struct told *told, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[64];
		struct store_op *op = store_ask_now(STORE_USER_GET,
			STORE_TEXT(name_of(&told[i], text, sizeof(text))), STORE_END);
		if (op->err)
			fail_msg("lost: %s", text);
		store_op_free(&op);
	}
}

static void nothing_acknowledged_is_lost(void **state)
{
	(void)state;
	char why[STORE_WHY_MAX];
	struct told *told[ROUNDS];
	size_t counts[ROUNDS], all = 0;
	for (int round = 0; round < ROUNDS; round++) {
		counts[round] = one_round(round, &told[round]);
		all += counts[round];
		if (store_open(&store_sqlite, file, QUEUE_MAX, why))
			fail_msg("round %d: %s", round, why);
		assert_kept(told[round], counts[round]);
		store_close();
	}
	assert_int_equal(store_open(&store_sqlite, file, QUEUE_MAX, why), ERR_OK);
	for (int round = 0; round < ROUNDS; round++) {
		assert_kept(told[round], counts[round]);
		free(told[round]);
	}
	store_close();
	print_message("%zu acknowledged writes, %d kills\n", all, ROUNDS);
	assert_true(all > 100);
}

static int set_up(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	const char *given = getenv("SEED"), *tmp = getenv("TMPDIR");
	if (given)
		seed = (unsigned)strtoul(given, NULL, 10);
	print_message("SEED=%u\n", seed);
	srand(seed);
	log_configure(LOG_WARN, false, 2);
	snprintf(folder, sizeof(folder), "%s/test_store_kill.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/signalbox.db", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
