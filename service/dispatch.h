/* dispatch.h: one message of JSON-RPC 2.0 in; calls out; one message with all of its answers back.
 * Serves every way in: WebSocket sessions, POST /v1/rpc, the control socket.
 *
 * Thread: the caller's worker. */
#pragma once

#include "service/pace.h"

struct caller;

/* One answer on its way out. */
struct answer {
	struct frame *frame;
	bool counted; /* see docs/PROTOCOL.md, "Counting" */
	bool patient; /* METHOD_RECEIPT */
};

struct caller_ops {
	/* All answers to one message: one as it is, or an array of them. Owns the frames. count 0:
	 * there were only notifications. */
	void (*answers)(struct caller *c, struct answer *list, size_t count, bool array);
	/* An event from elsewhere. Owns the frame. */
	void (*event)(struct caller *c, struct frame *f);
	/* The client's address. NULL: it is the operator, at the control socket. */
	struct str (*address)(const struct caller *c);
	/* Events for it were dropped on the way (core/addr.h). NULL: it gets none. */
	void (*overflow)(struct caller *c);
	/* It sent a text that is not UTF-8: nothing is answered. NULL: like one that is not JSON. */
	void (*garbled)(struct caller *c);
	/* What it has been sent until now is to be acknowledged (core/addr.h). NULL: nothing is. */
	void (*asked)(struct caller *c, struct receipt *r);
};

/* Whoever sends messages; embedded in a session, a request, a control connection. */
struct caller {
	struct endpoint endpoint;
	const struct caller_ops *ops;
	struct principal *who;
	bool is_session;    /* may use methods marked METHOD_SESSION */
	struct pace *pace;  /* how often it may ask; NULL: as often as it likes */
	unsigned in_flight; /* calls sent and not yet home */
	unsigned waiting;   /* of those, how many wait for another client (METHOD_WAITS) */
	unsigned holding; /* messages of which an answer came that must precede everything later */
	struct batch *batches;
};

struct dispatch_limits {
	size_t batch;       /* requests in one message */
	unsigned in_flight; /* of one caller */
};

void dispatch_configure(const struct dispatch_limits *limits);

/* Registers the endpoint; who is referenced. */
void caller_begin(struct caller *c, const struct caller_ops *ops, struct principal *who);
/* Calls in flight lose their way home. */
void caller_end(struct caller *c, bool clean);

/* One request as it came. */
struct envelope {
	struct str id;            /* n 0: none */
	struct str method;        /* between its quotes, as it came */
	struct str params;        /* n 0: none */
	struct json_walk walk;    /* of the params, to begin */
	bool response;            /* an answer to a request of ours: */
	struct str result, error; /* n 0: none */
	enum err err;             /* what is wrong with it, if anything */
	const char *why;
};

/* outline: what a check has noted of it, or NULL. */
struct envelope envelope_read(struct str object, const struct json_outline *outline);

/* Handles one text. Whatever it is, it is answered by ops->answers, at once or later (not at all
 * when it holds only notifications and the caller is a session). The first skip counted messages in
 * it, and uncounted ones among them, are passed over: they were handled before. Returns how many
 * counted messages the rest of it was. */
unsigned dispatch(struct caller *c, struct str text, uint64_t skip);

/* How many requests a text holds: one, or the elements of its array. Any text. */
unsigned dispatch_count(struct str text);

/* An error response that answers no call; id n 0: null. Never NULL. */
struct frame *error_frame(struct str id, enum err err, const struct refusal *why);

/* Joins messages into one array, at most FRAME_MAX_BYTES: NULL when they do not fit. */
struct frame *frames_join(const struct answer *list, size_t count);
