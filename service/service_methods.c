#include "service/service_methods.h"

#include "core/embedded.h"
#include "core/mem.h"
#include "service/authn.h"
#include "service/methods.h"

/* ---- rpc.discover: the description of every method, event and error (OpenRPC 1.3) ---- */

static void run_discover(struct call *c)
{
	for (const struct embedded_file *f = embedded_files; f->path; f++)
		if (strcmp(f->path, "schema/openrpc.json") == 0) {
			json_raw(call_result(c), NULL, embedded_bytes(f));
			call_reply(c);
			return;
		}
	call_refuse(c, ERR_NOT_FOUND);
}

/* ---- rpc.methods: the method tables as they stand, which the description must agree with ---- */

static const char *const type_words[] = {
	[FIELD_STRING] = "string",
	[FIELD_RAW] = "json",
	[FIELD_OBJECT] = "object",
	[FIELD_ARRAY] = "array",
	[FIELD_INT] = "integer",
	[FIELD_BOOL] = "boolean",
};

static void write_field(struct json_out *o, const struct field *f)
{
	json_open(o, NULL, '{');
	json_text(o, "name", f->name);
	json_text(o, "type", type_words[f->type]);
	json_bool(o, "required", f->required);
	json_int(o, "min", f->min);
	json_int(o, "max", f->max);
	json_close(o, '}');
}

static void write_method(struct json_out *o, const struct method *m)
{
	json_open(o, NULL, '{');
	json_text(o, "name", m->name);
	json_text(o, "scope", m->scope ? scope_word((enum scope)m->scope) : NULL);
	json_bool(o, "session", m->flags & METHOD_SESSION);
	json_bool(o, "counted", !(m->flags & METHOD_UNCOUNTED));
	json_open(o, "params", '[');
	for (const struct field *f = m->fields; f->name; f++)
		write_field(o, f);
	json_close(o, ']');
	json_close(o, '}');
}

static void run_methods(struct call *c)
{
	const struct method *m;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "methods", '[');
	for (size_t i = 0; (m = methods_next(&i));)
		write_method(o, m);
	json_close(o, ']');
	json_close(o, '}');
	call_reply(c);
}

/* ---- token.verify: the whole check of an access token, for operators ---- */

struct verify_params {
	struct str token;
	struct param_bool explain;
};

static const struct field verify_fields[] = {
	FIELD(struct verify_params, token, STRING, true, 1, 16384),
	FIELD(struct verify_params, explain, BOOL, false, 0, 0),
	{0},
};

struct verify {
	struct authn check;
	struct call *call;
};

static void write_globs(
	struct json_out *o, const char *key, bool limited, const struct str *globs, size_t count)
{
	if (!limited)
		return;
	json_open(o, key, '[');
	for (size_t i = 0; i < count; i++)
		json_str(o, NULL, globs[i]);
	json_close(o, ']');
}

static void write_principal(struct json_out *o, const char *key, const struct principal *p)
{
	char scopes[SCOPES_TEXT_MAX];
	json_open(o, key, '{');
	json_str(o, "user", p->user);
	json_str(o, "name", p->name);
	json_str(o, "issuer", p->issuer);
	json_str(o, "subject", p->subject);
	json_str(o, "client", p->client);
	json_str(o, "jti", p->jti);
	json_str(o, "scope", scopes_text(p->scopes, scopes));
	write_globs(o, "rooms", p->rooms_limited, p->rooms, p->room_count);
	write_globs(o, "datasets", p->datasets_limited, p->datasets, p->dataset_count);
	if (p->room_role_count)
		json_open(o, "roles", '[');
	for (size_t i = 0; i < p->room_role_count; i++) {
		json_open(o, NULL, '{');
		json_str(o, "rooms", p->room_roles[i].names);
		json_text(o, "role", role_word(p->room_roles[i].role));
		json_close(o, '}');
	}
	if (p->room_role_count)
		json_close(o, ']');
	json_int(o, "expires_at", p->expires_at);
	json_close(o, '}');
}

/* Whether it is valid, and each step on the way; then who it makes of its bearer. */
static void write_explained(struct json_out *o, const struct verify *v, enum err err,
	const struct principal *who, const char *why)
{
	const struct verify_params *p = v->call->params;
	json_open(o, NULL, '{');
	json_bool(o, "valid", !err);
	authn_explain(&v->check, p->token, err, who, why, "steps", o);
	if (!err)
		write_principal(o, "principal", who);
	json_close(o, '}');
}

static void on_verified(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct verify *v = (struct verify *)a;
	struct call *c = v->call;
	c->state = NULL;
	const struct verify_params *p = c->params;
	if (p->explain.yes && err != ERR_RATE_LIMITED) {
		write_explained(call_result(c), v, err, who, why);
		call_reply(c);
		principal_unref(&who);
	} else if (err) {
		call_refuse(c, err, .message = why);
	} else {
		write_principal(call_result(c), NULL, who);
		call_reply(c);
		principal_unref(&who);
	}
	free(v);
}

static void run_verify(struct call *c)
{
	const struct verify_params *p = c->params;
	struct verify *v = mem_new(struct verify);
	v->call = c;
	v->check.done = on_verified;
	c->state = v;
	authn_check(&v->check, p->token, STR(""));
}

static const struct field no_fields[] = {{0}};

const struct method service_methods[] = {
	{"rpc.discover", SCOPE_NONE, HOME_CALLER, 0, no_fields, 0, run_discover},
	{"rpc.methods", SCOPE_ADMIN, HOME_CALLER, METHOD_READS, no_fields, 0, run_methods},
	{"token.verify", SCOPE_ADMIN, HOME_CALLER, METHOD_READS, verify_fields,
		sizeof(struct verify_params), run_verify},
	{0},
};
