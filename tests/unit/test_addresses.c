/* Addresses and who is believed about them: ip, forwarded, proxy_header. */
#include "core/ip.h"
#include "service/forwarded.h"
#include "service/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static struct ip ip(const char *text)
{
	struct ip out = {{0}};
	if (!ip_read(str_of(text), &out))
		fail_msg("%s is no address", text);
	return out;
}

static const char *text_of(struct ip a)
{
	static char out[IP_TEXT_MAX];
	ip_write(&a, out);
	return out;
}

static void addresses_have_one_spelling(void **state)
{
	(void)state;
	static const char *const same[][2] = {{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"}, {"::FFFF:C000:201", "192.0.2.1"},
		{"2001:DB8:0:0::1", "2001:db8::1"}, {"::1", "::1"}, {"::", "::"},
		{"0.0.0.0", "0.0.0.0"}};
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		assert_string_equal(text_of(ip(same[i][0])), same[i][1]);
	static const char *const none[] = {"", "1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1",
		" 1.2.3.4", "1.2.3.4 ", "1.2.3.4:80", "[::1]", "::1%eth0", "fe80::1%1",
		":::", "g::1", "localhost", "1:2:3:4:5:6:7:8:9",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		struct ip untouched = {{7}};
		assert_false(ip_read(str_of(none[i]), &untouched));
		assert_int_equal(untouched.bytes[0], 7);
	}
	struct ip out;
	assert_false(ip_read((struct str){"1.2.3.4\0", 8}, &out));
}

static bool holds(const char *network, const char *address)
{
	struct network n;
	bool exact;
	struct ip a = ip(address);
	if (!network_read(str_of(network), &n, &exact) || !exact)
		fail_msg("%s is no network", network);
	return network_holds(&n, &a);
}

static void networks(void **state)
{
	(void)state;
	assert_true(holds("10.0.0.0/8", "10.255.0.1"));
	assert_false(holds("10.0.0.0/8", "11.0.0.1"));
	assert_true(holds("10.1.2.3", "10.1.2.3"));
	assert_false(holds("10.1.2.3", "10.1.2.2"));
	assert_true(holds("192.0.2.128/25", "192.0.2.200"));
	assert_false(holds("192.0.2.128/25", "192.0.2.127"));
	assert_true(holds("0.0.0.0/0", "255.255.255.255"));
	assert_false(holds("0.0.0.0/0", "::1"));
	assert_true(holds("::/0", "1.2.3.4"));
	assert_true(holds("fd00::/8", "fdff::1"));
	assert_false(holds("fd00::/8", "fe00::1"));
	assert_true(holds("2001:db8::/33", "2001:db8:7fff::"));
	assert_false(holds("2001:db8::/33", "2001:db8:8000::"));
	struct network n;
	bool exact;
	static const char *const none[] = {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0.0/08", "10.0.0.0/8 ", "10.0.0.0/8/8", "::/129", "::/0128", "::/1000",
		"a/8"};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_false(network_read(str_of(none[i]), &n, &exact));
	char text[NETWORK_TEXT_MAX];
	static const char *const rounded[][2] = {{"10.1.2.3/8", "10.0.0.0/8"},
		{"192.0.2.255/31", "192.0.2.254/31"}, {"2001:db8::1/32", "2001:db8::/32"}};
	for (size_t i = 0; i < sizeof(rounded) / sizeof(*rounded); i++) {
		assert_true(network_read(str_of(rounded[i][0]), &n, &exact));
		assert_false(exact);
		network_write(&n, text);
		assert_string_equal(text, rounded[i][1]);
	}
}

/* ---- X-Forwarded-For ---- */

static void trust(bool header, size_t count, char **items)
{
	struct config c = {.server = {.trusted_proxies = {items, count}, .proxy_protocol = header}};
	forwarded_configure(&c);
}

static const char *client(const char *socket, const char *header)
{
	struct ip s = ip(socket);
	return text_of(forwarded_client(&s, str_of(header)));
}

static void only_trusted_proxies_are_believed(void **state)
{
	(void)state;
	static char *proxies[] = {"10.0.0.0/8", "2001:db8::7"};
	trust(true, 2, proxies);
	struct ip proxy = ip("10.1.1.1"), other = ip("11.1.1.1");
	assert_true(forwarded_trusts(&proxy) && forwarded_has_header(&proxy));
	assert_false(forwarded_trusts(&other) || forwarded_has_header(&other));
	assert_string_equal(client("11.1.1.1", "1.2.3.4"), "11.1.1.1");
	assert_string_equal(client("10.1.1.1", "1.2.3.4"), "1.2.3.4");
	assert_string_equal(client("2001:db8::7", "1.2.3.4"), "1.2.3.4");
	/* the rightmost that is not trusted; what the client has put in front of it is nothing */
	assert_string_equal(client("10.1.1.1", "6.6.6.6, 1.2.3.4"), "1.2.3.4");
	assert_string_equal(client("10.1.1.1", "6.6.6.6,1.2.3.4,10.2.2.2 ,\t10.3.3.3"), "1.2.3.4");
	assert_string_equal(client("10.1.1.1", "10.4.4.4, 10.2.2.2"), "10.4.4.4");
	/* all that is sent */
	assert_string_equal(client("10.1.1.1", "1.2.3.4:5678"), "1.2.3.4");
	assert_string_equal(client("10.1.1.1", "2001:db8::1"), "2001:db8::1");
	assert_string_equal(client("10.1.1.1", "[2001:db8::1]"), "2001:db8::1");
	assert_string_equal(client("10.1.1.1", "[2001:db8::1]:5678"), "2001:db8::1");
	assert_string_equal(client("10.1.1.1", "::ffff:1.2.3.4"), "1.2.3.4");
	/* what is no address ends the search */
	static const char *const noise[] = {"", " ", ",", "unknown", "_hidden", "1.2.3",
		"1.2.3.4.5", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:123456", "[::1", "[::1]x",
		"[::1]:", "[1.2.3.4]", "[]", "]", "\"1.2.3.4\"", "1.2.3.4 5.6.7.8", "1.2.3.4,",
		"for=1.2.3.4"};
	for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++)
		assert_string_equal(client("10.1.1.1", noise[i]), "10.1.1.1");
	assert_string_equal(client("10.1.1.1", "1.2.3.4, rubbish, 10.2.2.2"), "10.2.2.2");
	assert_string_equal(client("10.1.1.1", "rubbish, 1.2.3.4"), "1.2.3.4");
	trust(false, 2, proxies);
	assert_false(forwarded_has_header(&proxy));
	trust(false, 0, NULL);
	assert_string_equal(client("10.1.1.1", "1.2.3.4"), "10.1.1.1");
}

/* ---- the PROXY header ---- */

/* What it comes to, held to be the same however it is split. */
static enum proxy_word read_header(const char *bytes, size_t n, struct proxy_header *ret)
{
	enum proxy_word whole = proxy_header_read((struct str){bytes, n}, ret);
	enum proxy_word word = PROXY_MORE;
	for (size_t i = 0; i <= n && word == PROXY_MORE; i++) {
		struct proxy_header one = {0};
		char *copy = malloc(i ? i : 1); /* exactly: so that reading past it is seen */
		memcpy(copy, bytes, i);
		word = proxy_header_read((struct str){copy, i}, &one);
		free(copy);
		if (word != PROXY_DONE)
			continue;
		assert_int_equal(one.length, i);
		assert_int_equal(whole, PROXY_DONE);
		assert_int_equal(ret->length, i);
	}
	assert_int_equal(word, whole);
	return whole;
}

static void as_line(const char *line, enum proxy_word want, const char *address)
{
	char with_more[512];
	struct proxy_header h = {0};
	snprintf(with_more, sizeof(with_more), "%s\r\nGET / HTTP/1.1", line);
	enum proxy_word got = read_header(with_more, strlen(with_more), &h);
	if (got != want)
		fail_msg("%s: %d", line, got);
	if (want != PROXY_DONE)
		return;
	assert_int_equal(h.length, strlen(line) + 2);
	assert_int_equal(h.known, address != NULL);
	if (address)
		assert_string_equal(text_of(h.client), address);
}

static void version_1(void **state)
{
	(void)state;
	as_line("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443", PROXY_DONE, "192.0.2.1");
	as_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", PROXY_DONE,
		"255.255.255.255");
	as_line("PROXY TCP6 2001:db8::1 2001:db8::2 0 1", PROXY_DONE, "2001:db8::1");
	as_line("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1", PROXY_DONE, "192.0.2.1");
	as_line("PROXY UNKNOWN", PROXY_DONE, NULL);
	as_line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", PROXY_DONE, NULL);
	static const char *const bad[] = {"PROXY", "PROXY ", "PROXY TCP4", "PROXY TCP4 1.2.3.4",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536", "PROXY TCP4 1.2.3.4 5.6.7.8 01 2",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 ", "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2",
		"PROXY TCP4 ::1 ::2 1 2", "PROXY TCP6 1.2.3.4 5.6.7.8 1 2",
		"PROXY TCP4 1.2.3.4 nobody 1 2", "PROXY TCP5 1.2.3.4 5.6.7.8 1 2",
		"proxy TCP4 1.2.3.4 5.6.7.8 1 2", "PROXY UNKNOWN\nGET", "GET / HTTP/1.1", "PROXZ"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		as_line(bad[i], PROXY_BAD, NULL);
	char longest[200];
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "PROXY UNKNOWN ", 14);
	longest[105] = 0;
	as_line(longest, PROXY_DONE, NULL);
	longest[105] = 'x';
	longest[106] = 0;
	as_line(longest, PROXY_BAD, NULL);
	longest[106] = 'x';
	longest[199] = 0;
	as_line(longest, PROXY_BAD, NULL);
}

static enum proxy_word binary(
	int command, int family, size_t length, size_t sent, struct proxy_header *ret)
{
	char bytes[2 * PROXY_HEADER_MAX] = "\r\n\r\n\0\r\nQUIT\n";
	static const unsigned char addresses[] = {192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 3, 4};
	bytes[12] = (char)command;
	bytes[13] = (char)family;
	bytes[14] = (char)(length >> 8);
	bytes[15] = (char)length;
	memcpy(bytes + 16, addresses, sizeof(addresses));
	memset(ret, 0, sizeof(*ret));
	return read_header(bytes, sent, ret);
}

static void version_2(void **state)
{
	(void)state;
	struct proxy_header h;
	assert_int_equal(binary(0x21, 0x11, 12, 40, &h), PROXY_DONE);
	assert_true(h.known && h.length == 28);
	assert_string_equal(text_of(h.client), "192.0.2.1");
	assert_int_equal(binary(0x21, 0x11, 100, 200, &h), PROXY_DONE); /* with more behind it */
	assert_true(h.known && h.length == 116);
	assert_int_equal(binary(0x21, 0x21, 36, 60, &h), PROXY_DONE);
	assert_string_equal(text_of(h.client), "c000:201:a00:1:102:304::");
	assert_int_equal(binary(0x20, 0x11, 12, 40, &h), PROXY_DONE); /* LOCAL */
	assert_false(h.known);
	assert_int_equal(binary(0x20, 0x00, 0, 16, &h), PROXY_DONE);
	assert_true(!h.known && h.length == 16);
	assert_int_equal(binary(0x20, 0x21, 1, 17, &h), PROXY_DONE);
	assert_true(!h.known && h.length == 17);
	assert_int_equal(binary(0x21, 0x00, 0, 16, &h), PROXY_DONE);    /* UNSPEC */
	assert_int_equal(binary(0x21, 0x31, 216, 300, &h), PROXY_DONE); /* a UNIX socket */
	assert_false(h.known);
	assert_int_equal(
		binary(0x21, 0x11, PROXY_HEADER_MAX - 16, 2 * PROXY_HEADER_MAX, &h), PROXY_DONE);
	assert_int_equal(
		binary(0x21, 0x11, PROXY_HEADER_MAX - 15, 2 * PROXY_HEADER_MAX, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x11, 65535, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x11, 11, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x21, 35, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x11, 0x11, 12, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x22, 0x11, 12, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x41, 12, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x13, 12, 60, &h), PROXY_BAD);
	assert_int_equal(binary(0x21, 0x11, 12, 27, &h), PROXY_MORE);
	assert_int_equal(proxy_header_read(STR("\r\n\r\n\0\r\nQUIT\r"), &h), PROXY_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_one_spelling),
		cmocka_unit_test(networks),
		cmocka_unit_test(only_trusted_proxies_are_believed),
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
