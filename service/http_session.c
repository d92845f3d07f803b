#include "service/http_session.h"

#include "core/form.h"
#include "core/json_scan.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/event_stream.h"
#include "service/http_bearer.h"
#include "service/opening.h"
#include "service/quota.h"
#include "service/session.h"
#include "service/ticket.h"

#include <stdio.h>

enum { BODY_MAX = 128 * 1024, DIGITS_MAX = 18 };

static size_t message_max;

void http_session_configure(size_t max)
{
	message_max = max;
}

static bool read_number(struct str digits, uint64_t *ret)
{
	uint64_t n = 0;
	for (size_t i = 0; i < digits.n; i++) {
		if (digits.p[i] < '0' || digits.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(digits.p[i] - '0');
	}
	if (!digits.n || digits.n > DIGITS_MAX)
		return false;
	*ret = n;
	return true;
}

static bool refuse_field(struct http_exchange *x, const char *field, const char *message)
{
	http_refuse(x, ERR_PARAMS, .field = str_of(field), .message = message);
	return false;
}

/* ---- GET /v1/events ---- */

struct entry {
	struct http_bearer bearer;
	struct session_request request;
};

static bool is_range(struct str range, const char *type)
{
	return range.n == strlen(type) && strncasecmp(range.p, type, range.n) == 0;
}

/* Whether an Accept header takes a stream of events (RFC 9110, 12.5.1; weights are not looked at). */
static bool accepts(struct str header)
{
	while (header.n) {
		const char *comma = memchr(header.p, ',', header.n);
		struct str range = {header.p, comma ? (size_t)(comma - header.p) : header.n};
		header.p += range.n + (comma ? 1 : 0);
		header.n -= range.n + (comma ? 1 : 0);
		const char *weight = memchr(range.p, ';', range.n);
		if (weight)
			range.n = (size_t)(weight - range.p);
		while (range.n && *range.p == ' ')
			range.p++, range.n--;
		while (range.n && range.p[range.n - 1] == ' ')
			range.n--;
		if (is_range(range, "text/event-stream") || is_range(range, "text/*") ||
			is_range(range, "*/*"))
			return true;
	}
	return false;
}

/* "S:N" */
static bool read_event_id(struct str id, struct session_request *r)
{
	const char *colon = memrchr(id.p, ':', id.n);
	struct str session = {id.p, colon ? (size_t)(colon - id.p) : 0};
	uint64_t received = 0;
	if (!session.n || !read_number((struct str){colon + 1, id.n - session.n - 1}, &received))
		return false;
	session_request_resume(r, session, received);
	return true;
}

/* False: answered with a refusal. text has room for the query. */
static bool read_resume(struct http_exchange *x, char *text, struct session_request *r)
{
	static const char both[] = "To resume, send session and received, a whole number.";
	struct str session = {0}, digits = {0};
	struct session_request asked = {0};
	uint64_t received = 0;
	enum err no_session = form_get(x->in.query, "session", text, &session);
	enum err no_number = form_get(x->in.query, "received", text + session.n, &digits);
	if (no_session != ERR_NOT_FOUND || no_number != ERR_NOT_FOUND) {
		if (no_session || !session.n)
			return refuse_field(x, "session", both);
		if (no_number || !read_number(digits, &received))
			return refuse_field(x, "received", both);
		session_request_resume(&asked, session, received);
	}
	if (x->in.last_event_id.n && !read_event_id(x->in.last_event_id, r))
		return refuse_field(x, "Last-Event-ID", "This is no id of an event of ours.");
	if (!asked.resumes)
		return true;
	if (r->resumes && (strcmp(r->session, asked.session) != 0 || r->received != asked.received))
		return refuse_field(x, "Last-Event-ID",
			"Last-Event-ID and the address ask for different places: send one of "
			"them.");
	session_request_resume(r, session, received);
	return true;
}

static bool read_query(struct http_exchange *x, struct session_request *r)
{
	static const char *const names[] = {"batch", "session", "received", "ticket", NULL};
	struct str query = x->in.query, other, value = {0};
	bool good = true;
	if (!form_has_only(query, names, &other)) {
		http_refuse(x, ERR_PARAMS, .field = other,
			.message = "This field of the address is not known.");
		return false;
	}
	char *text = mem_alloc(query.n + 1);
	enum err err = form_get(query, "batch", text, &value);
	r->batch = !err && str_is(value, "1");
	if (good && err != ERR_NOT_FOUND && (err || (!r->batch && !str_is(value, "0"))))
		good = refuse_field(x, "batch", "batch is 0 or 1.");
	good = good && read_resume(x, text, r);
	free(text);
	return good;
}

static void on_caller(struct http_bearer *b, struct principal *who)
{
	struct entry *e = (struct entry *)b;
	if (who)
		opening_enter(event_stream_new(b->x), who, &e->request);
	principal_unref(&who);
	session_request_free(&e->request);
	free(e);
}

static bool has_ticket(const struct http_exchange *x)
{
	struct str value;
	char *text = mem_alloc(x->in.query.n + 1);
	bool has = form_get(x->in.query, "ticket", text, &value) != ERR_NOT_FOUND;
	free(text);
	return has;
}

/* False: answered with a refusal. It is the last thing that is looked at: it is spent by that. */
static bool enter_by_ticket(struct http_exchange *x, const struct session_request *request)
{
	struct http_ticket t = http_ticket(&x->in);
	if (t.err == ERR_REQUEST)
		return refuse_field(
			x, "ticket", "Send one ticket, or Authorization, not two credentials.");
	if (t.err)
		http_refuse_why(x, t.err, &t.why);
	else
		opening_enter(event_stream_new(x), t.who, request);
	principal_unref(&t.who);
	return !t.err;
}

static void serve_events(struct http_exchange *x)
{
	struct session_request request = {0};
	struct refusal why = {0};
	if (x->in.head) {
		http_header(x, "Allow", STR("GET"));
		http_reply(x, 405, NULL, STR(""));
	} else if (x->in.accept.n && !accepts(x->in.accept)) {
		http_reply(x, 406, "text/plain; charset=utf-8",
			STR("Here are events: send Accept: text/event-stream.\n"));
	} else if (quota_handshake(x->in.peer, &why) || quota_opening(x->in.peer, &why)) {
		http_refuse_why(x, ERR_RATE_LIMITED, &why);
	} else if (!read_query(x, &request)) {
		session_request_free(&request);
	} else if (has_ticket(x)) {
		enter_by_ticket(x, &request);
		session_request_free(&request);
	} else {
		struct entry *e = mem_new(struct entry);
		e->bearer = (struct http_bearer){.x = x, .done = on_caller};
		e->request = request;
		http_bearer_check(&e->bearer);
	}
}

/* ---- POST /v1/messages ---- */

/* Travels to the session's worker and back. The request's text stays where it is: the exchange lives
 * until it is answered. */
struct message {
	struct post post;
	struct http_bearer bearer;
	struct worker *from;
	struct principal *who;
	char session[SESSION_ID_MAX];
	uint64_t sent, received;
	enum err outcome;
};

static void reply_received(struct http_exchange *x, uint64_t received)
{
	struct buf b = BUF_INIT(64);
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_int(&o, "received", (int64_t)received);
	json_close(&o, '}');
	http_reply_json(x, 409, &b);
}

static void answer(struct message *m)
{
	struct http_exchange *x = m->bearer.x;
	metric_add(METRIC_POSTS, m->outcome ? 0 : 1);
	if (!m->outcome) {
		http_reply(x, 202, NULL, STR(""));
	} else if (m->outcome == ERR_CONFLICT) {
		metric_add(METRIC_POSTS_OUT_OF_STEP, 1);
		reply_received(x, m->received);
	} else if (m->outcome == ERR_OVERLOADED) {
		http_refuse(x, m->outcome, .retry_after = 1,
			.message = "The service is stopping; try again.");
	} else {
		http_refuse(x, m->outcome, .message = "There is no such session.",
			.field = STR("Signalbox-Session"));
	}
	principal_unref(&m->who);
	free(m);
}

static void run_answer(struct post *p)
{
	answer((struct message *)p);
}

static void take(struct message *m)
{
	struct str body = m->bearer.x->in.body;
	metric_add(METRIC_MESSAGES_IN, 1);
	metric_add(METRIC_BYTES_IN, (int64_t)body.n);
	m->outcome = session_take(m->session, m->who, m->sent, body, &m->received);
}

static void run_take(struct post *p)
{
	struct message *m = (struct message *)p;
	take(m);
	m->post.run = run_answer;
	worker_post(m->from, &m->post);
}

static void on_sender(struct http_bearer *b, struct principal *who)
{
	struct message *m =
		(struct message *)(void *)((char *)b - offsetof(struct message, bearer));
	if (!who) {
		free(m);
		return;
	}
	m->who = who;
	struct worker *home = session_home(m->session);
	if (!home) {
		m->outcome = ERR_NOT_FOUND;
		answer(m);
	} else if (home == m->from) {
		take(m);
		answer(m);
	} else {
		m->post.run = run_take;
		worker_post(home, &m->post);
	}
}

static void serve_message(struct http_exchange *x)
{
	struct str session = x->in.signalbox_session, body = x->in.body;
	uint64_t sent = 0;
	size_t at = 0;
	char why[64];
	if (x->in.query.n) {
		http_refuse(x, ERR_REQUEST, .message = "Nothing is taken in the address here.");
	} else if (!session.n || str_has_control(session)) {
		refuse_field(x, "Signalbox-Session", "Signalbox-Session names the session.");
	} else if (!read_number(x->in.signalbox_sent, &sent)) {
		refuse_field(x, "Signalbox-Sent",
			"Signalbox-Sent is how many counted messages were sent before.");
	} else if (body.n > message_max) {
		http_refuse(x, ERR_TOO_LARGE, .limit = (int64_t)message_max);
	} else if (json_check(body, &at)) {
		snprintf(why, sizeof(why), "This is not JSON: see byte %zu.", at);
		http_refuse(x, ERR_PARSE, .message = why);
	} else {
		struct message *m = mem_new(struct message);
		m->bearer = (struct http_bearer){.x = x, .done = on_sender};
		m->from = worker_self();
		m->sent = sent;
		size_t n = session.n < SESSION_ID_MAX ? session.n : SESSION_ID_MAX - 1;
		memcpy(m->session, session.p, n); /* a longer one is nobody's: cut, it still is */
		http_bearer_check(&m->bearer);
	}
}

const struct http_route http_session_routes[] = {
	{.path = "/v1/events", .verbs = HTTP_GET, .serve = serve_events, .cors = HTTP_CORS_LISTED},
	{.path = "/v1/messages",
		.verbs = HTTP_POST,
		.serve = serve_message,
		.body_max = BODY_MAX,
		.cors = HTTP_CORS_LISTED},
	{0},
};
