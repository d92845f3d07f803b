/* client_request.h: what a client sends to an endpoint as a form of its own (token, revoke, introspect,
 * device_authorization): read, and the client proven, before the endpoint looks at it. RFC 6749
 * sections 2.3, 3.2 and 5.2; RFC 7523 for private_key_jwt.
 *
 * Thread: the exchange's worker. A step ends by answering the exchange (and freeing the request), or
 * by handing it to the next one. */
#pragma once

#include "auth/server/client_assertion.h"
#include "auth/server/clients.h"
#include "core/form.h"
#include "core/http.h"
#include "core/json_out.h"

struct client_request {
	struct http_exchange *x;
	void (*next)(struct client_request *r);
	char *text; /* the decoded values lie here: wiped */
	size_t text_n;
	struct form_fields fields;
	bool by_header;
	struct str client_id, secret, assertion_text;
	struct client_assertion *assertion; /* NULL: another way */
	struct client *client;              /* proven, when next() is called */
	int64_t now;                        /* Unix seconds, when it came */
	uint64_t seen;                      /* withdrawals_seen() then */
	/* fields that an endpoint has to remember */
	struct str code, redirect_uri, verifier, refresh, scope;
};

/* Reads who asks and goes on with next() when the client has proven itself by exactly one way: the one
 * it is registered for. Otherwise answers. */
void client_request_begin(struct http_exchange *x, void (*next)(struct client_request *r));

/* One field of the form, to be asked for once; n 0: it is not there. */
struct str client_request_field(struct client_request *r, const char *name);

/* Answers with an error of RFC 6749 section 5.2; the request is freed. */
void client_request_refuse(
	struct client_request *r, int status, const char *error, const char *description);
void client_request_refuse_client(struct client_request *r, const char *why);
/* The store cannot do it now. */
void client_request_failed(struct client_request *r);

/* Frees it; the exchange is answered by the caller. */
struct http_exchange *client_request_leave(struct client_request **r);
