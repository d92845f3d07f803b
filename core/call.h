/* call.h: one request on its way: from the session (or HTTP request) that sent it, to the worker
 * where the state lives that it names, and home again with its answer.
 *
 * A method is a row of a table; its handler is plain sequential code that runs on the home of what
 * the call names and owns the call until call_reply() or call_refuse() sends it back. It may keep
 * the call while it waits (store, pool) and answer later, on the same worker.
 *
 * Thread: one at a time; the call is its own baton. */
#pragma once

#include "core/addr.h"
#include "core/inbox.h"
#include "core/json_out.h"
#include "core/params.h"
#include "core/principal.h"
#include "core/refusal.h"

struct worker;

enum method_home {
	HOME_CALLER, /* the worker that the request came in on */
	HOME_NAME,   /* the worker of the name in the first member of the params (a struct str) */
	HOME_DOMAIN, /* the worker of what stands before that name's first dot */
};

enum {
	METHOD_SESSION = 1,   /* needs a session: not for /v1/rpc */
	METHOD_BARRIER = 2,   /* nothing later may reach the caller before this answer */
	METHOD_UNCOUNTED = 4, /* neither it nor its answer counts (docs/PROTOCOL.md, "Counting") */
	METHOD_JOIN = 8,      /* costs many others something: under limits.joins_per_second, too */
	METHOD_ALWAYS =
		16, /* not refused for coming too often: it helps a session to end or go on */
	METHOD_READS = 32, /* changes nothing: of those with the scope admin, not in the audit */
	METHOD_WAITS = 64, /* its answer depends on another client: nothing waits for it to end */
	METHOD_RECEIPT = 128, /* its result says that it was done, and no more: it need not hurry */
};

struct method {
	const char *name; /* NULL ends a table */
	uint32_t scope;   /* enum scope that the token must allow; SCOPE_NONE: every caller */
	enum method_home home;
	unsigned flags;
	const struct field *fields;
	size_t params_size; /* of the struct that the fields fill */
	void (*run)(struct call *c);
};

struct call {
	struct post post;
	size_t size; /* of its block */
	const struct method *method;
	struct principal *who;
	struct addr from;     /* whom the answer goes to */
	uint64_t tag;         /* the sender's own mark */
	struct str id;        /* as it came; n 0: a notification */
	void *params;         /* filled by method->fields, e.g. struct room_join * */
	enum err outcome;     /* once it is home */
	struct frame *answer; /* once it is home; NULL for a notification */
	void *state;          /* the handler's own, while it waits */
	struct buf out;
	struct json_out writer;
};

/* Reads the params into a new call: n 0, or an object and a walk of it that has not begun. The text is
 * copied. ERR_OK, ERR_PARAMS, ERR_TOO_LARGE; on failure there is no call and *ret_problem says why
 * (its field may point into params). */
enum err call_new_walk(const struct method *method, struct principal *who, struct str id,
	struct str params, struct json_walk walk, struct call **ret_call,
	struct params_problem *ret_problem);

static inline enum err call_new(const struct method *method, struct principal *who, struct str id,
	struct str params, struct call **ret_call, struct params_problem *ret_problem)
{
	return call_new_walk(method, who, id, params, json_walk(params), ret_call, ret_problem);
}

/* Sends it to its home, or runs it there and then when that is here. The answer comes to
 * from->ops->answer, also when the home is overloaded. */
void call_send(struct call *c, struct endpoint *from);

/* On the worker where the caller lives: sends it on to another, where post.run runs, or runs that there
 * and then. ERR_OVERLOADED: neither; whoever called has it still. */
enum err call_travel(struct call *c, struct worker *to);

enum { OVERLOADED_RETRY_S = 2 };

/* The result is written into the writer this returns: one value, key NULL. Then call_reply(). */
struct json_out *call_result(struct call *c);
void call_reply(struct call *c);       /* sends the call home: the caller has it no more */
void call_reply_empty(struct call *c); /* result {} */
/* call_refuse(c, ERR_FULL, .reason = "room_full", .limit = 1000) */
#define call_refuse(c, err, ...) call_fail(c, err, &(struct refusal){__VA_ARGS__})
void call_fail(struct call *c, enum err err, const struct refusal *why);

/* Refuses the call when err is one and says so; ERR_NOT_FOUND with these words about what is not there. */
#define call_refused(c, err, ...) call_failed(c, err, &(struct refusal){__VA_ARGS__})
bool call_failed(struct call *c, enum err err, const struct refusal *not_found);

/* Refuses it with an error that is not ours, its members as they came: a code, a message (with its
 * quotes), and data unless n is 0. */
void call_fail_as(struct call *c, int64_t code, struct str message, struct str data);

/* Writes an error object: code, message, data. */
void call_error(struct json_out *o, const char *key, enum err err, const struct refusal *why);

/* Writes a whole error response, as call_fail does, for what never became a call. id empty: null. */
void call_error_text(struct json_out *o, struct str id, enum err err, const struct refusal *why);

/* At home, when the answer has been handed on. */
void call_free(struct call **c);

/* An event: {"jsonrpc":"2.0","method":NAME,"params":{ … }} — write members, then event_take(). */
struct event {
	struct buf b;
	struct json_out params;
};
void event_begin(struct event *e, const char *method);
/* The same with an id: the client is to answer (service/dispatch.h). */
void request_begin(struct event *e, struct str id, const char *method);
struct frame *event_take(struct event *e); /* NULL when it grew past FRAME_MAX_BYTES */
