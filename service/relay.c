#include "service/relay.h"

#include "core/mem.h"
#include "core/worker.h"

/* Beside the connection. Its address is how the other half finds it. */
struct near {
	struct carrier_owner owner;
	struct endpoint endpoint;
	struct carrier *connection;
	int far_worker;
	struct far *far; /* the other half: only passed on, never looked into */
};

/* Beside the session. Lives until both sides have ended: `gone` comes from the other half as the
 * last thing. */
struct far {
	struct carrier carrier;
	struct addr near;
	bool closed; /* by the session: nothing more goes out */
	char peer[64];
};

enum what { ARRIVED, TEXT, GONE, BEGIN, SEND, CLOSE };

struct relay_post {
	struct post post;
	enum what what;
	struct far *far;
	struct addr near;
	struct outgoing message;
	bool batching;
	uint16_t code;
	const char *reason;
	void (*arrived)(struct carrier *c, void *context);
	void *context;
	size_t n;
	char text[];
};

static struct relay_post *make_post(struct relay_post from, struct str text)
{
	struct relay_post *p = mem_alloc(sizeof(*p) + text.n + 1);
	*p = from;
	p->n = text.n;
	memcpy(p->text, text.p ? text.p : "", text.n);
	p->text[text.n] = 0;
	return p;
}

/* ---- beside the session ---- */

static void run_near(struct post *post);

static void post_near(struct far *f, struct relay_post p, struct str text)
{
	p.post.run = run_near;
	p.near = f->near;
	worker_post(worker_at(f->near.worker), &make_post(p, text)->post);
}

static void far_begin(struct carrier *c, const char *session, bool batching)
{
	post_near((struct far *)c, (struct relay_post){.what = BEGIN, .batching = batching},
		str_of(session));
}

static void far_send(struct carrier *c, struct outgoing m)
{
	struct far *f = (struct far *)c;
	if (m.frame->refs > 1) { /* the session keeps it too: a frame has one worker */
		struct frame *own = frame_copy(m.frame);
		frame_unref(&m.frame);
		m.frame = own;
	}
	post_near(f, (struct relay_post){.what = SEND, .message = m}, STR(""));
}

static void far_close(struct carrier *c, uint16_t code, const char *reason)
{
	struct far *f = (struct far *)c;
	f->closed = true;
	post_near(f, (struct relay_post){.what = CLOSE, .code = code, .reason = reason}, STR(""));
}

static const struct carrier_ops far_ops = {
	.begin = far_begin, .send = far_send, .close = far_close};

static void run_far(struct post *post)
{
	struct relay_post *p = (struct relay_post *)post;
	struct far *f = p->far;
	struct carrier_owner *owner = f->carrier.owner;
	if (p->what == ARRIVED) {
		p->arrived(&f->carrier, p->context);
	} else if (p->what == TEXT) {
		if (owner)
			owner->events->text(owner, (struct str){p->text, p->n});
	} else { /* GONE */
		f->carrier.owner = NULL;
		if (owner && !f->closed)
			owner->events->closed(owner, p->code);
		free(f);
	}
	free(p);
}

/* ---- beside the connection ---- */

static void post_far(struct near *n, struct relay_post p, struct str text)
{
	p.post.run = run_far;
	p.far = n->far;
	worker_post(worker_at(n->far_worker), &make_post(p, text)->post);
}

static void end_near(struct near *n, uint16_t code)
{
	post_far(n, (struct relay_post){.what = GONE, .code = code}, STR(""));
	addr_release(&n->endpoint, true);
	free(n);
}

static void near_text(struct carrier_owner *o, struct str text)
{
	post_far((struct near *)o, (struct relay_post){.what = TEXT}, text);
}

static void near_closed(struct carrier_owner *o, uint16_t code)
{
	end_near((struct near *)o, code);
}

static const struct carrier_events near_events = {.text = near_text, .closed = near_closed};

static struct near *near_of(struct endpoint *e)
{
	return (struct near *)(void *)((char *)e - offsetof(struct near, endpoint));
}

static void run_near(struct post *post)
{
	struct relay_post *p = (struct relay_post *)post;
	struct endpoint *e = addr_find(p->near);
	struct near *n = e ? near_of(e) : NULL;
	if (!n) {
		frame_unref(&p->message.frame);
	} else if (p->what == SEND) {
		carrier_send(n->connection, p->message);
	} else if (p->what == BEGIN) {
		carrier_begin(n->connection, p->text, p->batching);
	} else { /* CLOSE */
		carrier_close(n->connection, p->code, p->reason);
		end_near(n, p->code);
	}
	free(p);
}

/* It sends no calls and gets no events: only its address is used. */
static void no_event(struct endpoint *e, struct frame *f)
{
	(void)e;
	frame_unref(&f);
}

static const struct endpoint_ops endpoint_ops = {.event = no_event};

void relay_make(struct carrier *connection, int worker,
	void (*arrived)(struct carrier *c, void *context), void *context)
{
	struct near *n = mem_new(struct near);
	struct far *f = mem_new(struct far);
	n->owner.events = &near_events;
	n->connection = connection;
	n->far_worker = worker;
	n->far = f;
	addr_register(&n->endpoint, &endpoint_ops);
	f->carrier.ops = &far_ops;
	f->carrier.posts = connection->posts;
	f->carrier.born_ns = connection->born_ns;
	f->near = n->endpoint.addr;
	memcpy(f->peer, connection->peer.p,
		connection->peer.n < sizeof(f->peer) ? connection->peer.n : sizeof(f->peer) - 1);
	f->carrier.peer = str_of(f->peer);
	carrier_own(connection, &n->owner);
	post_far(n, (struct relay_post){.what = ARRIVED, .arrived = arrived, .context = context},
		STR(""));
}
