/* What second factors stand on: one-time codes by time against the published ones, what is sealed, and
 * how often one may guess. */
#include "auth/guesses.h"
#include "auth/server/seal.h"
#include "auth/server/totp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const unsigned char secret[TOTP_SECRET + 1] =
	"12345678901234567890"; /* RFC 6238, appendix B */

static void codes_are_the_published_ones(void **state)
{
	(void)state;
	static const struct {
		int64_t time;
		const char *code;
	} rows[] = {{59, "287082"}, {1111111109, "081804"}, {1111111111, "050471"},
		{1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t step = rows[i].time / TOTP_STEP;
		struct str code = str_of(rows[i].code);
		assert_int_equal(totp_step(secret, code, rows[i].time, 0), step);
		assert_int_equal(totp_step(secret, code, rows[i].time + TOTP_STEP, 0), step);
		assert_int_equal(totp_step(secret, code, rows[i].time - TOTP_STEP, 0), step);
		assert_int_equal(totp_step(secret, code, rows[i].time + 2 * TOTP_STEP, 0), 0);
		assert_int_equal(totp_step(secret, code, rows[i].time, step), 0);
		assert_int_equal(totp_step(secret, code, rows[i].time, step - 1), step);
	}
}

static void a_code_has_a_form(void **state)
{
	(void)state;
	char code[TOTP_DIGITS + 1];
	assert_true(totp_form(STR(" 123 456"), code));
	assert_string_equal(code, "123456");
	static const char *const others[] = {"", "12345", "1234567", "12345a", "123-456", "١٢٣٤٥٦"};
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_false(totp_form(str_of(others[i]), code));
}

static void a_secret_is_shown(void **state)
{
	(void)state;
	char text[TOTP_TEXT + 1];
	struct buf b = BUF_INIT(64 * 1024);
	totp_text(secret, text);
	assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
	totp_add_picture(&b, secret, STR("ann"), STR("chat.example:8443"));
	assert_int_equal(b.err, ERR_OK);
	assert_non_null(strstr(b.p, "<svg "));
	assert_null(strstr(b.p, text));
	buf_free(&b);
}

/* ---- what is sealed ---- */

static char folder[256], file[300], why[SEAL_WHY_MAX];

static void what_is_sealed_opens_for_its_purpose_alone(void **state)
{
	(void)state;
	unsigned char sealed[TOTP_SECRET + SEAL_MORE], again[sizeof(sealed)], out[sizeof(sealed)];
	struct str plain = {(const char *)secret, TOTP_SECRET}, text;
	struct stat about;
	assert_int_equal(seal_start(file, why), ERR_OK);
	assert_int_equal(stat(file, &about), 0);
	assert_int_equal(about.st_mode & 0777, 0600);
	struct str one = seal_close(plain, STR("totp ann"), sealed);
	struct str other = seal_close(plain, STR("totp ann"), again);
	assert_false(str_eq(one, other));
	assert_true(seal_open(one, STR("totp ann"), out, &text));
	assert_true(str_eq(text, plain));
	assert_false(seal_open(one, STR("totp bob"), out, &text));
	for (size_t n = 0; n < one.n; n++) {
		assert_false(seal_open((struct str){one.p, n}, STR("totp ann"), out, &text));
		sealed[n] ^= 1;
		assert_false(seal_open(one, STR("totp ann"), out, &text));
		sealed[n] ^= 1;
	}
	seal_stop();
	assert_int_equal(seal_start(file, why), ERR_OK); /* the same key */
	assert_true(seal_open(one, STR("totp ann"), out, &text));
	seal_stop();
	assert_int_equal(unlink(file), 0);
	assert_int_equal(seal_start(file, why), ERR_OK); /* another one */
	assert_false(seal_open(one, STR("totp ann"), out, &text));
	seal_stop();
}

static void a_key_that_is_no_secret_is_refused(void **state)
{
	(void)state;
	assert_int_equal(seal_start(file, why), ERR_OK);
	seal_stop();
	assert_int_equal(chmod(file, 0640), 0);
	assert_int_equal(seal_start(file, why), ERR_INTERNAL);
	assert_non_null(strstr(why, "chmod 600"));
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(truncate(file, 31), 0);
	assert_int_equal(seal_start(file, why), ERR_INTERNAL);
	assert_non_null(strstr(why, "cut"));
	assert_int_equal(seal_start("/nowhere/seal.key", why), ERR_INTERNAL);
	seal_stop();
}

/* Whoever is killed while it is made, at whatever moment, has made all of it or none. */
static void a_key_comes_under_its_name_when_it_is_whole(void **state)
{
	(void)state;
	char left[sizeof(file) + 8];
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool came = false;
	snprintf(left, sizeof(left), "%s.new", file);
	unlink(file);
	FILE *half = fopen(left, "w"); /* what one that was killed has left */
	assert_non_null(half);
	fclose(half);
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(watch, folder, IN_CREATE | IN_MOVED_TO) >= 0);
	assert_int_equal(seal_start(file, why), ERR_OK);
	seal_stop();
	ssize_t n = read(watch, events, sizeof(events));
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(events + at);
		at += (ssize_t)(sizeof(*e) + e->len);
		if (strcmp(e->name, strrchr(file, '/') + 1) != 0)
			continue;
		assert_true(e->mask & IN_MOVED_TO);
		came = true;
	}
	assert_true(came);
	assert_int_equal(access(left, F_OK), -1);
	close(watch);
}

/* ---- guesses ---- */

static void guesses_are_counted_as_they_begin(void **state)
{
	(void)state;
	guesses_start();
	for (int i = 0; i < 5; i++)
		assert_int_equal(guess_take(STR("ann"), STR("192.0.2.1")), 0);
	assert_true(guess_take(STR("ann"), STR("192.0.2.1")) > 0);
	assert_true(guess_take(STR("ann"), STR("192.0.2.2")) > 0);
	assert_int_equal(guess_take(STR("bob"), STR("192.0.2.1")), 0);
	guess_right(STR("ann"), STR("192.0.2.1"));
	assert_int_equal(guess_take(STR("ann"), STR("192.0.2.1")), 0);
	guesses_stop();
}

static void right_ones_do_not_count_for_an_address(void **state)
{
	(void)state;
	guesses_start();
	for (int i = 0; i < 200; i++) {
		assert_int_equal(guess_take(STR(""), STR("192.0.2.1")), 0);
		guess_right(STR(""), STR("192.0.2.1"));
	}
	int free = 0;
	while (free < 200 && guess_take(STR(""), STR("192.0.2.1")) == 0)
		free++;
	assert_int_equal(free, 50);
	guesses_stop();
}

static int begin(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/test_factor.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/seal.key", folder);
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_are_the_published_ones),
		cmocka_unit_test(a_code_has_a_form),
		cmocka_unit_test(a_secret_is_shown),
		cmocka_unit_test(what_is_sealed_opens_for_its_purpose_alone),
		cmocka_unit_test(a_key_that_is_no_secret_is_refused),
		cmocka_unit_test(a_key_comes_under_its_name_when_it_is_whole),
		cmocka_unit_test(guesses_are_counted_as_they_begin),
		cmocka_unit_test(right_ones_do_not_count_for_an_address),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
