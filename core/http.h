/* http.h: one HTTP request and its answer, as the modules that serve pages and endpoints see it.
 * The connection behind it is service/conn_http.c and nobody else's business.
 *
 * Thread: the worker that the request came in on. A handler may answer later, on that worker; the
 * exchange lives until it is answered, also when the client has left meanwhile. */
#pragma once

#include "core/buf.h"

#include <stdint.h>

enum http_verb { HTTP_GET = 1, HTTP_POST = 2, HTTP_OPTIONS = 4 };

struct http_request {
	enum http_verb verb;
	bool head;        /* HEAD: it comes as GET, and the body is not sent */
	struct str path;  /* decoded and without dot segments, without the query */
	struct str query; /* as a form (core/form.h) reads it, without '?' */
	struct str body;
	struct str host, origin, authorization, cookie, content_type, accept, if_none_match;
	struct str user_agent, accept_language;
	struct str last_event_id, signalbox_session, signalbox_sent;
	struct str peer;  /* the client's address as text */
	uint64_t born_ns; /* when its connection was accepted (uv_hrtime) */
	bool tls;
};

struct http_exchange {
	struct http_request in;
	void *state; /* the handler's own, while it waits */
	struct http_exchange_private *own;
};

struct http_route {
	const char *path; /* exact; or a prefix when it ends with '*' */
	unsigned verbs;   /* of enum http_verb; others get 405 */
	void (*serve)(struct http_exchange *x);
	size_t body_max; /* 413 past it */
	int cors;        /* enum http_cors */
	bool internal;   /* for operators: moves to the internal listener when there is one */
};

enum http_cors {
	HTTP_CORS_NONE,
	HTTP_CORS_ANY, /* every page may read it: public, or guarded by what the page itself sends */
	HTTP_CORS_LISTED, /* pages of the Origin list; others are refused with 403 */
};

/* Adds a header to the answer; both are copied. Values with control characters are refused by an
 * assertion: they never come from outside unchecked. */
void http_header(struct http_exchange *x, const char *name, struct str value);

/* Answers and ends the exchange: the caller has it no more. The body is copied. */
void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body);

/* 303 to the address. */
void http_redirect(struct http_exchange *x, struct str location);

/* A JSON answer with no-store; takes what is in the buffer and frees it. */
void http_reply_json(struct http_exchange *x, int status, struct buf *body);

/* An answer that goes on until either side ends it. Its owner writes at the end of loop turns, or
 * anywhere else outside of the callbacks below. */
struct http_stream;

struct http_stream_events {
	void (*writable)(void *owner); /* it was full, and is no more */
	void (*gone)(void *owner);     /* the client has left; the stream is dead */
};

struct http_stream_options {
	const struct http_stream_events *events;
	void *owner;
	const char *content_type;
	unsigned dead_ms; /* the client is lost when it does not acknowledge a byte for so long */
};

/* Begins the answer, status 200, and ends the exchange. NULL: the client has left. */
struct http_stream *http_stream_begin(
	struct http_exchange *x, const struct http_stream_options *options);

/* The kernel takes no more now: nothing may be written until writable() is called. */
bool http_stream_full(struct http_stream *s);
void http_stream_write(struct http_stream *s, struct str bytes);

/* The end of the answer, when all that was written has gone out or five seconds have passed; the
 * caller has the stream no more, and hears nothing more of it. */
void http_stream_end(struct http_stream *s);
/* The end at once. */
void http_stream_cut(struct http_stream *s);
