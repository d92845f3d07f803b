#include "auth/explain.h"

#include "core/json_scan.h"

enum { TEXT_MAX = 16 * 1024 };

/* What the steps look at. Spans are n 0 where the token does not say it. */
struct look {
	const struct explained *e;
	const struct issuer_rule *rule; /* NULL: none */
	bool jwt;
	struct jws *jws;
	struct str payload; /* a JSON object, or empty */
};

static const struct {
	enum check_step step;
	const char *claims[5];
} claims_of_steps[] = {
	{CHECK_ISSUER, {"iss"}},
	{CHECK_AUDIENCE, {"aud"}},
	{CHECK_BINDING, {"cnf"}},
	{CHECK_TIMES, {"exp", "nbf", "iat"}},
	{CHECK_SUBJECT, {"sub", "client_id", "jti"}},
};

static void add_list(struct buf *b, const char *between, struct str word)
{
	buf_addf(b, "%s" STR_FMT, b->n ? between : "", STR_ARG(word));
}

static void add_claim(const struct look *k, const char *name, struct buf *b)
{
	struct str value;
	if (!json_get(k->payload, name, &value))
		return;
	buf_addf(b, "%s%s ", b->n ? ", " : "", name);
	buf_adds(b, value);
}

static void add_path(const struct look *k, struct str path, struct buf *b)
{
	struct str value;
	if (!path.n || claim_at(k->payload, path, &value))
		return;
	buf_addf(b, "%s" STR_FMT " ", b->n ? ", " : "", STR_ARG(path));
	buf_adds(b, value);
}

/* The claims that a grant is made of. */
static void add_grant(const struct look *k, struct buf *b)
{
	const struct claim_mapping *m = &k->rule->mapping;
	for (size_t i = 0; i < m->scope_count; i++)
		add_path(k, m->scopes[i], b);
	if (!m->scope_count) {
		add_claim(k, "scope", b);
		add_claim(k, "scp", b);
	}
	for (size_t i = 0; i < m->role_count; i++)
		add_path(k, m->roles[i], b);
	add_claim(k, "signalbox", b);
	add_path(k, m->rooms, b);
	if (k->e->who && !k->e->err) {
		char text[SCOPES_TEXT_MAX];
		struct str scopes = scopes_text(k->e->who->scopes, text);
		buf_addf(b, "%sgives `" STR_FMT "`", b->n ? "; " : "", STR_ARG(scopes));
	}
}

static void found(const struct look *k, enum check_step step, struct buf *b)
{
	size_t rows = sizeof(claims_of_steps) / sizeof(*claims_of_steps);
	if (step == CHECK_FORM)
		buf_addf(b, "%zu bytes, %s", k->e->token.n,
			k->jwt ? "three parts" : "not the three parts of a JWT");
	if (step == CHECK_WITHDRAWN && k->e->who)
		buf_addf(b, "user " STR_FMT, STR_ARG(k->e->who->user));
	if (!k->jws)
		return;
	if (step == CHECK_HEADER || step == CHECK_ALGORITHM)
		buf_addf(b, "alg %s", jwa_info(k->jws->alg)->word);
	if (step == CHECK_TYPE || step == CHECK_HEADER)
		buf_addf(b, "%styp " STR_FMT, b->n ? ", " : "", STR_ARG(k->jws->typ));
	if (step == CHECK_KEY || step == CHECK_HEADER)
		buf_addf(b, "%skid " STR_FMT, b->n ? ", " : "", STR_ARG(k->jws->kid));
	for (size_t i = 0; i < rows; i++)
		for (size_t c = 0; claims_of_steps[i].step == step && claims_of_steps[i].claims[c];
			c++)
			add_claim(k, claims_of_steps[i].claims[c], b);
	if (step == CHECK_GRANT && k->rule)
		add_grant(k, b);
}

static void wanted_algorithm(const struct issuer_rule *rule, struct buf *b)
{
	for (unsigned a = 0; a < JWA_COUNT; a++)
		if (rule->algs & JWA_BIT(a))
			add_list(b, ", ", str_of(jwa_info((enum jwa)a)->word));
}

static void wanted_key(const struct jwk_set *set, struct buf *b)
{
	for (size_t i = 0; set && i < jwk_set_count(set); i++)
		add_list(b, ", ", jwk_set_at(set, i)->kid);
	if (!b->n)
		buf_adds(b, STR("keys of the issuer, which are not there"));
}

static void wanted_grant(const struct issuer_rule *rule, struct buf *b)
{
	for (size_t i = 0; i < rule->mapping.table_count; i++)
		add_list(b, ", ", str_of(rule->mapping.table[i].role));
}

static void wanted(const struct look *k, enum check_step step, struct buf *b)
{
	const struct issuer_rule *rule = k->rule;
	if (step == CHECK_ISSUER)
		for (size_t i = 0; i < k->e->rule_count; i++)
			add_list(b, " or ", k->e->rules[i].issuer);
	if (step == CHECK_TIMES)
		buf_addf(b, "exp after %lld, nbf and iat not after %lld", (long long)k->e->now,
			(long long)k->e->now + CLAIM_SKEW);
	if (step == CHECK_BINDING)
		buf_adds(b, STR("no cnf: keys that tokens are bound to cannot be checked here"));
	if (!rule)
		return;
	if (step == CHECK_ALGORITHM)
		wanted_algorithm(rule, b);
	if (step == CHECK_KEY && k->jwt)
		wanted_key(k->e->set, b);
	if (step == CHECK_AUDIENCE)
		for (size_t i = 0; i < rule->audience_count; i++)
			add_list(b, " or ", rule->audiences[i]);
	if (step == CHECK_TYPE && k->jwt)
		buf_addf(b, "at+jwt%s",
			rule->typ_jwt ? " or JWT" : " (allow_typ_jwt also takes JWT)");
	if (step == CHECK_GRANT)
		wanted_grant(rule, b);
}

/* Whether the check of this kind of token has the step. */
static bool applies(const struct look *k, enum check_step step)
{
	if (!k->jwt && k->e->issuer >= 0)
		return step == CHECK_FORM || step >= CHECK_ACTIVE;
	return step != CHECK_ACTIVE;
}

static void write_text(struct json_out *o, const char *key, const struct look *k,
	enum check_step step, void (*say)(const struct look *, enum check_step, struct buf *))
{
	struct buf b = BUF_INIT(TEXT_MAX);
	say(k, step, &b);
	if (b.n)
		json_str(o, key, buf_str(&b));
	buf_free(&b);
}

static void write_step(const struct look *k, enum check_step step, struct json_out *o)
{
	bool passed = !k->e->err || step < k->e->step;
	json_open(o, NULL, '{');
	json_text(o, "step", check_step_word(step));
	json_text(o, "asks", check_step_asks(step));
	json_bool(o, "passed", passed);
	write_text(o, "found", k, step, found);
	write_text(o, "wanted", k, step, wanted);
	if (!passed)
		json_text(o, "why", k->e->why);
	json_close(o, '}');
}

void explain(const struct explained *e, const char *key, struct json_out *o)
{
	struct jws jws;
	const char *why;
	struct look k = {.e = e,
		.rule = e->issuer < 0 ? NULL : &e->rules[e->issuer],
		.jwt = jws_form(e->token),
		.jws = jws_parse(e->token, &jws, &why) ? NULL : &jws};
	if (k.jws && !json_check(jws.payload, NULL) && json_kind(jws.payload) == JSON_OBJECT)
		k.payload = json_trim(jws.payload);
	json_open(o, key, '[');
	for (unsigned s = 0; s < CHECK_STEPS_COUNT; s++) {
		enum check_step step = (enum check_step)s;
		if (applies(&k, step))
			write_step(&k, step, o);
		if (e->err && step == e->step)
			break;
	}
	json_close(o, ']');
}
