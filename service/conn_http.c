#include "service/lws.h"

#include "core/http.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"
#include "service/handshake.h"
#include "service/hangup.h"
#include "service/peer.h"
#include "service/quota.h"
#include "service/routes.h"
#include "service/tls.h"

#include <assert.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

enum {
	ANSWER_TIMEOUT_SECONDS = 30,
	HANDLER_TIMEOUT_SECONDS = 150, /* longer than any rpc.call may take */
	BODY_TIMEOUT_SECONDS = 20,
	ANSWER_HEADERS_MAX = 16 * 1024,
	ANSWER_MAX = 4 << 20,
};

struct http_exchange_private {
	struct http_exchange x;
	struct transaction *on; /* NULL: the client has left */
	const struct http_route *route;
	char *text; /* what the request's spans point into */
	struct buf body, headers, answer;
	bool served; /* the handler has it and will answer */
	bool cacheable;
};

struct http_stream {
	const struct http_stream_events *events;
	void *owner; /* NULL: it has ended, or never began */
};

/* Lives in the memory that libwebsockets keeps per connection. */
struct transaction {
	struct http_stream stream; /* first */
	struct lws *wsi;
	struct http_exchange_private *own;
	size_t body_length;
	uint64_t body_until_ms; /* libwebsockets itself waits anew behind each piece */
	bool answered;          /* the answer waits to be written */
	bool looks_away;        /* while it waits for its answer */
	bool written;           /* and now it has been: nothing else is looked at */
	bool streams;           /* it is, or was, a stream */
};

static _Thread_local size_t in_flight; /* exchanges that a handler has and will answer */
static _Thread_local size_t streams;   /* open ones */
static _Thread_local bool draining;

void conn_http_drain(void)
{
	draining = true;
}

bool conn_http_idle(void)
{
	return !in_flight;
}

size_t conn_http_streams(void)
{
	return streams;
}

/* ---- answering ---- */

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {{200, "OK"}, {202, "Accepted"}, {204, "No Content"}, {302, "Found"},
		{303, "See Other"}, {304, "Not Modified"}, {400, "Bad Request"},
		{401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {406, "Not Acceptable"}, {409, "Conflict"},
		{410, "Gone"}, {411, "Length Required"}, {413, "Content Too Large"},
		{415, "Unsupported Media Type"}, {426, "Upgrade Required"},
		{429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"}, {501, "Not Implemented"},
		{503, "Service Unavailable"}, {504, "Gateway Timeout"}};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Status";
}

static void exchange_free(struct http_exchange_private *own)
{
	if (own->served)
		in_flight--;
	free(own->text);
	buf_free(&own->body);
	buf_free(&own->headers);
	buf_free(&own->answer);
	free(own);
}

static struct http_exchange_private *exchange_new(struct transaction *t)
{
	struct http_exchange_private *own = mem_new(struct http_exchange_private);
	own->x.own = own;
	own->on = t;
	own->headers = BUF_INIT(ANSWER_HEADERS_MAX);
	t->own = own;
	return own;
}

void http_header(struct http_exchange *x, const char *name, struct str value)
{
	assert(!str_has_control(value));
	buf_addf(&x->own->headers, "%s: ", name);
	buf_adds(&x->own->headers, value);
	buf_add(&x->own->headers, "\r\n", 2);
	if (strcasecmp(name, "Cache-Control") == 0)
		x->own->cacheable = true;
}

enum { NO_LENGTH = -1 }; /* until the end of the connection */

static void write_head(struct buf *b, const struct http_exchange_private *own, int status,
	const char *type, ssize_t length)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	buf_addf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, status_text(status), date);
	if (type && *type)
		buf_addf(b, "Content-Type: %s\r\n", type);
	if (status != 204 && status != 304 && length != NO_LENGTH)
		buf_addf(b, "Content-Length: %zd\r\n", length);
	buf_addf(b, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
	if (!own->cacheable)
		buf_addf(b, "Cache-Control: no-store\r\n");
	buf_addf(b, "Connection: close\r\n");
	buf_adds(b, buf_str(&own->headers));
	buf_add(b, "\r\n", 2);
}

/* While a request without a body waits for its answer, libwebsockets does not read what the client says,
 * not even its end, and would be woken for it over and over: it is not to look. But it writes nothing
 * either until it looks again. */
static void look_away(struct transaction *t)
{
	t->looks_away = !t->body_length && !t->answered && !t->streams;
	if (t->looks_away)
		lws_rx_flow_control(t->wsi, 0);
}

static void look_again(struct transaction *t)
{
	if (t->looks_away)
		lws_rx_flow_control(t->wsi, 1);
	t->looks_away = false;
}

void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body)
{
	struct http_exchange_private *own = x->own;
	metric_add(METRIC_HTTP_REQUESTS, 1);
	if (!own->on) {
		exchange_free(own);
		return;
	}
	own->answer = BUF_INIT(ANSWER_MAX);
	static const char headroom[LWS_PRE];
	buf_add(&own->answer, headroom, LWS_PRE);
	if (body.n > ANSWER_MAX - ANSWER_HEADERS_MAX) {
		log_error("an answer is too large", LOG_STR("path", x->in.path));
		status = 500;
		body = STR("The answer is too large: ask for less of it.\n");
		content_type = "text/plain; charset=utf-8";
	}
	write_head(&own->answer, own, status, content_type, (ssize_t)body.n);
	if (!own->x.in.head && status != 204 && status != 304)
		buf_adds(&own->answer, body);
	own->on->answered = true;
	look_again(own->on);
	lws_callback_on_writable(own->on->wsi);
}

void http_redirect(struct http_exchange *x, struct str location)
{
	http_header(x, "Location", location);
	http_reply(x, 303, NULL, STR(""));
}

void http_reply_json(struct http_exchange *x, int status, struct buf *body)
{
	if (body->err)
		http_reply(x, 500, "text/plain; charset=utf-8", STR("The answer is too large.\n"));
	else
		http_reply(x, status, "application/json", buf_str(body));
	buf_free(body);
}

/* A sentence, as a line of text. */
static void reply_text(struct http_exchange *x, int status, const char *sentence)
{
	char line[256];
	snprintf(line, sizeof(line), "%s\n", sentence);
	http_reply(x, status, "text/plain; charset=utf-8", str_of(line));
}

/* In the writeable callback: everything at once, and the end of the connection when the kernel has
 * taken it all. Every answer ends its connection: with a second request behind the first in one
 * segment, libwebsockets would look for that one's body in the wrong place, for ever. */
static int write_answer(struct transaction *t)
{
	struct http_exchange_private *own = t->own;
	if (t->written)
		return lws_partial_buffered(t->wsi) ? 0 : -1;
	if (!own || !t->answered)
		return 0;
	t->own = NULL;
	t->answered = false;
	t->written = true;
	size_t n = own->answer.n - LWS_PRE;
	int wrote = lws_write(
		t->wsi, (unsigned char *)own->answer.p + LWS_PRE, n, LWS_WRITE_HTTP_FINAL);
	exchange_free(own);
	if (wrote < 0 || !lws_partial_buffered(t->wsi))
		return -1;
	lws_set_timeout(t->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_SECONDS);
	lws_callback_on_writable(t->wsi);
	return 0;
}

/* ---- streams ---- */

/* There is nothing that a client may say behind its request: whatever comes ends the stream. */
static void on_heard(void *what)
{
	struct transaction *t = what;
	struct http_stream s = t->stream;
	http_stream_cut(&t->stream);
	if (s.owner)
		s.events->gone(s.owner);
}

void conn_http_start(uv_loop_t *loop)
{
	hangup_start(loop, on_heard);
}

void conn_http_stop(void)
{
	hangup_stop();
}

struct http_stream *http_stream_begin(
	struct http_exchange *x, const struct http_stream_options *options)
{
	struct http_exchange_private *own = x->own;
	struct transaction *t = own->on;
	metric_add(METRIC_HTTP_REQUESTS, 1);
	if (!t) {
		exchange_free(own);
		return NULL;
	}
	struct buf head = BUF_INIT(ANSWER_HEADERS_MAX + LWS_PRE);
	write_head(&head, own, 200, options->content_type, NO_LENGTH);
	exchange_free(own);
	t->own = NULL;
	t->streams = true;
	look_again(t);
	t->stream = (struct http_stream){options->events, options->owner};
	streams++;
	metric_add(METRIC_STREAMS, 1);
	lws_set_timeout(t->wsi, NO_PENDING_TIMEOUT, 0);
	lws_http_headers_detach(t->wsi); /* 16 KiB */
	setsockopt(lws_get_socket_fd(t->wsi), IPPROTO_TCP, TCP_USER_TIMEOUT, &options->dead_ms,
		sizeof(options->dead_ms));
	hangup_watch(lws_get_socket_fd(t->wsi), t);
	http_stream_write(&t->stream, buf_str(&head));
	buf_free(&head);
	return &t->stream;
}

bool http_stream_full(struct http_stream *s)
{
	return lws_partial_buffered(((struct transaction *)s)->wsi) != 0;
}

void http_stream_write(struct http_stream *s, struct str bytes)
{
	struct transaction *t = (struct transaction *)s;
	int n = lws_write(t->wsi, (unsigned char *)(uintptr_t)bytes.p, bytes.n, LWS_WRITE_HTTP);
	if (n < 0) /* told as the client's end */
		shutdown(lws_get_socket_fd(t->wsi), SHUT_RDWR);
	if (http_stream_full(s))
		lws_callback_on_writable(t->wsi);
}

static void forget_owner(struct transaction *t)
{
	if (!t->stream.owner)
		return;
	t->stream.owner = NULL;
	streams--;
	metric_add(METRIC_STREAMS, -1);
}

void http_stream_end(struct http_stream *s)
{
	struct transaction *t = (struct transaction *)s;
	forget_owner(t);
	lws_set_timeout(t->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
	conn_heed_timeouts();
}

void http_stream_cut(struct http_stream *s)
{
	shutdown(lws_get_socket_fd(((struct transaction *)s)->wsi), SHUT_RDWR);
	http_stream_end(s);
}

static int on_stream_writable(struct transaction *t)
{
	if (!http_stream_full(&t->stream))
		t->stream.events->writable(t->stream.owner);
	return 0;
}

static void on_stream_gone(struct transaction *t)
{
	struct http_stream s = t->stream;
	hangup_forget(lws_get_socket_fd(t->wsi));
	forget_owner(t);
	t->streams = false;
	if (s.owner)
		s.events->gone(s.owner);
}

/* ---- serving ---- */

static void reply_preflight(struct http_exchange *x)
{
	http_header(x, "Access-Control-Allow-Methods", STR("GET, POST"));
	http_header(x, "Access-Control-Allow-Headers",
		STR("Authorization, Content-Type, Last-Event-ID, Signalbox-Session, "
		    "Signalbox-Sent"));
	http_header(x, "Access-Control-Max-Age", STR("600"));
	http_reply(x, 204, NULL, STR(""));
}

/* Says which pages may read the answer. False: the Origin is none of those that may ask. */
static bool let_page_read(struct http_exchange *x, const struct http_route *route)
{
	if (!x->in.origin.n || route->cors == HTTP_CORS_NONE)
		return true;
	if (route->cors == HTTP_CORS_ANY) {
		http_header(x, "Access-Control-Allow-Origin", STR("*"));
		return true;
	}
	http_header(x, "Vary", STR("Origin"));
	if (!origin_allowed(x->in.origin, x->in.host))
		return false;
	http_header(x, "Access-Control-Allow-Origin", x->in.origin);
	http_header(x, "Access-Control-Expose-Headers", STR("WWW-Authenticate, Retry-After"));
	return true;
}

static void serve(struct http_exchange_private *own)
{
	struct http_exchange *x = &own->x;
	const struct http_route *route = own->route;
	own->served = true;
	in_flight++;
	if (!let_page_read(x, route))
		reply_text(x, 403, origin_refused);
	else if (x->in.verb == HTTP_OPTIONS && route->cors)
		reply_preflight(x);
	else if (x->in.verb & route->verbs)
		route->serve(x);
	else {
		http_header(x, "Allow",
			route->verbs & HTTP_POST
				? (route->verbs & HTTP_GET ? STR("GET, HEAD, POST") : STR("POST"))
				: STR("GET, HEAD"));
		reply_text(x, 405, "This address does not take that method.");
	}
}

/* retry_after 0: coming back would not help. */
static void say_why(struct http_exchange_private *own, int status, const struct refusal *why)
{
	char seconds[32];
	snprintf(seconds, sizeof(seconds), "%lld", (long long)why->retry_after);
	if (why->retry_after)
		http_header(&own->x, "Retry-After", str_of(seconds));
	if (own->route)
		let_page_read(&own->x, own->route);
	reply_text(&own->x, status, why->message);
}

static int refuse(struct http_exchange_private *own, int status, const char *message)
{
	struct refusal why = {.message = message, .retry_after = status == 503};
	say_why(own, status, &why);
	return 0;
}

static int refuse_crowd(struct http_exchange_private *own)
{
	struct refusal why = quota_crowded();
	metric_add(METRIC_CONNECTIONS_LIMITED, 1);
	say_why(own, 429, &why);
	return 0;
}

static int on_request(struct transaction *t, struct lws *wsi)
{
	t->wsi = wsi;
	struct http_exchange_private *own = exchange_new(t);
	http_read_request(wsi, &own->x.in, &own->text);
	lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_SECONDS);
	int status = http_read_body_length(wsi, &t->body_length);
	bool post = own->x.in.verb == HTTP_POST;
	if (status)
		return refuse(own, status,
			status == 501 ? "Transfer-Encoding is not taken: send Content-Length."
				: status == 411 ? "Send Content-Length."
						: "Content-Length is wrong.");
	if (str_has_control(own->x.in.host) || str_has_control(own->x.in.origin))
		return refuse(own, 400, "Host or Origin holds a control character.");
	if (!own->x.in.verb)
		return refuse(own, 405, "This method is not taken.");
	const struct peer *peer = lws_get_opaque_user_data(wsi);
	own->route = route_find(own->x.in.path, peer->internal);
	if (peer->crowded)
		return refuse_crowd(own);
	if (draining && !(own->route && own->route->internal)) /* /health goes on */
		return refuse(own, 503, "The service is stopping; try again.");
	if (!own->route)
		return refuse(own, 404, "There is nothing at this address.");
	if ((own->x.in.verb & own->route->verbs) && t->body_length > own->route->body_max)
		return refuse(own, 413, "The body is too large.");
	if ((own->x.in.verb & own->route->verbs) && post &&
		t->body_length) { /* when it is complete */
		own->body = BUF_INIT(t->body_length);
		t->body_until_ms = worker_now_ms() + BODY_TIMEOUT_SECONDS * 1000u;
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, BODY_TIMEOUT_SECONDS);
		return 0;
	}
	serve(own);
	look_away(t);
	return 0;
}

static int on_body(struct transaction *t, const void *in, size_t n)
{
	if (!t->own || t->answered || t->own->served)
		return 0;
	if (worker_now_ms() > t->body_until_ms)
		return -1;
	struct buf *body = &t->own->body;
	size_t missing = t->body_length - body->n;
	buf_add(body, in, n < missing ? n : missing);
	return body->err ? -1 : 0;
}

static int on_body_complete(struct transaction *t)
{
	struct http_exchange_private *own = t->own;
	if (!own || t->answered || own->served)
		return 0;
	if (own->body.n != t->body_length)
		return refuse(own, 400, "The body is shorter than it said.");
	if (draining)
		return refuse(own, 503, "The service is stopping; try again.");
	own->x.in.body = buf_str(&own->body);
	lws_set_timeout(t->wsi, PENDING_TIMEOUT_HTTP_CONTENT, HANDLER_TIMEOUT_SECONDS);
	serve(own);
	return 0;
}

/* A handler that answers later keeps the exchange; http_reply() then frees it. */
static void on_gone(struct transaction *t)
{
	struct http_exchange_private *own = t->own;
	if (t->streams)
		on_stream_gone(t);
	t->own = NULL;
	if (own && own->served && !t->answered)
		own->on = NULL;
	else if (own)
		exchange_free(own);
}

/* 0 lets the handshake go on; otherwise the refusal has been written and the connection ends. */
static int on_upgrade(struct lws *wsi, const char *upgrade)
{
	struct transaction t = {.wsi = wsi};
	struct http_exchange_private *own = exchange_new(&t);
	http_read_request(wsi, &own->x.in, &own->text);
	struct handshake h = {.request = &own->x.in, .upgrade = upgrade};
	http_read_handshake(wsi, &h);
	struct handshake_refusal refusal;
	if (handshake_check(&h, lws_get_opaque_user_data(wsi), &refusal)) {
		exchange_free(own);
		return 0;
	}
	metric_add(METRIC_UPGRADES_REFUSED, 1);
	if (refusal.challenge)
		http_header(&own->x, "WWW-Authenticate", str_of(refusal.challenge));
	say_why(own, refusal.status, &refusal.why);
	write_answer(&t);
	return -1;
}

/* ---- libwebsockets ---- */

static int callback(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
	struct transaction *t = user;
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return on_upgrade(wsi, in);
	case LWS_CALLBACK_HTTP:
		return on_request(t, wsi);
	case LWS_CALLBACK_HTTP_BODY:
		return on_body(t, in, n);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return on_body_complete(t);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return t && t->stream.owner ? on_stream_writable(t) : t ? write_answer(t) : 0;
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		if (t)
			on_gone(t);
		return 0;
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
		tls_attach(user);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY: {
		struct peer *peer = lws_get_opaque_user_data(wsi);
		lws_set_opaque_user_data(wsi, NULL);
		peer_free(&peer);
		return 0;
	}
	default:
		return 0;
	}
}

const struct lws_protocols conn_http_protocol = {
	.name = "http",
	.callback = callback,
	.per_session_data_size = sizeof(struct transaction),
	.rx_buffer_size = 4096,
	.tx_packet_size = 1 << 20,
};
