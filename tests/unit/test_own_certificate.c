/* The certificate that the machine makes for itself: kept while it is good, replaced when it is not. */
#include "service/own_certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[64], file[96];

static struct ip ip(const char *text)
{
	struct ip out = {{0}};
	assert_true(ip_read(str_of(text), &out));
	return out;
}

static void make(const char *address, char ret[FINGERPRINT_TEXT])
{
	struct ip of = ip(address);
	struct buf why = BUF_INIT(4096);
	assert_int_equal(own_certificate(file, &of, ret, &why), ERR_OK);
	assert_int_equal(why.n, 0);
	assert_int_equal(strlen(ret), FINGERPRINT_TEXT - 1);
}

static void it_stays_while_it_is_good(void **state)
{
	(void)state;
	char first[FINGERPRINT_TEXT], again[FINGERPRINT_TEXT], other[FINGERPRINT_TEXT];
	struct stat found;
	make("192.0.2.5", first);
	make("192.0.2.5", again);
	assert_string_equal(first, again);
	assert_int_equal(stat(file, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0600);
	make("192.0.2.6", other); /* it is for another address */
	assert_string_not_equal(first, other);
}

static void what_is_broken_is_replaced(void **state)
{
	(void)state;
	char first[FINGERPRINT_TEXT], again[FINGERPRINT_TEXT];
	make("192.0.2.5", first);
	assert_int_equal(truncate(file, 300), 0); /* the certificate is cut off, the key is gone */
	make("192.0.2.5", again);
	assert_string_not_equal(first, again);
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
	(void)state;
	char fingerprint[FINGERPRINT_TEXT] = "untouched";
	struct buf why = BUF_INIT(4096);
	struct ip of = ip("192.0.2.5");
	enum err err = own_certificate("/proc/none/lan.pem", &of, fingerprint, &why);
	assert_int_equal(err, ERR_INTERNAL);
	assert_non_null(strstr(why.p, "/proc/none/lan.pem"));
	buf_free(&why);
}

int main(void)
{
	snprintf(folder, sizeof(folder), "/tmp/sb-certificate-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	snprintf(file, sizeof(file), "%s/lan.pem", folder);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_stays_while_it_is_good),
		cmocka_unit_test(what_is_broken_is_replaced),
		cmocka_unit_test(a_file_that_cannot_be_written_is_named),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	rmdir(folder);
	return failed;
}
