/* The smallest pieces of core: str, buf, map, json_out, principal. */
#include "core/buf.h"
#include "core/err.h"
#include "core/json_out.h"
#include "core/json_scan.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/principal.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void err_table(void **state)
{
	(void)state;
	assert_int_equal(err_info(ERR_OK)->http, 200);
	for (int i = 1; i < ERR_COUNT; i++) {
		const struct err_info *info = err_info((enum err)i);
		assert_true(info->code < 0 && info->http >= 400 && *info->reason && *info->text);
	}
}

static void str_compares(void **state)
{
	(void)state;
	assert_true(str_eq(STR(""), (struct str){NULL, 0}));
	assert_true(str_eq(STR("a\0b"), STR("a\0b")));
	assert_false(str_eq(STR("a\0b"), STR("a\0c")));
	assert_true(str_is(STR("abc"), "abc") && !str_is(STR("abc"), "ab"));
	assert_true(str_starts(STR("abc"), STR("ab")) && str_starts(STR("abc"), STR("")));
	assert_false(str_starts(STR("ab"), STR("abc")));
	assert_true(str_eq_secret(STR("secret"), STR("secret")));
	assert_false(str_eq_secret(STR("secret"), STR("secreT")));
	assert_false(str_eq_secret(STR("secret"), STR("secre")));
	assert_true(str_hash(STR("a")) == str_hash(STR("a")));
	assert_true(str_hash(STR("a")) != str_hash(STR("b")));
}

static void str_utf8(void **state)
{
	(void)state;
	static const char *const good[] = {"", "abc", "\x7f", "\xc2\x80", "\xdf\xbf",
		"\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2 ",
		"\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
		"\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xfe"};
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(str_utf8_valid(str_of(good[i])));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(str_utf8_valid(str_of(bad[i])));
	char text[48];
	for (size_t at = 0; at < 40; at++) /* wherever it stands in words of eight */
		for (size_t i = 0; i < COUNT(good) + COUNT(bad); i++) {
			bool sound = i < COUNT(good);
			const char *part = sound ? good[i] : bad[i - COUNT(good)];
			memset(text, 'x', sizeof(text));
			memcpy(text + at, part, strlen(part));
			assert_int_equal(str_utf8_valid((struct str){text, 44}), sound);
		}
	assert_true(str_has_control(STR("a\n")) && str_has_control(STR("\x7f")));
	assert_true(str_has_control(STR("\0")) && str_has_control(STR("\xc2\x85")));
	assert_false(str_has_control(STR("a b\xc2\xa0\xc3\x85")));
}

/* Against looking at one byte after the other. */
static void str_plain_bytes(void **state)
{
	(void)state;
	static const char some[] = "\x00\x1f\"\\\x7f\x80\xff\x20\x21\x5b\x5d\x7e";
	srandom(7);
	for (int round = 0; round < 100000; round++) {
		char text[40];
		size_t n = (size_t)random() % sizeof(text), plain = 0;
		memset(text, 'x', sizeof(text));
		for (size_t i = 0; i < n; i++)
			if (random() % 12 == 0)
				text[i] = some[(size_t)random() % (sizeof(some) - 1)];
		while (plain < n && text[plain] >= 0x20 && text[plain] < 0x7f &&
			text[plain] != '"' && text[plain] != '\\')
			plain++;
		char *own = malloc(n + 1); /* nothing is read behind it */
		memcpy(own, text, n);
		assert_int_equal(str_plain((struct str){own, n}), plain);
		free(own);
	}
}

static void str_globs(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool matches;
	} rows[] = {{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true},
		{"team-*", "team-", true}, {"team-*", "team-a", true}, {"team-*", "tea", false},
		{"*-a", "b-a", true}, {"*-a", "b-a-b", false}, {"a*c*e", "abcde", true},
		{"a*c*e", "abcdec", false}, {"**", "x", true}, {"a", "A", false},
		{"a*", "b", false}, {"*aab", "aaaab", true}, {"?", "a", false}};
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(
			str_glob(str_of(rows[i].pattern), str_of(rows[i].text)), rows[i].matches);
}

static void buf_digits(void **state)
{
	(void)state;
	static const int64_t numbers[] = {
		0, 1, -1, 9, 10, -10, 1234567890123456789, INT64_MAX, INT64_MIN};
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct buf ours = BUF_INIT(64), theirs = BUF_INIT(64);
		buf_addn(&ours, numbers[i]);
		buf_addf(&theirs, "%lld", (long long)numbers[i]);
		assert_string_equal(ours.p, theirs.p);
		buf_free(&ours);
		buf_free(&theirs);
	}
}

static void buf_grows(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1000);
	assert_true(str_is(buf_str(&b), ""));
	for (int i = 0; i < 250; i++)
		buf_addf(&b, "%d-%s", i % 10, "ab");
	assert_int_equal(b.err, ERR_OK);
	assert_int_equal(b.n, 1000);
	assert_int_equal(b.p[1000], 0);
	buf_addc(&b, 'x');
	assert_int_equal(b.err, ERR_TOO_LARGE);
	buf_add(&b, "", 0);
	assert_int_equal(b.n, 1000);
	buf_free(&b);
	assert_int_equal(b.err, ERR_OK);
	assert_int_equal(b.max, 1000);
	buf_adds(&b, STR("again"));
	char *taken = buf_take(&b);
	assert_string_equal(taken, "again");
	assert_null(b.p);
	free(taken);
	taken = buf_take(&b);
	assert_string_equal(taken, "");
	free(taken);
	static const char much[1001];
	buf_add(&b, much, sizeof(much));
	assert_null(buf_take(&b));
}

struct thing {
	char key[8];
	bool in;
};

static void check_map(const struct map *m, struct thing *things, size_t count)
{
	size_t in = 0, walked = 0;
	for (size_t i = 0; i < count; i++) {
		struct thing *found = map_get(m, str_of(things[i].key));
		assert_ptr_equal(found, things[i].in ? &things[i] : NULL);
		in += things[i].in;
	}
	struct thing *thing;
	for (size_t i = 0; (thing = map_next(m, &i)); walked++)
		assert_true(thing->in);
	assert_int_equal(m->count, in);
	assert_int_equal(walked, in);
}

static void name_thing(struct thing *thing, size_t i)
{
	memcpy(thing->key, "k0000", 6);
	for (size_t at = 4; at > 0; at--, i /= 10)
		thing->key[at] = (char)('0' + i % 10);
}

static void map_against_model(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srandom(seed);
	enum { THINGS = 400 };
	static struct thing things[THINGS];
	for (size_t i = 0; i < THINGS; i++)
		name_thing(&things[i], i);
	struct map m = {0};
	for (int i = 0; i < 40000; i++) {
		/* the bound moves, so that the table is now full and now nearly empty */
		struct thing *thing = &things[(size_t)random() % (1 + (size_t)(i / 100))];
		if (random() % 2) {
			map_put(&m, str_of(thing->key), thing);
			thing->in = true;
		} else {
			void *was = map_remove(&m, str_of(thing->key));
			assert_ptr_equal(was, thing->in ? thing : NULL);
			thing->in = false;
		}
		if (i % 500 == 0)
			check_map(&m, things, THINGS);
	}
	for (size_t i = 0; i < THINGS; i++)
		map_remove(&m, str_of(things[i].key));
	size_t from = 0;
	assert_null(map_next(&m, &from));
	map_free(&m);
}

static void map_replaces(void **state)
{
	(void)state;
	struct map m = {0};
	int one, two;
	size_t i = 0;
	assert_null(map_get(&m, STR("a")));
	assert_null(map_remove(&m, STR("a")));
	assert_null(map_next(&m, &i));
	map_put(&m, STR("a"), &one);
	map_put(&m, STR("a"), &two);
	map_put(&m, STR(""), &one);
	assert_int_equal(m.count, 2);
	assert_ptr_equal(map_get(&m, STR("a")), &two);
	assert_ptr_equal(map_remove(&m, STR("")), &one);
	assert_ptr_equal(map_remove(&m, STR("a")), &two);
	map_free(&m);
}

static void json_writes(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1000);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_str(&o, "s", STR("a\"\\\n\0\x1f\xc3\xa4"));
	json_text(&o, "t", NULL);
	json_open(&o, "a", '[');
	json_int(&o, NULL, INT64_MIN);
	json_bool(&o, NULL, true);
	json_open(&o, NULL, '{');
	json_close(&o, '}');
	json_open(&o, NULL, '[');
	json_close(&o, ']');
	json_nothing(&o, NULL);
	json_close(&o, ']');
	json_raw(&o, "r", STR("1.10"));
	json_bool(&o, "b", false);
	json_close(&o, '}');
	assert_int_equal(b.err, ERR_OK);
	assert_string_equal(b.p,
		"{\"s\":\"a\\\"\\\\\\n\\u0000\\u001f\xc3\xa4\",\"t\":null,"
		"\"a\":[-9223372036854775808,true,{},[],null],\"r\":1.10,\"b\":false}");
	assert_int_equal(json_check(buf_str(&b), NULL), ERR_OK);
	buf_free(&b);
}

/* Any bytes come out as a well-formed string, and well-formed ones come back as they were. */
static void json_string_round_trip(void **state)
{
	(void)state;
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srandom(seed);
	for (int i = 0; i < 20000; i++) {
		char bytes[40], back[1000];
		size_t n = (size_t)random() % sizeof(bytes), back_n = 0;
		for (size_t j = 0; j < n; j++)
			bytes[j] = (char)(i % 2 ? random() % 0x80 : random());
		struct str in = {bytes, n};
		struct buf b = BUF_INIT(sizeof(back));
		json_add_string(&b, in);
		assert_int_equal(json_check(buf_str(&b), NULL), ERR_OK);
		assert_int_equal(json_decode(buf_str(&b), back, &back_n), ERR_OK);
		if (str_utf8_valid(in))
			assert_true(str_eq(in, (struct str){back, back_n}));
		buf_free(&b);
	}
}

static void principal_copies(void **state)
{
	(void)state;
	char user[] = "ann", room[] = "team-*";
	struct str rooms[] = {{room, 6}, STR("lobby")}, json;
	struct principal_claim claim[] = {{STR("team"), {room, 6}}};
	struct principal from = {.user = {user, 3},
		.name = STR("Ann"),
		.issuer = STR("https://i"),
		.subject = STR("ann"),
		.jti = STR("j"),
		.scopes = SCOPE_ADMIN,
		.rooms_limited = true,
		.datasets_limited = true,
		.room_count = 2,
		.rooms = rooms,
		.claim_count = 1,
		.claims = claim,
		.expires_at = 7};
	struct principal *p = principal_new(&from);
	user[0] = room[0] = 'X';
	assert_true(str_is(p->user, "ann") && str_is(p->name, "Ann") && str_is(p->jti, "j"));
	assert_true(str_is(p->issuer, "https://i") && str_is(p->client, ""));
	assert_int_equal(p->expires_at, 7);
	assert_int_equal(p->scopes, SCOPE_ADMIN);
	assert_true(principal_sees_room(p, STR("team-a")));
	assert_true(principal_sees_room(p, STR("lobby")));
	assert_false(principal_sees_room(p, STR("other")));
	assert_false(principal_sees_dataset(p, STR("todos"))); /* limited to none */
	assert_true(principal_claim(p, STR("team"), &json) && str_is(json, "team-*"));
	assert_false(principal_claim(p, STR("tea"), &json));
	struct principal *again = principal_ref(p);
	principal_unref(&p);
	assert_null(p);
	assert_true(str_is(again->rooms[1], "lobby"));
	principal_unref(&again);
	principal_unref(&again);
}

static void principal_unlimited(void **state)
{
	(void)state;
	struct principal *p = principal_new(&(struct principal){.user = STR("a")});
	assert_true(principal_sees_room(p, STR("any")) && principal_sees_dataset(p, STR("any")));
	principal_unref(&p);
}

/* A room can have any name: what a guest was let into is exactly that one. */
static void principal_of_a_guest(void **state)
{
	(void)state;
	struct str rooms[] = {STR("*")}, none[] = {STR("a"), STR("b")};
	struct principal *p = principal_new(&(struct principal){
		.user = STR("guest:x"), .rooms_limited = true, .room_count = 1, .rooms = rooms});
	assert_true(principal_is_guest(p) && principal_sees_room(p, STR("*")));
	assert_false(principal_sees_room(p, STR("a")) || principal_sees_room(p, STR("**")));
	principal_unref(&p);
	p = principal_new(&(struct principal){.user = STR("guest:x")});
	assert_false(principal_sees_room(p, STR("a"))); /* no list is no room, either */
	principal_unref(&p);
	p = principal_new(&(struct principal){
		.user = STR("guest:x"), .rooms_limited = true, .room_count = 2, .rooms = none});
	assert_false(principal_sees_room(p, STR("a")));
	principal_unref(&p);
	p = principal_new(&(struct principal){
		.user = STR("guest"), .rooms_limited = true, .room_count = 1, .rooms = rooms});
	assert_true(!principal_is_guest(p) && principal_sees_room(p, STR("a")));
	principal_unref(&p);
}

static void scopes(void **state)
{
	(void)state;
	char text[SCOPES_TEXT_MAX];
	uint32_t all = (1u << SCOPE_BITS) - 1;
	struct str words = scopes_text(all, text);
	assert_true(words.n <= SCOPES_TEXT_MAX);
	assert_int_equal(scopes_parse(words), all);
	assert_int_equal(scopes_parse(STR("")), 0);
	assert_int_equal(
		scopes_parse(STR("  rooms:join  nonsense admin ")), SCOPE_ROOMS_JOIN | SCOPE_ADMIN);
	assert_int_equal(scopes_parse(STR("rooms:joi rooms:joinx ROOMS:JOIN")), 0);
	assert_int_equal(
		SCOPES_DEFAULT & (SCOPE_ADMIN | SCOPE_ROOMS_MODERATE | SCOPE_RPC_SERVE), 0);
	assert_true(SCOPES_DEFAULT & SCOPE_RPC_CALL);
	assert_string_equal(scope_word(SCOPE_RPC_SERVE), "rpc:serve");
	assert_int_equal(scopes_text(0, text).n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_table),
		cmocka_unit_test(str_compares),
		cmocka_unit_test(str_utf8),
		cmocka_unit_test(str_plain_bytes),
		cmocka_unit_test(str_globs),
		cmocka_unit_test(buf_digits),
		cmocka_unit_test(buf_grows),
		cmocka_unit_test(map_against_model),
		cmocka_unit_test(map_replaces),
		cmocka_unit_test(json_writes),
		cmocka_unit_test(json_string_round_trip),
		cmocka_unit_test(principal_copies),
		cmocka_unit_test(principal_unlimited),
		cmocka_unit_test(principal_of_a_guest),
		cmocka_unit_test(scopes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
