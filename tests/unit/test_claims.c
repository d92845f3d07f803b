/* claims: what a token has to say, in which form, and who it makes of its bearer. */
#include "auth/claims.h"

#include "core/json_scan.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { NOW = 1800000000 };

static const struct str audiences[] = {{"https://signalbox.example", 25}, {"urn:second", 10}};
static const struct issuer_rule own = {
	.issuer = {"https://signalbox.example", 25}, .audiences = audiences, .audience_count = 2};
static const struct issuer_rule foreign = {.issuer = {"https://id.example/", 19},
	.alias = {"corp", 4},
	.audiences = audiences,
	.audience_count = 2,
	.typ_jwt = true,
	.default_scopes = SCOPE_ROOMS_JOIN};

static struct claims claims;
static const char *why;

static enum err read_typ(struct str payload, const char *typ, const struct issuer_rule *rule)
{
	why = NULL;
	enum err err = claims_read(payload, str_of(typ), rule, NOW, &claims, &why);
	assert_true(err == ERR_OK || (err == ERR_UNAUTHENTICATED && why));
	return err;
}

static enum err read_own(const char *payload)
{
	return read_typ(str_of(payload), "at+jwt", &own);
}

#define ISS "\"iss\":\"https://signalbox.example\""
#define AUD "\"aud\":\"https://signalbox.example\""
#define SUB "\"sub\":\"ann\""
#define EXP "\"exp\":1800000600"
#define BASE "{" ISS "," AUD "," SUB "," EXP
#define FOREIGN "{\"iss\":\"https://id.example/\",\"aud\":[\"x\",\"urn:second\"]," SUB "," EXP

static void complete(void **state)
{
	(void)state;
	assert_int_equal(read_own(BASE ",\"nbf\":1799999999.5,\"iat\":1.8e9,\"jti\":\"j-1\","
				       "\"client_id\":\"web\",\"name\":\"Ann \\u00c4\","
				       "\"scope\":\"rooms:join openid rooms:create\",\"x\":[{}]}"),
		ERR_OK);
	assert_true(str_is(claims.sub, "ann") && str_is(claims.jti, "j-1"));
	assert_true(str_is(claims.client, "web") && str_is(claims.name, "Ann \xc3\x84"));
	assert_int_equal(claims.exp, NOW + 600);
	assert_int_equal(claims.nbf, NOW - 1);
	assert_int_equal(claims.iat, NOW);
	assert_int_equal(claims.scopes, SCOPE_ROOMS_JOIN | SCOPE_ROOMS_CREATE);
	assert_false(claims.rooms_limited || claims.datasets_limited);
	assert_int_equal(read_own(BASE "}"), ERR_OK);
	assert_true(str_is(claims.name, "ann"));
	assert_int_equal(claims.nbf, 0);
	assert_int_equal(claims.scopes, 0); /* the embedded issuer gives what it says, no more */
}

static void dates(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t seconds;
	} good[] = {{"0", 0}, {"-0", 0}, {"-0.0", 0}, {"1", 1}, {"1.9", 1}, {"-1.9", -2},
		{"-2", -2}, {"1e3", 1000}, {"1.5e1", 15}, {"1.55e1", 15}, {"15e-1", 1},
		{"1e-400", 0}, {"-1e-400", -1}, {"0e400", 0}, {"0.0001e10", 1000000},
		{"1800000000.999", 1800000000}, {"0.000000000000000000000000000001", 0},
		{"253402300799", 253402300799}, {"253402300799.9", 253402300799},
		{"2.53402300799E+11", 253402300799}, {"100000000000000e-13", 10}};
	static const char *const bad[] = {"253402300800", "1e12", "1e400", "1e99999999999999999999",
		"18446744073709551616", "9223372036854775808", "-9223372036854775809",
		"1800000000000", "\"1800000000\"", "null", "true", "[]", "{}",
		"99999999999999999999999999999999999999999999999999"};
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t seconds = 99;
		assert_int_equal(claims_date(str_of(good[i].text), &seconds), ERR_OK);
		if (seconds != good[i].seconds)
			fail_msg("%s: %lld", good[i].text, (long long)seconds);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t seconds = 99;
		assert_int_equal(claims_date(str_of(bad[i]), &seconds), ERR_PARAMS);
		assert_int_equal(seconds, 99);
	}
}

static void times(void **state)
{
	(void)state;
	static const struct {
		const char *claims;
		enum err err;
	} rows[] = {{"\"exp\":1800000001", ERR_OK}, {"\"exp\":1800000001.5", ERR_OK},
		{"\"exp\":1800000000", ERR_UNAUTHENTICATED},
		{"\"exp\":1800000000.5", ERR_UNAUTHENTICATED},
		{"\"exp\":1799999999", ERR_UNAUTHENTICATED}, {"\"exp\":0", ERR_UNAUTHENTICATED},
		{"\"exp\":-1", ERR_UNAUTHENTICATED}, {"\"exp\":-1800000600", ERR_UNAUTHENTICATED},
		{"\"exp\":1e400", ERR_UNAUTHENTICATED}, {"\"exp\":1e300", ERR_UNAUTHENTICATED},
		{"\"exp\":18446744073709551616", ERR_UNAUTHENTICATED},
		{"\"exp\":9223372036854775807", ERR_UNAUTHENTICATED},
		{"\"exp\":\"1800000600\"", ERR_UNAUTHENTICATED},
		{"\"exp\":null", ERR_UNAUTHENTICATED},
		{"\"exp\":[1800000600]", ERR_UNAUTHENTICATED},
		{"\"exp\":true", ERR_UNAUTHENTICATED}, {"\"ex\":1800000600", ERR_UNAUTHENTICATED},
		{EXP ",\"nbf\":1800000030", ERR_OK}, {EXP ",\"nbf\":1800000030.9", ERR_OK},
		{EXP ",\"nbf\":1800000031", ERR_UNAUTHENTICATED}, {EXP ",\"nbf\":-5", ERR_OK},
		{EXP ",\"nbf\":\"1\"", ERR_UNAUTHENTICATED},
		{EXP ",\"nbf\":1e400", ERR_UNAUTHENTICATED}, {EXP ",\"iat\":1800000030", ERR_OK},
		{EXP ",\"iat\":1800000031", ERR_UNAUTHENTICATED},
		{EXP ",\"iat\":{}", ERR_UNAUTHENTICATED}, {EXP ",\"iat\":0", ERR_OK}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, "{" ISS "," AUD "," SUB ",%s}", rows[i].claims);
		if (read_own(b.p) != rows[i].err)
			fail_msg("%s: %s", b.p, why ? why : "passed");
		buf_free(&b);
	}
}

static void issuer_and_audience(void **state)
{
	(void)state;
	static const char *const bad[] = {"{" AUD "," SUB "," EXP "}",
		"{\"iss\":\"https://signalbox.example/\"," AUD "," SUB "," EXP "}",
		"{\"iss\":\"HTTPS://signalbox.example\"," AUD "," SUB "," EXP "}",
		"{\"iss\":\"https://signalbox.example\\u0000\"," AUD "," SUB "," EXP "}",
		"{\"iss\":[\"https://signalbox.example\"]," AUD "," SUB "," EXP "}",
		"{" ISS "," SUB "," EXP "}", "{" ISS ",\"aud\":\"other\"," SUB "," EXP "}",
		"{" ISS ",\"aud\":\"https://signalbox.example \"," SUB "," EXP "}",
		"{" ISS ",\"aud\":\"https://signalbox.example\\u0000\"," SUB "," EXP "}",
		"{" ISS ",\"aud\":[]," SUB "," EXP "}", "{" ISS ",\"aud\":null," SUB "," EXP "}",
		"{" ISS ",\"aud\":[\"other\"]," SUB "," EXP "}",
		"{" ISS ",\"aud\":[[\"urn:second\"]]," SUB "," EXP "}",
		"{" ISS ",\"aud\":[\"urn:second\",1]," SUB "," EXP "}",
		"{" ISS ",\"aud\":{\"urn:second\":\"urn:second\"}," SUB "," EXP "}"};
	for (size_t i = 0; i < COUNT(bad); i++)
		if (read_own(bad[i]) == ERR_OK)
			fail_msg("passed: %s", bad[i]);
	static const char *const good[] = {BASE "}",
		"{" ISS ",\"aud\":\"urn:second\"," SUB "," EXP "}",
		"{" ISS ",\"aud\":[\"other\",\"urn:second\"]," SUB "," EXP "}",
		"{\"iss\":\"https:\\/\\/signalbox.example\"," AUD "," SUB "," EXP "}"};
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(read_own(good[i]), ERR_OK);
	struct str iss;
	assert_true(claims_peek_issuer(str_of(good[3]), &iss));
	assert_true(json_string_eq(iss, own.issuer));
	static const char *const none[] = {"", "{", "[]", "{}", "{\"iss\":1}", "\"iss\""};
	for (size_t i = 0; i < COUNT(none); i++)
		assert_false(claims_peek_issuer(str_of(none[i]), &iss));
}

static void types(void **state)
{
	(void)state;
	static const char *const access[] = {"at+jwt", "application/at+jwt", "AT+JWT"};
	static const char *const other[] = {
		"", "JWT", "jwt", "id+jwt", "at+jwt ", "at+jw", "x/at+jwt"};
	for (size_t i = 0; i < COUNT(access); i++) {
		assert_int_equal(read_typ(STR(BASE "}"), access[i], &own), ERR_OK);
		assert_int_equal(read_typ(STR(FOREIGN "}"), access[i], &foreign), ERR_OK);
	}
	for (size_t i = 0; i < COUNT(other); i++) {
		assert_int_equal(read_typ(STR(BASE "}"), other[i], &own), ERR_UNAUTHENTICATED);
		assert_int_equal(read_typ(STR(FOREIGN "}"), other[i], &foreign),
			i < 3 ? ERR_OK : ERR_UNAUTHENTICATED);
	}
	static const char *const of_id_tokens[] = {"\"nonce\":\"n\"", "\"at_hash\":\"h\"",
		"\"c_hash\":\"h\"", "\"nonc\\u0065\":null", "\"typ\":\"ID\"", "\"typ\":1"};
	for (size_t i = 0; i < COUNT(of_id_tokens); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, FOREIGN ",%s}", of_id_tokens[i]);
		assert_int_equal(read_typ(buf_str(&b), "JWT", &foreign), ERR_UNAUTHENTICATED);
		assert_int_equal(read_typ(buf_str(&b), "at+jwt", &foreign), ERR_OK);
		buf_free(&b);
	}
	assert_int_equal(read_own(BASE ",\"cnf\":{\"jkt\":\"x\"}}"), ERR_UNAUTHENTICATED);
	assert_int_equal(read_own(BASE ",\"cnf\":null}"), ERR_UNAUTHENTICATED);
}

static void malformed(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "null", "[]", "\"x\"", "[" ISS "]", BASE, BASE "}x",
		BASE "," SUB "}", BASE ",\"s\\u0075b\":\"bob\"}", BASE ",\"x\":1,\"x\":1}",
		BASE ",\"exp\":1900000000}", BASE ",\"x\":\"\xff\"}", BASE ",}"};
	for (size_t i = 0; i < COUNT(bad); i++)
		if (read_own(bad[i]) == ERR_OK)
			fail_msg("passed: %s", bad[i]);
	struct buf b = BUF_INIT(1 << 20);
	buf_addf(&b, BASE ",\"x\":");
	for (int i = 0; i < 3000; i++)
		buf_addc(&b, '[');
	assert_int_equal(read_own(b.p), ERR_UNAUTHENTICATED);
	buf_free(&b);
	buf_addf(&b, BASE);
	for (int i = 0; i < JSON_ONCE_MAX; i++)
		buf_addf(&b, ",\"%d\":0", i);
	buf_addc(&b, '}');
	assert_int_equal(read_own(b.p), ERR_UNAUTHENTICATED);
	buf_free(&b);
	buf_addf(&b, BASE ",\"x\":\"%*s\"}", JWS_MAX, "");
	assert_int_equal(read_own(b.p), ERR_UNAUTHENTICATED);
	buf_free(&b);
}

static void names(void **state)
{
	(void)state;
	static const char *const subs[] = {"\"\"", "1", "null", "[\"ann\"]", "\"ann\\u0000\"",
		"\"\\u0000\"", "\"a\\nb\"", "\"a\\u0085b\"", "\"\\ud800\"", "\"corp|ann\"",
		"\"client:web\""};
	for (size_t i = 0; i < COUNT(subs); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, "{" ISS "," AUD "," EXP ",\"sub\":%s}", subs[i]);
		assert_int_equal(read_own(b.p), ERR_UNAUTHENTICATED);
		buf_free(&b);
	}
	assert_int_equal(read_own("{" ISS "," AUD "," EXP "}"), ERR_UNAUTHENTICATED);
	for (int size = CLAIM_TEXT_MAX; size <= CLAIM_TEXT_MAX + 1; size++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, "{" ISS "," AUD "," EXP ",\"sub\":\"%0*d\"}", size, 1);
		assert_int_equal(
			read_own(b.p), size == CLAIM_TEXT_MAX ? ERR_OK : ERR_UNAUTHENTICATED);
		buf_free(&b);
	}
	static const char *const bad[] = {"\"jti\":1", "\"jti\":\"a\\u0000\"", "\"client_id\":[]",
		"\"client_id\":\"a\\u0000\"", "\"azp\":7"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, BASE ",%s}", bad[i]);
		assert_int_equal(read_own(b.p), ERR_UNAUTHENTICATED);
		buf_free(&b);
	}
	/* what people are called refuses nobody */
	assert_int_equal(
		read_own(BASE ",\"name\":\"a\\u0000b\",\"preferred_username\":\"annie\"}"), ERR_OK);
	assert_true(str_is(claims.name, "annie"));
	assert_int_equal(read_own(BASE ",\"name\":{},\"preferred_username\":1}"), ERR_OK);
	assert_true(str_is(claims.name, "ann"));
	assert_int_equal(read_own(BASE ",\"azp\":\"web\"}"), ERR_OK);
	assert_true(str_is(claims.client, "web"));
}

static void scopes(void **state)
{
	(void)state;
	static const struct {
		const char *claim;
		uint32_t scopes;
	} good[] = {{"\"x\":0", SCOPE_ROOMS_JOIN}, {"\"scope\":\"\"", 0},
		{"\"scope\":\"openid profile\"", 0}, {"\"scope\":\"admin\"", SCOPE_ADMIN},
		{"\"scope\":[\"admin\",\"rpc:call rpc:serve\"]",
			SCOPE_ADMIN | SCOPE_RPC_CALL | SCOPE_RPC_SERVE},
		{"\"scope\":[]", 0}, {"\"scp\":[\"admin\"]", SCOPE_ADMIN},
		{"\"scp\":\"admin\"", SCOPE_ADMIN},
		{"\"scp\":\"admin\",\"scope\":\"rpc:call\"", SCOPE_RPC_CALL},
		{"\"scope\":\"adm\\u0069n\"", SCOPE_ADMIN}};
	for (size_t i = 0; i < COUNT(good); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, FOREIGN ",%s}", good[i].claim);
		assert_int_equal(read_typ(buf_str(&b), "JWT", &foreign), ERR_OK);
		assert_int_equal(claims.scopes, good[i].scopes);
		buf_free(&b);
	}
	static const char *const bad[] = {"\"scope\":1", "\"scope\":null",
		"\"scope\":{\"admin\":1}", "\"scope\":[1]", "\"scope\":[[\"admin\"]]",
		"\"scp\":true", "\"scope\":\"\\ud800\"", "\"scope\":\"admin\\u0000\"",
		"\"scope\":[\"x\\u0000 admin\"]"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct buf b = BUF_INIT(4096);
		buf_addf(&b, FOREIGN ",%s}", bad[i]);
		assert_int_equal(read_typ(buf_str(&b), "JWT", &foreign), ERR_UNAUTHENTICATED);
		buf_free(&b);
	}
}

static enum err read_limits(const char *value)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_addf(&b, BASE ",\"signalbox\":%s}", value);
	enum err err = read_own(b.p);
	buf_free(&b);
	return err;
}

static void limits(void **state)
{
	(void)state;
	assert_int_equal(read_limits("{\"rooms\":[\"team-*\",\"l\\u00f6bby\"]}"), ERR_OK);
	assert_true(claims.rooms_limited && !claims.datasets_limited);
	assert_int_equal(claims.room_count, 2);
	assert_true(str_is(claims.rooms[0], "team-*") &&
		str_is(claims.rooms[1],
			"l\xc3\xb6"
			"bby"));
	assert_int_equal(read_limits("{\"rooms\":[],\"datasets\":[\"todos\"]}"), ERR_OK);
	assert_true(claims.rooms_limited && claims.datasets_limited);
	assert_int_equal(claims.room_count, 0);
	assert_int_equal(claims.dataset_count, 1);
	assert_int_equal(read_limits("{}"), ERR_OK);
	assert_false(claims.rooms_limited || claims.datasets_limited);
	static const char *const bad[] = {"null", "[]", "\"rooms\"", "{\"rooms\":\"team-*\"}",
		"{\"rooms\":null}", "{\"rooms\":[1]}", "{\"rooms\":{}}",
		"{\"rooms\":[\"a\\u0000\"]}", "{\"room\":[\"a\"]}",
		"{\"rooms\":[\"a\"],\"more\":1}", "{\"rooms\":[],\"r\\u006foms\":[\"*\"]}",
		"{\"datasets\":[\"a\",[]]}"};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(read_limits(bad[i]), ERR_UNAUTHENTICATED);
	for (int n = CLAIM_GLOBS_MAX; n <= CLAIM_GLOBS_MAX + 1; n++) {
		struct buf b = BUF_INIT(1 << 16);
		for (int i = 0; i < n; i++)
			buf_addf(&b, "%s\"%d\"", i ? "," : "{\"datasets\":[", i);
		buf_adds(&b, STR("]}"));
		assert_int_equal(
			read_limits(b.p), n == CLAIM_GLOBS_MAX ? ERR_OK : ERR_UNAUTHENTICATED);
		buf_free(&b);
	}
}

static void who(void **state)
{
	(void)state;
	static const struct {
		const struct issuer_rule *rule;
		const char *payload, *user;
	} rows[] = {{&own, BASE ",\"client_id\":\"web\"}", "ann"}, {&own, BASE "}", "ann"},
		{&own, BASE ",\"client_id\":\"ann\"}", "client:ann"},
		{&foreign, FOREIGN ",\"client_id\":\"web\"}", "corp|ann"},
		{&foreign, FOREIGN ",\"client_id\":\"ann\"}", "corp|ann"}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(read_typ(str_of(rows[i].payload), "at+jwt", rows[i].rule), ERR_OK);
		struct principal *p = claims_principal(&claims, rows[i].rule);
		assert_true(str_is(p->user, rows[i].user));
		assert_true(str_is(p->subject, "ann") && str_eq(p->issuer, rows[i].rule->issuer));
		assert_int_equal(p->expires_at, NOW + 600);
		principal_unref(&p);
	}
	assert_int_equal(read_limits("{\"rooms\":[\"team-*\"],\"datasets\":[]}"), ERR_OK);
	struct principal *p = claims_principal(&claims, &own);
	memset(&claims, 'x', sizeof(claims));
	assert_true(principal_sees_room(p, STR("team-a")) && !principal_sees_room(p, STR("b")));
	assert_false(principal_sees_dataset(p, STR("todos")));
	assert_int_equal(p->scopes, 0);
	principal_unref(&p);
}

/* An issuer that says everything in its own way. */
static const struct str scope_paths[] = {{"scope", 5}, {"https://x\\.example/may", 23}};
static const struct str role_paths[] = {{"realm_access.roles", 18}, {"groups", 6}};
static const struct role_scopes role_table[] = {
	{"caller", SCOPE_ROOMS_JOIN}, {"head of \"calls\"", SCOPE_ROOMS_MODERATE | SCOPE_ADMIN}};
static const struct issuer_rule mapped = {.issuer = {"https://id.example/", 19},
	.alias = {"corp", 4},
	.audiences = audiences,
	.audience_count = 2,
	.default_scopes = SCOPE_RPC_CALL,
	.mapping = {.name = {"profile.nick", 12},
		.scopes = scope_paths,
		.scope_count = 2,
		.roles = role_paths,
		.role_count = 2,
		.table = role_table,
		.table_count = 2,
		.rooms = {"may.enter", 9}}};

static enum err read_mapped(const char *more)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_addf(&b, FOREIGN "%s}", more);
	enum err err = read_typ(buf_str(&b), "at+jwt", &mapped);
	buf_free(&b);
	return err;
}

static void mapping(void **state)
{
	(void)state;
	static const struct {
		const char *claims;
		uint32_t scopes;
	} good[] = {{"", SCOPE_RPC_CALL}, {",\"scp\":\"admin\"", SCOPE_RPC_CALL},
		{",\"scope\":\"openid\"", 0},
		{",\"scope\":\"rpc:serve\",\"https://x.example/may\":[\"rooms:create\"]",
			SCOPE_RPC_SERVE | SCOPE_ROOMS_CREATE},
		{",\"realm_access\":{\"roles\":[\"x\",\"caller\"]}", SCOPE_ROOMS_JOIN},
		{",\"realm_access\":{\"roles\":[]}", 0}, {",\"realm_access\":{}", SCOPE_RPC_CALL},
		{",\"realm_access\":1", SCOPE_RPC_CALL},
		{",\"groups\":{\"caller\":{\"1\":\"a.example\"},\"x\":1}", SCOPE_ROOMS_JOIN},
		{",\"groups\":\"x caller\"", SCOPE_ROOMS_JOIN},
		{",\"groups\":\"callers cal\\u006cer\"", SCOPE_ROOMS_JOIN},
		{",\"groups\":[\"x caller\"]", 0},
		{",\"groups\":[\"head of \\\"calls\\\"\"],\"scope\":\"rpc:call\"",
			SCOPE_ROOMS_MODERATE | SCOPE_ADMIN | SCOPE_RPC_CALL},
		{",\"realm_access.roles\":[\"caller\"]", SCOPE_RPC_CALL}};
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(read_mapped(good[i].claims), ERR_OK);
		assert_int_equal(claims.scopes, good[i].scopes);
	}
	static const char *const bad[] = {",\"groups\":1", ",\"groups\":null", ",\"groups\":[1]",
		",\"groups\":[[\"caller\"]]", ",\"realm_access\":{\"roles\":[],\"r\\u006fles\":[]}",
		",\"scope\":{}", ",\"https://x.example/may\":1"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(read_mapped(bad[i]), ERR_UNAUTHENTICATED);
		assert_int_equal(claims.step, CHECK_GRANT);
	}
}

static void mapped_names_and_rooms(void **state)
{
	(void)state;
	assert_int_equal(read_mapped(",\"name\":\"x\",\"profile\":{\"nick\":\"Annie\"}"), ERR_OK);
	assert_true(str_is(claims.name, "Annie"));
	static const char *const nameless[] = {",\"name\":\"x\"", ",\"profile\":{\"nick\":1}",
		",\"profile\":{\"nick\":\"\\n\"}", ",\"profile\":{\"nick\":\"a\",\"nick\":\"b\"}"};
	for (size_t i = 0; i < COUNT(nameless); i++) {
		assert_int_equal(read_mapped(nameless[i]), ERR_OK);
		assert_true(str_is(claims.name, "ann"));
	}
	/* where rooms are to be said, who says nothing enters none */
	assert_int_equal(read_mapped(""), ERR_OK);
	assert_true(claims.rooms_limited && claims.room_count == 0);
	assert_int_equal(read_mapped(",\"may\":{\"enter\":\"hall\"}"), ERR_OK);
	assert_true(claims.room_count == 1 && str_is(claims.rooms[0], "hall"));
	assert_int_equal(read_mapped(",\"may\":{\"enter\":[\"a\",\"team-*\"]}"), ERR_OK);
	assert_true(claims.room_count == 2 && str_is(claims.rooms[1], "team-*"));
	static const char *const bad[] = {",\"may\":{\"enter\":1}", ",\"may\":{\"enter\":[1]}",
		",\"may\":{\"enter\":\"a\\u0000\"}", ",\"may\":{\"enter\":[],\"enter\":[\"*\"]}",
		",\"may\":{\"enter\":\"a\"},\"signalbox\":{\"rooms\":[\"*\"]}"};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(read_mapped(bad[i]), ERR_UNAUTHENTICATED);
}

static void paths(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "a.b", "a\\.b", "urn:zitadel:iam:org:project:roles",
		"https://x\\.example/roles", "a.b.c.d.e.f.g.h", "\\\\", "\xc3\xa4"};
	static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a\\", "a.b.c.d.e.f.g.h.i"};
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(claim_path_valid(str_of(good[i])));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(claim_path_valid(str_of(bad[i])));
	char name[CLAIM_PATH_NAME + 2];
	memset(name, 'n', sizeof(name));
	assert_true(claim_path_valid((struct str){name, CLAIM_PATH_NAME}));
	assert_false(claim_path_valid((struct str){name, CLAIM_PATH_NAME + 1}));
}

static enum check_step answered(const char *more)
{
	struct buf b = BUF_INIT(1 << 16);
	buf_addf(&b, "{\"aud\":\"urn:second\"," SUB "," EXP "%s}", more);
	why = NULL;
	enum err err = claims_read_answer(buf_str(&b), &foreign, NOW, &claims, &why);
	buf_free(&b);
	assert_true(err == ERR_OK || (err == ERR_UNAUTHENTICATED && why));
	return err ? claims.step : CHECK_STEPS_COUNT;
}

/* What an issuer says of a token that only it can read. */
static void answers(void **state)
{
	(void)state;
	static const struct {
		const char *more;
		enum check_step step;
	} rows[] = {{",\"active\":true", CHECK_STEPS_COUNT},
		{",\"active\":true,\"iss\":\"https://id.example/\",\"token_type\":\"bearer\"",
			CHECK_STEPS_COUNT},
		{",\"active\":true,\"typ\":\"Bearer\"", CHECK_STEPS_COUNT}, {"", CHECK_ACTIVE},
		{",\"active\":false", CHECK_ACTIVE}, {",\"active\":1", CHECK_ACTIVE},
		{",\"active\":\"true\"", CHECK_ACTIVE},
		{",\"active\":true,\"iss\":\"https://id.example\"", CHECK_ISSUER},
		{",\"active\":true,\"iss\":1", CHECK_ISSUER},
		{",\"active\":true,\"token_type\":\"DPoP\"", CHECK_TYPE},
		{",\"active\":true,\"token_type\":\"refresh_token\"", CHECK_TYPE},
		{",\"active\":true,\"typ\":\"Refresh\"", CHECK_TYPE},
		{",\"active\":true,\"cnf\":{\"jkt\":\"x\"}", CHECK_BINDING},
		{",\"active\":true,\"cnf\":{\"x5t#S256\":\"x\"}", CHECK_BINDING},
		{",\"active\":true,\"nbf\":1800000100", CHECK_TIMES},
		{",\"active\":true,\"scope\":1", CHECK_GRANT},
		{",\"active\":true,\"active\":true", CHECK_CLAIMS},
		{",\"active\":true,\"exp\":9999999999", CHECK_CLAIMS}};
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(answered(rows[i].more), rows[i].step);
	static const struct {
		const char *answer;
		enum check_step step;
	} whole[] = {{"", CHECK_CLAIMS}, {"[]", CHECK_CLAIMS}, {"<html>", CHECK_CLAIMS},
		{"{\"active\":true}", CHECK_AUDIENCE},
		{"{\"active\":true,\"aud\":\"other\"}", CHECK_AUDIENCE},
		{"{\"active\":true,\"aud\":\"urn:second\"}", CHECK_TIMES},
		{"{\"active\":true,\"aud\":\"urn:second\",\"exp\":1800000000}", CHECK_TIMES},
		{"{\"active\":true,\"aud\":\"urn:second\",\"exp\":1800000001}", CHECK_SUBJECT}};
	for (size_t i = 0; i < COUNT(whole); i++) {
		assert_int_equal(
			claims_read_answer(str_of(whole[i].answer), &foreign, NOW, &claims, &why),
			ERR_UNAUTHENTICATED);
		assert_int_equal(claims.step, whole[i].step);
	}
}

/* What rules of datasets name, and nothing else: as it stood there, whatever it is. */
static void kept(void **state)
{
	(void)state;
	static const struct str wanted[] = {{"team", 4}, {"scope", 5}, {"level", 5}, {"no", 2}};
	static const char payload[] = BASE ",\"te\\u0061m\":{\"a\":[1,  2]},\"level\":1.50,\"x\":1,"
					   "\"scope\":\"rooms:join other\",\"in\":{\"no\":1}}";
	struct str json;
	unsigned generation = claims_kept_generation();
	assert_int_equal(read_own(payload), ERR_OK);
	assert_int_equal(claims.kept_count, 0);
	claims_keep(wanted, COUNT(wanted));
	assert_int_not_equal(claims_kept_generation(), generation);
	generation = claims_kept_generation();
	claims_keep(wanted, COUNT(wanted));
	assert_int_equal(claims_kept_generation(), generation); /* they are the same */
	assert_int_equal(read_own(payload), ERR_OK);
	struct principal *p = claims_principal(&claims, &own);
	memset(&claims, 'x', sizeof(claims));
	assert_int_equal(p->claim_count, 3);
	assert_true(principal_claim(p, STR("team"), &json) && str_is(json, "{\"a\":[1,  2]}"));
	assert_true(principal_claim(p, STR("level"), &json) && str_is(json, "1.50"));
	assert_true(
		principal_claim(p, STR("scope"), &json) && str_is(json, "\"rooms:join other\""));
	assert_false(principal_claim(p, STR("no"), &json) || principal_claim(p, STR("x"), &json));
	principal_unref(&p);
	claims_keep(NULL, 0);
	assert_int_equal(read_own(payload), ERR_OK);
	assert_int_equal(claims.kept_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept),
		cmocka_unit_test(mapping),
		cmocka_unit_test(mapped_names_and_rooms),
		cmocka_unit_test(paths),
		cmocka_unit_test(answers),
		cmocka_unit_test(complete),
		cmocka_unit_test(dates),
		cmocka_unit_test(times),
		cmocka_unit_test(issuer_and_audience),
		cmocka_unit_test(types),
		cmocka_unit_test(malformed),
		cmocka_unit_test(names),
		cmocka_unit_test(scopes),
		cmocka_unit_test(limits),
		cmocka_unit_test(who),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
