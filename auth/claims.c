#include "auth/claims.h"

#include "core/json_scan.h"

#include <assert.h>
#include <strings.h>

static enum err refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return ERR_UNAUTHENTICATED;
}

static struct str inner(struct str string)
{
	return (struct str){string.p + 1, string.n - 2};
}

bool claims_peek_issuer(struct str payload, struct str *ret_iss)
{
	struct str value;
	if (json_check(payload, NULL) || !json_get(payload, "iss", &value) ||
		json_kind(value) != JSON_STRING)
		return false;
	*ret_iss = inner(value);
	return true;
}

/* What the payload says, noted once when it is begun: each claim is then looked for among the names. */
static bool said(const struct claims *c, const char *name, struct str *ret_value)
{
	for (size_t i = 0; i < c->said_count; i++) {
		if (!json_string_is(c->said[i].name, name))
			continue;
		*ret_value = c->said[i].json;
		return true;
	}
	return false;
}

/* Dates. */

/* What a JSON number is made of: sign, digits, and where the point is among the digits. */
struct decimal {
	bool minus;
	struct str text; /* the digits, perhaps with a point among them */
	int64_t point;   /* digits in front of the point, the exponent counted in */
};

static struct decimal decimal_of(struct str number)
{
	struct decimal d = {.minus = *number.p == '-', .text = number};
	d.text.p += d.minus;
	d.text.n -= d.minus;
	size_t e = 0, point;
	while (e < d.text.n && d.text.p[e] != 'e' && d.text.p[e] != 'E')
		e++;
	struct str exponent = {d.text.p + e, d.text.n - e};
	d.text.n = e;
	for (point = 0; point < e && d.text.p[point] != '.';)
		point++;
	d.point = (int64_t)point;
	bool down = exponent.n > 1 && exponent.p[1] == '-';
	int64_t n = 0;
	for (size_t i = 1; i < exponent.n; i++)
		if (exponent.p[i] >= '0' && n < 100000)
			n = n * 10 + (exponent.p[i] - '0');
	d.point += down ? -n : n;
	return d;
}

enum err claims_date(struct str number, int64_t *ret_seconds)
{
	const int64_t year_10000 = 253402300800;
	if (json_kind(number) != JSON_NUMBER)
		return ERR_PARAMS;
	struct decimal d = decimal_of(number);
	int64_t seconds = 0, place = 0;
	bool fraction = false;
	for (size_t i = 0; i < d.text.n; i++) {
		int digit = d.text.p[i] - '0';
		if (d.text.p[i] == '.')
			continue;
		if (place++ >= d.point)
			fraction |= digit != 0;
		else if ((seconds = seconds * 10 + digit) >= year_10000)
			return ERR_PARAMS;
	}
	for (; seconds && place < d.point; place++) /* zeros that only the exponent has */
		if ((seconds *= 10) >= year_10000)
			return ERR_PARAMS;
	*ret_seconds = d.minus ? -seconds - fraction : seconds;
	return ERR_OK;
}

static bool optional_date(const struct claims *c, const char *name, int64_t *ret)
{
	struct str value;
	*ret = 0;
	return !said(c, name, &value) || claims_date(value, ret) == ERR_OK;
}

static enum err read_dates(int64_t now, struct claims *c, const char **ret_why)
{
	struct str value;
	c->step = CHECK_TIMES;
	if (!said(c, "exp", &value) || claims_date(value, &c->exp))
		return refuse("the token has no exp, or it is not a number of seconds", ret_why);
	if (!optional_date(c, "nbf", &c->nbf) || !optional_date(c, "iat", &c->iat))
		return refuse("the token's nbf or iat is not a number of seconds", ret_why);
	if (now >= c->exp)
		return refuse("the token has expired", ret_why);
	if (c->nbf > now + CLAIM_SKEW)
		return refuse("the token is not valid yet (nbf); compare the clocks", ret_why);
	if (c->iat > now + CLAIM_SKEW)
		return refuse(
			"the token was issued in the future (iat); compare the clocks", ret_why);
	return ERR_OK;
}

/* Strings. */

/* Decodes a string value into the claims' own text. What comes out never passes what went in, so
 * there is always room for the strings of one payload. */
static bool decode(struct claims *c, struct str value, size_t max, struct str *ret)
{
	size_t n;
	if (json_kind(value) != JSON_STRING || value.n > sizeof(c->text) - c->used ||
		json_decode(value, c->text + c->used, &n) || n > max)
		return false;
	*ret = (struct str){c->text + c->used, n};
	c->used += n;
	return true;
}

/* A name: absent is fine and empty; otherwise a string without control characters. */
static bool take_name(struct claims *c, const char *name, struct str *ret)
{
	struct str value;
	*ret = (struct str){c->text, 0};
	return !said(c, name, &value) ||
		(decode(c, value, CLAIM_TEXT_MAX, ret) && !str_has_control(*ret));
}

/* What people read. Whatever is no text there is passed over. */
static void read_name(struct str payload, const struct issuer_rule *rule, struct claims *c)
{
	struct str path = rule->mapping.name, value;
	c->name = (struct str){"", 0};
	if (path.n &&
		(claim_at(payload, path, &value) || !decode(c, value, CLAIM_TEXT_MAX, &c->name) ||
			str_has_control(c->name)))
		c->name.n = 0;
	if (!path.n && (!take_name(c, "name", &c->name) || !c->name.n) &&
		!take_name(c, "preferred_username", &c->name))
		c->name.n = 0;
	if (!c->name.n)
		c->name = c->sub;
}

static enum err read_names(
	struct str payload, const struct issuer_rule *rule, struct claims *c, const char **ret_why)
{
	struct str azp;
	c->step = CHECK_SUBJECT;
	if (!take_name(c, "sub", &c->sub) || !c->sub.n)
		return refuse("the token has no sub, or one that cannot name a user", ret_why);
	if (!take_name(c, "jti", &c->jti))
		return refuse("the token's jti is no string of at most 255 bytes", ret_why);
	if (!rule->alias.n && !take_name(c, "sid", &c->sid))
		return refuse("the token's sid is no string of at most 255 bytes", ret_why);
	if (!take_name(c, "client_id", &c->client) || !take_name(c, "azp", &azp))
		return refuse(
			"the token's client_id or azp is no string of at most 255 bytes", ret_why);
	if (!c->client.n)
		c->client = azp;
	read_name(payload, rule, c);
	return ERR_OK;
}

/* Issuer, audience, type. */

static bool is_ours(struct str value, const struct issuer_rule *rule)
{
	for (size_t i = 0; i < rule->audience_count; i++)
		if (json_string_eq(inner(value), rule->audiences[i]))
			return true;
	return false;
}

/* `aud` is a string, or an array of strings. */
static bool audience_fits(const struct claims *c, const struct issuer_rule *rule)
{
	struct str aud, item;
	bool ours = false;
	if (!said(c, "aud", &aud))
		return false;
	if (json_kind(aud) == JSON_STRING)
		return is_ours(aud, rule);
	struct json_walk w = json_walk(aud);
	while (!w.object && json_next(&w, NULL, &item)) {
		if (json_kind(item) != JSON_STRING)
			return false;
		ours = ours || is_ours(item, rule);
	}
	return ours;
}

/* Media types do not care for case. */
static bool typ_is(struct str typ, const char *word)
{
	return typ.n == strlen(word) && strncasecmp(typ.p, word, typ.n) == 0;
}

static enum err check_typ(
	struct str typ, const struct issuer_rule *rule, struct claims *c, const char **ret_why)
{
	struct str value;
	c->step = CHECK_TYPE;
	if (typ_is(typ, "at+jwt") || typ_is(typ, "application/at+jwt"))
		return ERR_OK;
	if (!rule->typ_jwt)
		return refuse("the header's typ is not at+jwt: this is no access token", ret_why);
	if (typ.n && !typ_is(typ, "JWT"))
		return refuse("the header's typ is neither at+jwt nor JWT", ret_why);
	if (said(c, "nonce", &value) || said(c, "at_hash", &value) || said(c, "c_hash", &value))
		return refuse("this is an ID token, not an access token", ret_why);
	if (said(c, "typ", &value) &&
		(json_kind(value) != JSON_STRING || !typ_is(inner(value), "Bearer")))
		return refuse("the claim typ says that this is no access token", ret_why);
	return ERR_OK;
}

static bool issuer_fits(const struct claims *c, const struct issuer_rule *rule)
{
	struct str iss;
	return said(c, "iss", &iss) && json_kind(iss) == JSON_STRING &&
		json_string_eq(inner(iss), rule->issuer);
}

static enum err check_for_us(const struct issuer_rule *rule, struct claims *c, const char **ret_why)
{
	struct str value;
	c->step = CHECK_AUDIENCE;
	if (!audience_fits(c, rule))
		return refuse("the token's aud does not name this service", ret_why);
	c->step = CHECK_BINDING;
	if (said(c, "cnf", &value))
		return refuse("the token is bound to a key (cnf), which is not supported", ret_why);
	return ERR_OK;
}

/* What they may do. */

static bool add_scopes(struct claims *c, struct str value)
{
	struct str words;
	if (!decode(c, value, sizeof(c->text), &words) || str_has_control(words))
		return false;
	c->scopes |= scopes_parse(words);
	return true;
}

/* A string of words, or an array of them. */
static bool read_scope(struct claims *c, struct str value)
{
	struct str item;
	c->has_grant = true;
	if (json_kind(value) != JSON_ARRAY)
		return add_scopes(c, value);
	struct json_walk w = json_walk(value);
	while (json_next(&w, NULL, &item))
		if (!add_scopes(c, item))
			return false;
	return true;
}

/* `scope`, or `scp` where some issuers put it, or wherever this one does. */
static bool read_scopes(struct str payload, const struct issuer_rule *rule, struct claims *c)
{
	const struct claim_mapping *m = &rule->mapping;
	struct str value;
	if (!m->scope_count)
		return (!said(c, "scope", &value) && !said(c, "scp", &value)) ||
			read_scope(c, value);
	for (size_t i = 0; i < m->scope_count; i++) {
		enum err err = claim_at(payload, m->scopes[i], &value);
		if (err != ERR_NOT_FOUND && (err || !read_scope(c, value)))
			return false;
	}
	return true;
}

static bool read_roles(struct str payload, const struct issuer_rule *rule, struct claims *c)
{
	const struct claim_mapping *m = &rule->mapping;
	struct str value;
	for (size_t i = 0; i < m->role_count; i++) {
		enum err err = claim_at(payload, m->roles[i], &value);
		if (err == ERR_NOT_FOUND)
			continue;
		if (err || roles_scopes(value, m, &c->scopes))
			return false;
		c->has_grant = true;
	}
	return true;
}

static bool read_globs(struct claims *c, struct str list, struct str *globs, size_t *count)
{
	struct str item;
	if (json_kind(list) != JSON_ARRAY)
		return false;
	struct json_walk w = json_walk(list);
	while (json_next(&w, NULL, &item)) {
		if (*count == CLAIM_GLOBS_MAX || !decode(c, item, CLAIM_TEXT_MAX, &globs[*count]) ||
			str_has_control(globs[*count]))
			return false;
		++*count;
	}
	return true;
}

/* {"team-*": "moderator"}: a name or glob, and what the bearer is there. */
static bool read_room_roles(struct claims *c, struct str object)
{
	struct str key, value;
	if (json_kind(object) != JSON_OBJECT || json_once(object))
		return false;
	struct json_walk w = json_walk(object);
	while (json_next(&w, &key, &value)) {
		struct room_role *r = &c->room_roles[c->room_role_count];
		struct str quoted = {key.p - 1, key.n + 2}, word;
		if (c->room_role_count == CLAIM_GLOBS_MAX ||
			!decode(c, quoted, CLAIM_TEXT_MAX, &r->names) ||
			str_has_control(r->names) || !decode(c, value, CLAIM_TEXT_MAX, &word))
			return false;
		r->role = role_parse(word);
		if (r->role < ROLE_VIEWER || r->role > ROLE_MODERATOR)
			return false;
		c->room_role_count++;
	}
	return true;
}

/* The claim `signalbox` narrows what the token may do, so what is not understood in it refuses. */
static bool read_limits(struct claims *c)
{
	struct str limits, key, value;
	if (!said(c, "signalbox", &limits))
		return true;
	if (json_kind(limits) != JSON_OBJECT || json_once(limits))
		return false;
	struct json_walk w = json_walk(limits);
	while (json_next(&w, &key, &value)) {
		bool rooms = json_string_is(key, "rooms");
		if (json_string_is(key, "roles")) {
			if (!read_room_roles(c, value))
				return false;
			continue;
		}
		if (!rooms && !json_string_is(key, "datasets"))
			return false;
		if (rooms ? !read_globs(c, value, c->rooms, &c->room_count)
			  : !read_globs(c, value, c->datasets, &c->dataset_count))
			return false;
		c->rooms_limited |= rooms;
		c->datasets_limited |= !rooms;
	}
	return true;
}

/* An issuer's own claim for rooms: where it is configured, a token without it enters none, and one
 * that also brings `signalbox.rooms` says two things. */
static bool read_rooms(struct str payload, const struct issuer_rule *rule, struct claims *c)
{
	struct str path = rule->mapping.rooms, value;
	if (!path.n)
		return true;
	if (c->rooms_limited)
		return false;
	c->rooms_limited = true;
	enum err err = claim_at(payload, path, &value);
	if (err)
		return err == ERR_NOT_FOUND;
	if (json_kind(value) != JSON_STRING)
		return read_globs(c, value, c->rooms, &c->room_count);
	c->room_count = 1;
	return decode(c, value, CLAIM_TEXT_MAX, &c->rooms[0]) && !str_has_control(c->rooms[0]);
}

/* What an issuer says in a claim of its own takes the place of `signalbox.roles`, when that is not
 * there. */
static bool read_own_roles(struct str payload, const struct issuer_rule *rule, struct claims *c)
{
	struct str path = rule->mapping.room_roles, value;
	if (!path.n)
		return true;
	enum err err = claim_at(payload, path, &value);
	if (err)
		return err == ERR_NOT_FOUND;
	return !c->room_role_count && read_room_roles(c, value);
}

static enum err read_grant(
	struct str payload, const struct issuer_rule *rule, struct claims *c, const char **ret_why)
{
	c->step = CHECK_GRANT;
	if (!read_scopes(payload, rule, c))
		return refuse(
			"the token's scope is neither a string nor an array of them", ret_why);
	if (!read_roles(payload, rule, c))
		return refuse("the token's roles are no list of names", ret_why);
	if (!c->has_grant && rule->alias.n)
		c->scopes = rule->default_scopes;
	if (!read_limits(c))
		return refuse("the token's claim signalbox is not {rooms: [...], datasets: [...], "
			      "roles: {name: role}}",
			ret_why);
	if (!read_own_roles(payload, rule, c))
		return refuse(
			"the claim that says roles in rooms is not {name: moderator, member or "
			"viewer}",
			ret_why);
	if (!read_rooms(payload, rule, c))
		return refuse(
			"the claim that names the token's rooms is no list of at most 128 names",
			ret_why);
	return ERR_OK;
}

/* An account's name must not read as somebody of another kind. */
static enum err check_account(
	const struct claims *c, const struct issuer_rule *rule, const char **ret_why)
{
	if (!rule->alias.n &&
		(memchr(c->sub.p, '|', c->sub.n) || str_starts(c->sub, STR("client:"))))
		return refuse("the token's sub cannot be an account's name", ret_why);
	return ERR_OK;
}

static void note(struct str payload, struct claims *c)
{
	struct json_walk w = json_walk(payload);
	while (json_next(&w, &c->said[c->said_count].name, &c->said[c->said_count].json))
		c->said_count++;
}

static enum err begin(struct str payload, struct claims *c, const char **ret_why)
{
	memset(c, 0, offsetof(struct claims, rooms));
	c->used = 0;
	c->step = CHECK_CLAIMS;
	if (payload.n > sizeof(c->text))
		return refuse("the payload is too large", ret_why);
	if (json_check(payload, NULL) || json_kind(payload) != JSON_OBJECT)
		return refuse("the payload is not a JSON object", ret_why);
	if (json_once(payload))
		return refuse("the payload has a doubled claim, or too many claims", ret_why);
	note(payload, c);
	return ERR_OK;
}

/* What follows the type, for tokens and answers alike. */
static enum err read_rest(struct str payload, const struct issuer_rule *rule, int64_t now,
	struct claims *c, const char **ret_why)
{
	enum err err = read_dates(now, c, ret_why);
	err = err ? err : read_names(payload, rule, c, ret_why);
	err = err ? err : check_account(c, rule, ret_why);
	err = err ? err : read_grant(payload, rule, c, ret_why);
	if (!err)
		c->kept_count = claims_kept_in(payload, c->kept_names, c->kept);
	return err;
}

enum err claims_read(struct str payload, struct str typ, const struct issuer_rule *rule,
	int64_t now, struct claims *ret_claims, const char **ret_why)
{
	struct claims *c = ret_claims;
	enum err err = begin(payload, c, ret_why);
	if (!err && !issuer_fits(c, rule)) {
		c->step = CHECK_ISSUER;
		return refuse("the token's iss is not the issuer's", ret_why);
	}
	err = err ? err : check_for_us(rule, c, ret_why);
	err = err ? err : check_typ(typ, rule, c, ret_why);
	return err ? err : read_rest(payload, rule, now, c, ret_why);
}

/* An issuer may also be asked about its refresh tokens, which are nothing to be let in with: the
 * type, where it is said, is Bearer. Keycloak says it in `typ`. */
static enum err check_answer_type(struct claims *c, const char **ret_why)
{
	static const char *const names[] = {"token_type", "typ"};
	c->step = CHECK_TYPE;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct str value;
		if (said(c, names[i], &value) &&
			(json_kind(value) != JSON_STRING || !typ_is(inner(value), "Bearer")))
			return refuse("the issuer calls it no Bearer token", ret_why);
	}
	return ERR_OK;
}

enum err claims_read_answer(struct str answer, const struct issuer_rule *rule, int64_t now,
	struct claims *ret_claims, const char **ret_why)
{
	struct claims *c = ret_claims;
	struct str value;
	enum err err = begin(answer, c, ret_why);
	if (err)
		return err;
	c->step = CHECK_ACTIVE;
	if (!said(c, "active", &value) || json_kind(value) != JSON_TRUE)
		return refuse("the issuer says that the token is not in force", ret_why);
	if (said(c, "iss", &value) && !issuer_fits(c, rule)) {
		c->step = CHECK_ISSUER;
		return refuse("the answer's iss is not the issuer's", ret_why);
	}
	err = check_for_us(rule, c, ret_why);
	err = err ? err : check_answer_type(c, ret_why);
	return err ? err : read_rest(answer, rule, now, c, ret_why);
}

/* The user's one string, put together in out. */
static struct str user_of(const struct claims *claims, const struct issuer_rule *rule, char *out)
{
	struct str before = rule->alias;
	if (!rule->alias.n && str_eq(claims->sub, claims->client))
		before = STR("client:");
	size_t n = before.n;
	if (n)
		memcpy(out, before.p, n);
	if (rule->alias.n)
		out[n++] = '|';
	memcpy(out + n, claims->sub.p, claims->sub.n);
	return (struct str){out, n + claims->sub.n};
}

struct principal *claims_principal(const struct claims *claims, const struct issuer_rule *rule)
{
	char user[2 * CLAIM_TEXT_MAX + 1];
	assert(rule->alias.n <= CLAIM_TEXT_MAX);
	return principal_new(&(struct principal){
		.user = user_of(claims, rule, user),
		.name = claims->name,
		.issuer = rule->issuer,
		.subject = claims->sub,
		.client = claims->client,
		.jti = claims->jti,
		.sid = claims->sid,
		.scopes = claims->scopes,
		.rooms_limited = claims->rooms_limited,
		.datasets_limited = claims->datasets_limited,
		.room_count = claims->room_count,
		.room_role_count = claims->room_role_count,
		.dataset_count = claims->dataset_count,
		.rooms = (struct str *)(uintptr_t)claims->rooms,
		.datasets = (struct str *)(uintptr_t)claims->datasets,
		.room_roles = (struct room_role *)(uintptr_t)claims->room_roles,
		.claim_count = claims->kept_count,
		.claims = (struct principal_claim *)(uintptr_t)claims->kept,
		.expires_at = claims->exp,
		.issued_at = claims->iat > 0 ? claims->iat
			: claims->nbf > 0    ? claims->nbf
					     : 0,
	});
}
