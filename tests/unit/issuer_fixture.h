/* issuer_fixture.h: the embedded issuer with a store of its own, and a browser in front of it: a jar
 * of cookies, requests that go straight to the handlers, answers taken apart. No sockets; the test is
 * the worker (lone_worker.h). For tests/unit/test_issuer*.c. */
#pragma once

#include "auth/server/server.h"
#include "core/call.h"
#include "core/form.h"
#include "core/json_scan.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/fault.h"

#include "lone_worker.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define ISSUER_URL "http://localhost:8080"

/* ---- what core/worker.c and service/ would be ---- */

struct worker *worker_at(int index)
{
	assert_int_equal(index, 0);
	return &lone;
}

struct worker *worker_home(struct str name)
{
	(void)name;
	return &lone;
}

int workers_count(void)
{
	return 1;
}

enum err worker_post_call(struct worker *w, struct post *p)
{
	inbox_post(&w->inbox, p);
	return ERR_OK;
}

void worker_gone(struct worker *w, struct addr endpoint, bool clean)
{
	(void)w;
	(void)endpoint;
	(void)clean;
}

void worker_connected(struct worker *w, struct addr endpoint, bool yes)
{
	(void)w;
	(void)endpoint;
	(void)yes;
}

void worker_granted(struct worker *w, struct addr endpoint, const struct principal *who)
{
	(void)w, (void)endpoint, (void)who;
}

struct http_exchange_private {
	struct http_exchange x;
	char *body, *query, *cookie;
};

/* The answer to the request before. */
static struct {
	size_t count;     /* of answers since ever */
	size_t with[600]; /* of those with each status */
	int status;
	char headers[8192], type[64], body[65536];
} reply;
static char headers_so_far[8192];

/* What the browser keeps. */
static struct {
	char login[64], form[64];
} jar;

static void keep_cookie(const char *header, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);
	if (strncmp(header, name, n) == 0 && header[n] == '=')
		snprintf(out, size, "%.*s", (int)strcspn(header + n + 1, ";"), header + n + 1);
}

void http_header(struct http_exchange *x, const char *name, struct str value)
{
	(void)x;
	assert_false(str_has_control(value));
	size_t n = strlen(headers_so_far);
	snprintf(
		headers_so_far + n, sizeof(headers_so_far) - n, "%s: %.*s\n", name, STR_ARG(value));
	if (strcmp(name, "Set-Cookie") != 0)
		return;
	keep_cookie(value.p, "signalbox", jar.login, sizeof(jar.login));
	keep_cookie(value.p, "signalbox-form", jar.form, sizeof(jar.form));
}

void http_reply(struct http_exchange *x, int status, const char *type, struct str body)
{
	reply.count++;
	reply.status = status;
	reply.with[status]++;
	memcpy(reply.headers, headers_so_far, sizeof(reply.headers));
	headers_so_far[0] = 0;
	snprintf(reply.type, sizeof(reply.type), "%s", type ? type : "");
	assert_true(body.n < sizeof(reply.body));
	memcpy(reply.body, body.p, body.n);
	reply.body[body.n] = 0;
	free(x->own->body);
	free(x->own->query);
	free(x->own->cookie);
	free(x->own);
}

void http_redirect(struct http_exchange *x, struct str location)
{
	http_header(x, "Location", location);
	http_reply(x, 303, NULL, STR(""));
}

void http_reply_json(struct http_exchange *x, int status, struct buf *body)
{
	assert_false(body->err);
	http_reply(x, status, "application/json", buf_str(body));
	buf_free(body);
}

/* ---- the browser ---- */

struct sent {
	enum http_verb verb;
	const char *path, *query, *body, *authorization, *cookie, *peer, *content_type;
};

static const struct http_route *route_of(const char *path)
{
	for (const struct http_route *r = issuer_routes; r->path; r++)
		if (strcmp(r->path, path) == 0)
			return r;
	fail_msg("no route %s", path);
	return NULL;
}

static struct str text_or(const char *text, const char *usual)
{
	return str_of(text ? text : usual);
}

/* Hands a request to its handler. */
static inline void begin_it(const struct sent *s)
{
	struct http_exchange_private *own = mem_new(struct http_exchange_private);
	char cookie[256];
	const struct http_route *route = route_of(s->path);
	snprintf(cookie, sizeof(cookie), "signalbox=%s; signalbox-form=%s", jar.login, jar.form);
	own->cookie = mem_copy(text_or(s->cookie, cookie));
	own->query = mem_copy(text_or(s->query, ""));
	own->body = mem_copy(text_or(s->body, ""));
	own->x.own = own;
	own->x.in = (struct http_request){.verb = s->verb,
		.path = str_of(route->path),
		.query = str_of(own->query),
		.body = str_of(own->body),
		.cookie = str_of(own->cookie),
		.authorization = text_or(s->authorization, ""),
		.content_type = text_or(s->content_type, "application/x-www-form-urlencoded"),
		.peer = text_or(s->peer, "127.0.0.1")};
	assert_true(route->verbs & s->verb);
	route->serve(&own->x);
}

/* Sends a request and runs the worker until it is answered. */
#define send_request(verb_, path_, ...) \
	send_it(&(struct sent){.verb = verb_, .path = path_, __VA_ARGS__})
static inline int send_it(const struct sent *s)
{
	size_t want = reply.count + 1;
	begin_it(s);
	lone_run_until(&reply.count, want);
	assert_int_equal(reply.count, want); /* once */
	return reply.status;
}

static inline int get(const char *path, const char *query)
{
	return send_request(HTTP_GET, path, .query = query);
}

/* A header of the answer; "" when it has none. */
static inline const char *header(const char *name)
{
	static char value[4096];
	size_t n = strlen(name);
	for (const char *p = reply.headers; *p; p = strchr(p, '\n') + 1)
		if (strncmp(p, name, n) == 0 && p[n] == ':') {
			snprintf(value, sizeof(value), "%.*s", (int)strcspn(p + n + 2, "\n"),
				p + n + 2);
			return value;
		}
	return "";
}

/* A parameter of the redirect that was answered; "" when it has none. */
static inline const char *redirected(const char *name)
{
	static char values[8][1024];
	static int next;
	char *out = values[next++ % 8];
	struct str value = STR("");
	char copy[4096];
	snprintf(copy, sizeof(copy), "%s", header("Location"));
	const char *query = strchr(copy, '?');
	if (query)
		form_get(str_of(query + 1), name, out, &value);
	out[value.n] = 0;
	return out;
}

/* A string, or else the text, of a member of the JSON that was answered. */
static inline const char *member(const char *name)
{
	static char values[8][8192];
	static int next;
	char *out = values[next++ % 8];
	struct str value = STR("");
	size_t n = 0;
	assert_int_equal(json_check(str_of(reply.body), NULL), ERR_OK);
	if (json_get(str_of(reply.body), name, &value)) {
		n = value.n;
		memcpy(out, value.p, n);
		if (json_kind(value) == JSON_STRING)
			assert_int_equal(json_decode(value, out, &n), ERR_OK);
	}
	out[n] = 0;
	return out;
}

static inline void forget_cookies(void)
{
	memset(&jar, 0, sizeof(jar));
}

/* ---- calls ---- */

static struct {
	struct endpoint endpoint;
	size_t count;
	enum err outcome;
} caller;

/* The answer's result, or error, is then in reply.body. */
static void call_answered(struct endpoint *e, struct call *c)
{
	struct str value = STR("{}");
	(void)e;
	caller.count++;
	caller.outcome = c->outcome;
	struct str text = frame_str(c->answer);
	json_get(text, c->outcome ? "error" : "result", &value);
	snprintf(reply.body, sizeof(reply.body), "%.*s", STR_ARG(value));
	call_free(&c);
}

static inline enum err run_method(const char *name, const char *params)
{
	static const struct endpoint_ops ops = {.answer = call_answered};
	struct principal who = {.user = STR("root"), .scopes = SCOPE_ADMIN};
	struct principal *principal = principal_new(&who);
	struct params_problem problem;
	struct call *c = NULL;
	const struct method *method = issuer_methods;
	size_t want = caller.count + 1;
	while (method->name && strcmp(method->name, name) != 0)
		method++;
	assert_non_null(method->name);
	if (!caller.endpoint.ops)
		addr_register(&caller.endpoint, &ops);
	enum err err = call_new(method, principal, STR("1"), str_of(params), &c, &problem);
	principal_unref(&principal);
	if (err)
		return err;
	call_send(c, &caller.endpoint);
	lone_run_until(&caller.count, want);
	return caller.outcome;
}

static struct {
	size_t count;
	enum err err;
} put_out;

static inline void was_put_out(struct store_op *op)
{
	put_out.count++;
	put_out.err = op->err;
}

/* As user.disable does it (service/withdrawn_methods.c). */
static inline enum err disable(const char *name)
{
	size_t want = put_out.count + 1;
	store_ask(STORE_USER_PUT_OUT, was_put_out, NULL, STORE_TEXT(str_of(name)),
		STORE_INT(time(NULL)), STORE_INT(0), STORE_END);
	lone_run_until(&put_out.count, want);
	return put_out.err;
}

/* ---- setting up ---- */

static char folder[256];
static char place[512], key_file[512];

static inline void start_issuer(bool sign_up_open, const char *plan)
{
	char why[STORE_WHY_MAX] = "";
	const struct store_driver *driver =
		plan ? store_fault(&store_sqlite, plan, why) : &store_sqlite;
	if (!driver || store_open(driver, place, 1000, why))
		fail_msg("%s", why);
	struct issuer_options options = {.url = STR(ISSUER_URL),
		.sign_up = sign_up_open ? ISSUER_SIGN_UP_OPEN : ISSUER_SIGN_UP_CLOSED,
		.demo_client = true,
		.key_file = key_file};
	if (issuer_start(&options, why))
		fail_msg("%s", why);
}

static inline void stop_issuer(void)
{
	issuer_drain();
	lone_run();
	store_close();
	lone_run();
	issuer_stop();
}

static inline int begin_tests(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/test_issuer.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(place, sizeof(place), "%s/signalbox.db", folder);
	snprintf(key_file, sizeof(key_file), "%s/seal.key", folder);
	log_configure(LOG_ERROR, false, 2);
	lone_start();
	addr_thread_start();
	start_issuer(true, NULL);
	return 0;
}

static inline int end_tests(void **state)
{
	(void)state;
	static const char *const ends[] = {"", "-wal", "-shm"};
	char path[600];
	stop_issuer();
	if (caller.endpoint.ops)
		addr_release(&caller.endpoint, true);
	addr_thread_stop();
	lone_stop();
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		snprintf(path, sizeof(path), "%s%s", place, ends[i]);
		unlink(path);
	}
	unlink(key_file);
	return rmdir(folder);
}
