#include "service/lws.h"

#include "core/form.h"
#include "core/http.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/authn.h"
#include "service/hangup.h"
#include "service/opening.h"
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
	BODY_TIMEOUT_SECONDS = 20,
	HEADERS_MAX = 16 * 1024,
	ANSWER_MAX = 4 << 20,
	PROTOCOL_LIST_MAX = 127, /* libwebsockets copies the list into 128 bytes */
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
	bool answered; /* the answer waits to be written */
	bool written;  /* and now it has been: nothing else is looked at */
	bool streams;  /* it is, or was, a stream */
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

/* ---- reading the request ---- */

static bool has(struct lws *wsi, enum lws_token_indexes token)
{
	return lws_hdr_total_length(wsi, token) > 0;
}

static struct str copy_header(struct lws *wsi, enum lws_token_indexes token, char **at)
{
	int n = lws_hdr_total_length(wsi, token);
	struct str value = {*at, (size_t)n};
	if (n <= 0 || lws_hdr_copy(wsi, *at, n + 1, token) < 0)
		return (struct str){"", 0};
	*at += n + 1;
	return value;
}

static const struct {
	enum lws_token_indexes token;
	size_t offset;
} headers[] = {
	{WSI_TOKEN_HOST, offsetof(struct http_request, host)},
	{WSI_TOKEN_ORIGIN, offsetof(struct http_request, origin)},
	{WSI_TOKEN_HTTP_AUTHORIZATION, offsetof(struct http_request, authorization)},
	{WSI_TOKEN_HTTP_COOKIE, offsetof(struct http_request, cookie)},
	{WSI_TOKEN_HTTP_CONTENT_TYPE, offsetof(struct http_request, content_type)},
	{WSI_TOKEN_HTTP_ACCEPT, offsetof(struct http_request, accept)},
	{WSI_TOKEN_HTTP_ACCEPT_LANGUAGE, offsetof(struct http_request, accept_language)},
	{WSI_TOKEN_HTTP_IF_NONE_MATCH, offsetof(struct http_request, if_none_match)},
	{WSI_TOKEN_HTTP_USER_AGENT, offsetof(struct http_request, user_agent)},
};
/* Those that libwebsockets does not know; it keeps them with their colon. */
static const struct {
	const char *name;
	size_t offset;
} own_headers[] = {
	{"last-event-id:", offsetof(struct http_request, last_event_id)},
	{"signalbox-session:", offsetof(struct http_request, signalbox_session)},
	{"signalbox-sent:", offsetof(struct http_request, signalbox_sent)},
};
enum {
	HEADER_COUNT = sizeof(headers) / sizeof(*headers),
	OWN_HEADER_COUNT = sizeof(own_headers) / sizeof(*own_headers)
};

static int own_header_length(struct lws *wsi, const char *name)
{
	int n = lws_hdr_custom_length(wsi, name, (int)strlen(name));
	return n > 0 ? n : 0;
}

static struct str copy_own_header(struct lws *wsi, const char *name, char **at)
{
	int n = own_header_length(wsi, name);
	struct str value = {*at, (size_t)n};
	if (!n || lws_hdr_custom_copy(wsi, *at, n + 1, name, (int)strlen(name)) < 0)
		return (struct str){"", 0};
	*at += n + 1;
	return value;
}

/* libwebsockets decodes the arguments and gives them one by one: here they become a form again. */
static void read_query(struct lws *wsi, struct buf *query)
{
	char one[HEADERS_MAX];
	for (int i = 0; lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0; i++) {
		int n = lws_hdr_copy_fragment(wsi, one, sizeof(one), WSI_TOKEN_HTTP_URI_ARGS, i);
		if (n <= 0)
			continue;
		char *equals = memchr(one, '=', (size_t)n);
		size_t name = equals ? (size_t)(equals - one) : (size_t)n;
		one[name] = 0;
		struct str value = {equals ? equals + 1 : "", equals ? (size_t)n - name - 1 : 0};
		form_add(query, one, value);
	}
}

static enum lws_token_indexes uri_token(struct lws *wsi, unsigned *ret_verb, bool *ret_head)
{
	static const struct {
		enum lws_token_indexes token;
		unsigned verb;
	} verbs[] = {
		{WSI_TOKEN_GET_URI, HTTP_GET},
		{WSI_TOKEN_HEAD_URI, HTTP_GET},
		{WSI_TOKEN_POST_URI, HTTP_POST},
		{WSI_TOKEN_OPTIONS_URI, HTTP_OPTIONS},
	};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (has(wsi, verbs[i].token)) {
			*ret_verb = verbs[i].verb;
			*ret_head = verbs[i].token == WSI_TOKEN_HEAD_URI;
			return verbs[i].token;
		}
	*ret_verb = 0;
	return WSI_TOKEN_GET_URI;
}

/* Who asks, now that its headers are here. */
static struct str read_peer(struct lws *wsi, char out[IP_TEXT_MAX])
{
	char list[HEADERS_MAX];
	struct peer *peer = lws_get_opaque_user_data(wsi);
	int n = lws_hdr_copy(wsi, list, sizeof(list), WSI_TOKEN_X_FORWARDED_FOR);
	peer_forwarded(peer, (struct str){list, n > 0 ? (size_t)n : 0});
	memcpy(out, peer->text, sizeof(peer->text));
	return str_of(out);
}

/* Copies what the request says into the exchange. */
static void read_request(struct lws *wsi, struct http_exchange_private *own)
{
	unsigned verb = 0;
	bool head = false;
	enum lws_token_indexes uri = uri_token(wsi, &verb, &head);
	struct buf query = BUF_INIT(HEADERS_MAX * 3);
	read_query(wsi, &query);
	size_t size = query.n + IP_TEXT_MAX + 1 + (size_t)lws_hdr_total_length(wsi, uri) + 1;
	for (size_t i = 0; i < HEADER_COUNT; i++)
		size += (size_t)lws_hdr_total_length(wsi, headers[i].token) + 1;
	for (size_t i = 0; i < OWN_HEADER_COUNT; i++)
		size += (size_t)own_header_length(wsi, own_headers[i].name) + 1;
	char *at = own->text = mem_alloc(size);
	struct http_request *in = &own->x.in;
	in->verb = (enum http_verb)verb;
	in->head = head;
	in->path = copy_header(wsi, uri, &at);
	for (size_t i = 0; i < HEADER_COUNT; i++)
		*(struct str *)(void *)((char *)in + headers[i].offset) =
			copy_header(wsi, headers[i].token, &at);
	for (size_t i = 0; i < OWN_HEADER_COUNT; i++)
		*(struct str *)(void *)((char *)in + own_headers[i].offset) =
			copy_own_header(wsi, own_headers[i].name, &at);
	in->query = (struct str){at, query.n};
	if (query.n)
		memcpy(at, query.p, query.n);
	at += query.n;
	buf_free(&query);
	in->peer = read_peer(wsi, at);
	in->tls = lws_is_ssl(wsi) != 0;
}

/* The length of the body, or the status that refuses it. libwebsockets ignores Transfer-Encoding
 * and takes the first of several lengths: both would hide a second request (RFC 9112, 11.2). */
static int body_length(struct lws *wsi, size_t *ret_length)
{
	*ret_length = 0;
	if (has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
		return 501;
	bool post = has(wsi, WSI_TOKEN_POST_URI);
	if (!has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
		return post ? 411 : 0;
	char text[32];
	int n = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH);
	if (n <= 0 || n > 12 || lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, 1) > 0)
		return 400;
	for (int i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 400;
		*ret_length = *ret_length * 10 + (size_t)(text[i] - '0');
	}
	return !post && *ret_length ? 400 : 0;
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
	own->headers = BUF_INIT(HEADERS_MAX);
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
	if (body.n > ANSWER_MAX - HEADERS_MAX) {
		log_error("an answer is too large", LOG_STR("path", x->in.path));
		status = 500;
		body = STR("The answer is too large: ask for less of it.\n");
		content_type = "text/plain; charset=utf-8";
	}
	write_head(&own->answer, own, status, content_type, (ssize_t)body.n);
	if (!own->x.in.head && status != 204 && status != 304)
		buf_adds(&own->answer, body);
	own->on->answered = true;
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

static void reply_text(struct http_exchange *x, int status, const char *text)
{
	http_reply(x, status, "text/plain; charset=utf-8", str_of(text));
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
	struct buf head = BUF_INIT(HEADERS_MAX + LWS_PRE);
	write_head(&head, own, 200, options->content_type, NO_LENGTH);
	exchange_free(own);
	t->own = NULL;
	t->streams = true;
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

/* False: answered with a refusal. */
static bool check_origin(struct http_exchange *x, const struct http_route *route)
{
	if (!x->in.origin.n || route->cors == HTTP_CORS_NONE)
		return true;
	if (route->cors == HTTP_CORS_ANY) {
		http_header(x, "Access-Control-Allow-Origin", STR("*"));
		return true;
	}
	http_header(x, "Vary", STR("Origin"));
	if (!origin_allowed(x->in.origin, x->in.host)) {
		reply_text(x, 403,
			"This Origin is not allowed: add it to server.origins in the "
			"configuration.\n");
		return false;
	}
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
	if (!check_origin(x, route))
		return;
	if (x->in.verb == HTTP_OPTIONS && route->cors)
		reply_preflight(x);
	else if (x->in.verb & route->verbs)
		route->serve(x);
	else {
		http_header(x, "Allow",
			route->verbs & HTTP_POST
				? (route->verbs & HTTP_GET ? STR("GET, HEAD, POST") : STR("POST"))
				: STR("GET, HEAD"));
		reply_text(x, 405, "This address does not take that method.\n");
	}
}

static int refuse(struct http_exchange_private *own, int status, const char *text)
{
	if (status == 503)
		http_header(&own->x, "Retry-After", STR("1"));
	reply_text(&own->x, status, text);
	return 0;
}

/* 429: come back later. */
static void say_wait(struct http_exchange_private *own, const struct refusal *why)
{
	char text[256], seconds[32];
	snprintf(seconds, sizeof(seconds), "%lld", (long long)why->retry_after);
	snprintf(text, sizeof(text), "%s\n", why->message);
	http_header(&own->x, "Retry-After", str_of(seconds));
	reply_text(&own->x, 429, text);
}

static int refuse_crowd(struct http_exchange_private *own)
{
	struct refusal why = quota_crowded();
	metric_add(METRIC_CONNECTIONS_LIMITED, 1);
	say_wait(own, &why);
	return 0;
}

/* Whether it came to server.internal_listen. */
static bool is_internal(struct lws *wsi)
{
	return lws_get_vhost_user(lws_get_vhost(wsi)) != NULL;
}

static int on_request(struct transaction *t, struct lws *wsi)
{
	t->wsi = wsi;
	struct http_exchange_private *own = exchange_new(t);
	read_request(wsi, own);
	lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_SECONDS);
	int status = body_length(wsi, &t->body_length);
	bool post = own->x.in.verb == HTTP_POST;
	if (status)
		return refuse(own, status,
			status == 501 ? "Transfer-Encoding is not taken: send Content-Length.\n"
				: status == 411 ? "Send Content-Length.\n"
						: "Content-Length is wrong.\n");
	if (str_has_control(own->x.in.host) || str_has_control(own->x.in.origin))
		return refuse(own, 400, "Host or Origin holds a control character.\n");
	if (!own->x.in.verb)
		return refuse(own, 405, "This method is not taken.\n");
	if (draining)
		return refuse(own, 503, "The service is stopping; try again.\n");
	const struct peer *peer = lws_get_opaque_user_data(wsi);
	if (peer->crowded)
		return refuse_crowd(own);
	own->route = route_find(own->x.in.path, is_internal(wsi));
	if (!own->route)
		return refuse(own, 404, "There is nothing at this address.\n");
	if ((own->x.in.verb & own->route->verbs) && t->body_length > own->route->body_max)
		return refuse(own, 413, "The body is too large.\n");
	if ((own->x.in.verb & own->route->verbs) && post &&
		t->body_length) { /* when it is complete */
		own->body = BUF_INIT(t->body_length);
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, BODY_TIMEOUT_SECONDS);
		return 0;
	}
	serve(own);
	return 0;
}

static int on_body(struct transaction *t, const void *in, size_t n)
{
	if (!t->own || t->answered || t->own->served)
		return 0;
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
		return refuse(own, 400, "The body is shorter than it said.\n");
	if (draining)
		return refuse(own, 503, "The service is stopping; try again.\n");
	own->x.in.body = buf_str(&own->body);
	lws_set_timeout(t->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_SECONDS);
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

/* ---- the WebSocket handshake ---- */

static bool lists_protocol(struct str list)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str word = {list.p, comma ? (size_t)(comma - list.p) : list.n};
		size_t step = word.n + (comma ? 1 : 0);
		list.p += step;
		list.n -= step;
		while (word.n && *word.p == ' ')
			word.p++, word.n--;
		while (word.n && word.p[word.n - 1] == ' ')
			word.n--;
		if (str_is(word, "signalbox.v1"))
			return true;
	}
	return false;
}

static const char *handshake_fault(struct lws *wsi, const char *upgrade, struct str path)
{
	char protocols[PROTOCOL_LIST_MAX + 1], version[8];
	if (strcasecmp(upgrade, "websocket") != 0)
		return "Only an upgrade to websocket is possible here.\n";
	if (is_internal(wsi))
		return "There are no sessions at the internal address.\n";
	if (!str_is(path, "/ws") || !has(wsi, WSI_TOKEN_GET_URI))
		return "WebSockets are opened with GET /ws.\n";
	int n = lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL);
	if (n > PROTOCOL_LIST_MAX)
		return "Sec-WebSocket-Protocol is too long: list signalbox.v1 and nothing else. A "
		       "token belongs into session.open.\n";
	if (n <= 0 || lws_hdr_copy(wsi, protocols, sizeof(protocols), WSI_TOKEN_PROTOCOL) < 0 ||
		!lists_protocol((struct str){protocols, (size_t)n}))
		return "List the subprotocol signalbox.v1 in Sec-WebSocket-Protocol.\n";
	if (lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_VERSION) != 2 ||
		strcmp(version, "13") != 0)
		return "Sec-WebSocket-Version must be 13.\n";
	if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) != 24)
		return "Sec-WebSocket-Key must be 24 characters.\n";
	if (lws_hdr_total_length(wsi, WSI_TOKEN_EXTENSIONS) > EXTENSION_LIST_MAX)
		return "Sec-WebSocket-Extensions is too long.\n";
	if (has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) || has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
		return "A handshake has no body.\n";
	return NULL;
}

/* The check of a handshake's token answers at once or not at all: keys that would have to be
 * fetched first are, and the client comes again. */
struct handshake {
	struct authn check;
	bool done;
	enum err err;
	struct principal *who;
};

static void on_handshake_checked(
	struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct handshake *h = (struct handshake *)a;
	h->done = true;
	h->err = err;
	h->who = who;
	if (err)
		log_warn("handshake refused", LOG_TEXT("why", why));
}

static int say_refusal(
	struct http_exchange_private *own, int status, const char *challenge, const char *text)
{
	metric_add(METRIC_UPGRADES_REFUSED, 1);
	if (challenge)
		http_header(&own->x, "WWW-Authenticate", str_of(challenge));
	if (status == 503)
		http_header(&own->x, "Retry-After", STR("1"));
	reply_text(&own->x, status, text);
	write_answer(own->on);
	return -1;
}

static int refuse_for_now(struct http_exchange_private *own, const struct refusal *why)
{
	metric_add(METRIC_UPGRADES_REFUSED, 1);
	say_wait(own, why);
	write_answer(own->on);
	return -1;
}

static int check_credential(struct http_exchange_private *own, struct principal **ret_who)
{
	struct str token = {0};
	const struct http_request *in = &own->x.in;
	enum err err = authn_bearer_token(in->authorization, &token);
	if (err == ERR_NOT_FOUND)
		return 0;
	if (err)
		return say_refusal(own, 400, "Bearer error=\"invalid_request\"",
			"Authorization must be one Bearer token.\n");
	struct handshake h = {.check = {.done = on_handshake_checked}};
	authn_check(&h.check, token, in->peer);
	if (!h.done)
		authn_cancel(&h.check);
	if (!h.done || h.err == ERR_OVERLOADED)
		return say_refusal(own, 503, NULL,
			"The keys of the token's issuer are being fetched; try again.\n");
	if (!h.err) {
		*ret_who = h.who;
		return 0;
	}
	struct refusal why = {.retry_after = 1, .message = ""};
	if (h.err == ERR_RATE_LIMITED) {
		quota_token(in->peer, &why);
		return refuse_for_now(own, &why);
	}
	if (h.err == ERR_FORBIDDEN)
		return say_refusal(own, 403, "Bearer error=\"insufficient_scope\"",
			"The token does not allow this.\n");
	return say_refusal(
		own, 401, "Bearer error=\"invalid_token\"", "The token is not valid here.\n");
}

static bool may_upgrade(const struct peer *peer, struct refusal *ret_why)
{
	struct str address = str_of(peer->text);
	if (peer->crowded) {
		metric_add(METRIC_CONNECTIONS_LIMITED, 1);
		*ret_why = quota_crowded();
	}
	return !peer->crowded && !quota_handshake(address, ret_why) &&
		!quota_opening(address, ret_why);
}

/* 0 lets the handshake go on; otherwise the refusal has been written and the connection ends. */
static int on_upgrade(struct lws *wsi, const char *upgrade)
{
	struct transaction t = {.wsi = wsi};
	struct http_exchange_private *own = exchange_new(&t);
	read_request(wsi, own);
	struct peer *peer = lws_get_opaque_user_data(wsi);
	struct refusal why = {0};
	const char *fault = handshake_fault(wsi, upgrade, own->x.in.path);
	if (fault)
		return say_refusal(own, 400, NULL, fault);
	if (str_has_control(own->x.in.host) || str_has_control(own->x.in.origin))
		return say_refusal(own, 400, NULL, "Host or Origin holds a control character.\n");
	if (own->x.in.origin.n && !origin_allowed(own->x.in.origin, own->x.in.host))
		return say_refusal(own, 403, NULL,
			"This Origin is not allowed: add it to server.origins in the "
			"configuration.\n");
	if (own->x.in.query.n)
		return say_refusal(own, 400, NULL,
			"No token belongs into an address: send it in session.open.\n");
	if (!may_upgrade(peer, &why))
		return refuse_for_now(own, &why);
	int refused = check_credential(own, &peer->token);
	if (refused)
		return refused;
	exchange_free(own);
	return 0;
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
