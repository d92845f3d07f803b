/* store: the file on the disk: whose it is, which schema it has, who may read it, no room for it. */
#include "store_fixture.h"

#include "core/buf.h"
#include "core/embedded.h"
#include "store/fold.h"
#include "store/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* SQLite's calls end here, so that it can be seen when the disk is asked to keep something. */
static atomic_uint syncs;
static atomic_bool sync_fails;

static int sync_file(long number, int fd)
{
	atomic_fetch_add(&syncs, 1);
	if (atomic_load(&sync_fails)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(number, fd);
}

int fsync(int fd)
{
	return sync_file(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_file(SYS_fdatasync, fd);
}

/* ---- opening ---- */

static void run_sql(const char *sql)
{
	sqlite3 *handle = NULL;
	assert_int_equal(sqlite3_open(place, &handle), SQLITE_OK);
	assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static struct buf read_file(void)
{
	struct buf b = BUF_INIT(1 << 24);
	char part[4096];
	int fd = open(place, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (ssize_t n; (n = read(fd, part, sizeof(part))) > 0;)
		buf_add(&b, part, (size_t)n);
	close(fd);
	return b;
}

/* Also checks that the file was left alone. */
static void assert_refused(const char *sentence)
{
	struct buf before = read_file();
	assert_int_equal(store_open(&store_sqlite, place, QUEUE_MAX, why), ERR_CONFLICT);
	if (!strstr(why, sentence) || !strstr(why, place))
		fail_msg("'%s' does not say '%s'", why, sentence);
	struct buf after = read_file();
	assert_true(str_eq(buf_str(&before), buf_str(&after)));
	assert_int_equal(access(in_folder("signalbox.db-wal"), F_OK), -1);
	buf_free(&before);
	buf_free(&after);
}

static void a_newer_file_is_refused(void **state)
{
	(void)state;
	char sentence[128];
	open_store(NULL, QUEUE_MAX);
	store_close();
	run_sql("PRAGMA user_version = 999");
	snprintf(sentence, sizeof(sentence),
		"was written by a newer Signalbox (schema 999, this program knows %d): "
		"run the newer program, or restore a backup",
		migrate_newest());
	assert_refused(sentence);
}

static void a_foreign_file_is_refused(void **state)
{
	(void)state;
	run_sql("CREATE TABLE bookmarks (url TEXT)");
	assert_refused("is another program's database");
	remove_file();
	run_sql("PRAGMA application_id = 77");
	assert_refused("is another program's database");
	remove_file();
	int fd = open(place, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, "dear diary, ", 12), 12);
	close(fd);
	assert_refused("is not a database");
}

static void a_place_that_is_none_is_refused(void **state)
{
	(void)state;
	const char *nowhere = in_folder("no/such/folder.db");
	assert_int_equal(store_open(&store_sqlite, nowhere, QUEUE_MAX, why), ERR_INTERNAL);
	assert_non_null(strstr(why, "No such file or directory"));
	assert_non_null(strstr(why, nowhere));
	assert_int_equal(store_open(&store_sqlite, folder, QUEUE_MAX, why), ERR_INTERNAL);
	assert_non_null(strstr(why, folder));
}

static int64_t file_version(void)
{
	sqlite3 *handle = NULL;
	sqlite3_stmt *stmt = NULL;
	assert_int_equal(sqlite3_open(place, &handle), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(handle, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int64_t version = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(handle);
	return version;
}

static void migrations_are_applied_once(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(add_user("ann"), ERR_OK);
	store_close();
	assert_int_equal(file_version(), migrate_newest());
	for (int i = 0; i < 3; i++) {
		open_store(NULL, QUEUE_MAX);
		assert_int_equal(get_user("ann"), ERR_OK);
		store_close();
		assert_int_equal(file_version(), migrate_newest());
	}
}

static void migrations_are_numbered_without_holes(void **state)
{
	(void)state;
	int count = 0;
	for (const struct embedded_file *f = embedded_files; f->path; f++) {
		char start[32];
		if (!str_starts(str_of(f->path), STR("schema/sql/")))
			continue;
		snprintf(start, sizeof(start), "schema/sql/%03d_", ++count);
		if (!str_starts(str_of(f->path), str_of(start)))
			fail_msg("%s should begin with %s", f->path, start);
	}
	assert_int_equal(count, migrate_newest());
}

static void a_migration_that_fails_leaves_the_file(void **state)
{
	(void)state;
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(add_user("ann"), ERR_OK);
	store_close();
	run_sql("PRAGMA user_version = 0"); /* so that the first one meets its own tables */
	assert_int_equal(store_open(&store_sqlite, place, QUEUE_MAX, why), ERR_INTERNAL);
	assert_non_null(strstr(why, "schema/sql/001_"));
	assert_non_null(strstr(why, "already exists"));
	assert_int_equal(file_version(), 0);
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", migrate_newest());
	run_sql(sql);
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(get_user("ann"), ERR_OK);
}

static void only_the_owner_may_read(void **state)
{
	(void)state;
	static const char *const names[] = {"signalbox.db", "signalbox.db-wal", "signalbox.db-shm"};
	open_store(NULL, QUEUE_MAX);
	assert_int_equal(add_user("ann"), ERR_OK);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct stat st;
		assert_int_equal(stat(in_folder(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void each_verb_fits_the_schema(void **state)
{
	(void)state;
	sqlite3 *handle = NULL;
	open_store(NULL, QUEUE_MAX);
	store_close();
	assert_int_equal(sqlite3_open(place, &handle), SQLITE_OK);
	assert_true(fold_add(handle)); /* as the driver does */
	for (size_t verb = 0; verb < STORE_VERBS; verb++) {
		const char *text = store_verbs[verb].sql;
		bool writes = false;
		for (int count = 0; *text; count++) {
			sqlite3_stmt *stmt = NULL;
			if (sqlite3_prepare_v2(handle, text, -1, &stmt, &text) != SQLITE_OK)
				fail_msg("%s: %s", store_verbs[verb].name, sqlite3_errmsg(handle));
			writes |= !sqlite3_stmt_readonly(stmt);
			assert_true(count < 8 && sqlite3_column_count(stmt) <= 32);
			assert_true(sqlite3_bind_parameter_count(stmt) <= STORE_ARGS_MAX);
			sqlite3_finalize(stmt);
		}
		if (writes != store_verb_writes((enum store_verb)verb))
			fail_msg("%s is of the wrong kind", store_verbs[verb].name);
	}
	sqlite3_close(handle);
}

static void names_stay(void **state)
{
	(void)state;
	sqlite3 *handle = NULL;
	open_store(NULL, QUEUE_MAX);
	add_user("Ann");
	store_close();
	assert_int_equal(sqlite3_open(place, &handle), SQLITE_OK);
	assert_int_equal(sqlite3_exec(handle, "DELETE FROM users", 0, 0, 0), SQLITE_CONSTRAINT);
	assert_int_equal(
		sqlite3_exec(handle, "UPDATE users SET name = 'Bob'", 0, 0, 0), SQLITE_CONSTRAINT);
	assert_int_equal(
		sqlite3_exec(handle, "UPDATE users SET name = 'ann'", 0, 0, 0), SQLITE_CONSTRAINT);
	assert_int_equal(sqlite3_exec(handle, "UPDATE users SET name = 'Ann'", 0, 0, 0), SQLITE_OK);
	sqlite3_close(handle);
}

/* The log grows with every migration that the schema has. */
static off_t file_size(const char *name)
{
	struct stat st;
	assert_int_equal(stat(in_folder(name), &st), 0);
	return st.st_size;
}

/* The disk itself says no: first at a commit, then in the middle of a group, because it is larger
 * than what SQLite holds in memory. Then there is room again, and nobody asks for anything. */
static void a_full_disk(void **state)
{
	(void)state;
	enum { LARGE = 700 * 1000, COUNT = 12 };
	struct rlimit normal, small;
	char *large = mem_alloc(LARGE);
	memset(large, 'x', LARGE);
	open_store("USER_ADD:2:delay=200", QUEUE_MAX);
	assert_int_equal(add_user("ann"), ERR_OK);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &normal);
	small = normal;
	small.rlim_cur = (rlim_t)file_size("signalbox.db-wal") + 100 * 1000;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(
		put_setting("a", STORE_TEXT(((struct str){large, LARGE}))), ERR_OVERLOADED);
	assert_string_equal(store_trouble(), "the disk is full");
	forget_answers();
	add_user_later("cleo");
	let_it_begin(0, 2);
	for (int i = 0; i < COUNT;
		i++) { /* the small ones would find room, but their group is lost */
		store_ask(STORE_SETTING_PUT, count_answer, NULL, STORE_INT(i),
			STORE_TEXT(((struct str){large, LARGE})), STORE_END);
		add_users_later("dora", 1);
	}
	lone_run_until(&answers.done, 2 * COUNT + 1);
	assert_int_equal(answers.by_err[ERR_OK], 1);
	assert_int_equal(answers.by_err[ERR_OVERLOADED], 2 * COUNT);
	assert_int_equal(get_user("ann"), ERR_OK); /* reading goes on */
	setrlimit(RLIMIT_FSIZE, &normal);
	wait_until_well();
	assert_int_equal(get_user("cleo"), ERR_OK);
	assert_int_equal(get_user("dora0"), ERR_NOT_FOUND);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_TEXT(STR("a"))), ERR_NOT_FOUND);
	assert_int_equal(ask(STORE_SETTING_GET, STORE_INT(3)), ERR_NOT_FOUND);
	free(large);
}

/* Without this an acknowledged write could be lost with the power. */
static void each_answered_write_is_on_the_disk(void **state)
{
	(void)state;
	char name[16];
	open_store(NULL, QUEUE_MAX);
	for (int i = 0; i < 20; i++) {
		unsigned before = atomic_load(&syncs);
		snprintf(name, sizeof(name), "u%d", i);
		assert_int_equal(add_user(name), ERR_OK);
		assert_true(atomic_load(&syncs) > before);
	}
	atomic_store(&sync_fails, true);
	assert_int_equal(add_user("ann"), ERR_OVERLOADED);
	assert_string_equal(store_trouble(), "the disk fails");
	atomic_store(&sync_fails, false);
	assert_int_equal(get_user("ann"), ERR_NOT_FOUND);
	assert_int_equal(add_user("ann"), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_newer_file_is_refused),
		test(a_foreign_file_is_refused),
		test(a_place_that_is_none_is_refused),
		test(migrations_are_applied_once),
		test(migrations_are_numbered_without_holes),
		test(a_migration_that_fails_leaves_the_file),
		test(only_the_owner_may_read),
		test(each_verb_fits_the_schema),
		test(names_stay),
		test(a_full_disk),
		test(each_answered_write_is_on_the_disk),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
