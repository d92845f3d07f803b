#include "signaling/rpc.h"

#include "core/mem.h"
#include "core/metrics.h"
#include "core/record.h"
#include "signaling/access.h"
#include "signaling/options.h"

enum { TIMEOUT_S = 30, RECORD_MAX = METHODS_MAX * (METHOD_NAME_MAX + 2) + 64 };

static _Thread_local bool draining;

/* ---- rpc.serve ---- */

struct serve_params {
	struct str methods;
	/* the handler's own */
	struct offer *offer;
	atomic_uint pending; /* workers that have not heard of it */
};

static const struct field serve_fields[] = {
	FIELD(struct serve_params, methods, ARRAY, true, 0, METHODS_MAX *(METHOD_NAME_MAX + 16)),
	{0},
};

/* An offer on its way to a worker. */
struct offer_post {
	struct post post;
	struct addr from;
	struct offer *offer;
	enum reach reach;
	struct call *call; /* to be answered by the last that hears of it; or NULL */
};

static bool is_name(struct str name)
{
	bool pattern = name.n > 2 && memcmp(name.p + name.n - 2, ".*", 2) == 0;
	size_t n = pattern ? name.n - 2 : name.n;
	if (!n || name.n > METHOD_NAME_MAX || *name.p == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-",
			    name.p[i]) ||
			!name.p[i])
			return false;
	return true;
}

static bool is_reserved(struct str name)
{
	const char *dot = memchr(name.p, '.', name.n);
	struct str domain = {name.p, dot ? (size_t)(dot - name.p) : name.n};
	return options()->reserved && options()->reserved(domain);
}

/* The names of the array, decoded where they stand. NULL: refused. */
static struct offer *read_offer(struct call *c, struct load *load)
{
	struct serve_params *in = c->params;
	struct str names[METHODS_MAX], key, item;
	size_t count = 0;
	for (struct json_walk w = json_walk(in->methods); json_next(&w, &key, &item);) {
		struct str *name = &names[count];
		if (count++ == METHODS_MAX) {
			deny_param(c, "methods", "methods are at most 64.");
			return NULL;
		}
		name->p = item.p;
		if (json_kind(item) != JSON_STRING ||
			json_decode(item, (char *)(uintptr_t)item.p, &name->n) || !is_name(*name)) {
			deny_param(c, "methods",
				"A method is 1-128 of A-Z a-z 0-9 . _ - and may end in .*");
			return NULL;
		}
		if (is_reserved(*name)) {
			deny_param(c, "methods", "A method must not be in a domain of ours.");
			return NULL;
		}
	}
	return offer_new(names, count, load);
}

static void answer_serve(struct call *c)
{
	struct serve_params *in = c->params;
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_open(o, "methods", '[');
	for (size_t i = 0; i < in->offer->count; i++)
		json_str(o, NULL, in->offer->names[i]);
	json_close(o, ']');
	json_close(o, '}');
	offer_unref(&in->offer);
	call_reply(c);
}

static void hear(struct offer_post *o)
{
	struct call *c = o->call;
	backends_offer(o->from, o->offer, o->reach);
	free(o);
	if (c && atomic_fetch_sub(&((struct serve_params *)c->params)->pending, 1) == 1)
		answer_serve(c);
}

static void run_offer(struct post *p)
{
	hear((struct offer_post *)p);
}

/* To all workers; here at once, so that the next offer of this session finds its load. */
static void publish(struct addr from, struct offer *offer, enum reach reach, struct call *c)
{
	for (int k = workers_count(); k-- > 0;) {
		struct worker *w = worker_at((worker_self()->index + k) % workers_count());
		struct offer_post *o = mem_new(struct offer_post);
		*o = (struct offer_post){{.run = run_offer}, from, offer_ref(offer), reach, c};
		if (w == worker_self())
			hear(o);
		else
			worker_post(w, &o->post);
	}
}

static void serve_run(struct call *c)
{
	struct serve_params *in = c->params;
	const struct backend *known = backends_find(c->from);
	struct endpoint *from = addr_find(c->from);
	struct offer *offer = read_offer(c, known ? known->offer->load : NULL);
	if (!offer)
		return;
	in->offer = offer_ref(offer); /* for the answer */
	atomic_init(&in->pending, (unsigned)workers_count());
	from->workers_called = UINT64_MAX; /* all are to hear of its end */
	publish(c->from, offer, REACH_CONNECTED, c);
	offer_unref(&offer);
}

/* ---- rpc.call ---- */

struct rpc_call_params {
	struct str method, params;
	struct param_int timeout;
};

static const struct field call_fields[] = {
	FIELD(struct rpc_call_params, method, STRING, true, 1, METHOD_NAME_MAX),
	FIELD(struct rpc_call_params, params, RAW, false, 0, DATA_CEILING),
	FIELD(struct rpc_call_params, timeout, INT, false, 1, TIMEOUT_MAX_S),
	{0},
};

static void rpc_call_run(struct call *c)
{
	const struct rpc_call_params *in = c->params;
	if (in->params.n > options()->data_max) {
		deny_too_large(c, "params", options()->data_max);
		return;
	}
	if (draining) {
		call_refuse(c, ERR_OVERLOADED);
		return;
	}
	struct backend *b = backends_choose(in->method);
	if (!b) {
		metric_add(METRIC_RPC_NOT_SERVED, 1);
		call_refuse(c, ERR_NOT_FOUND, .reason = "not_served",
			.message = "Nobody serves this method just now.", .field = in->method);
	} else if (atomic_load(&b->offer->load->under_way) >= options()->rpc_in_flight) {
		call_refuse(c, ERR_OVERLOADED, .reason = "backends_busy",
			.message = "All who serve this method have as much to do as they may have.",
			.limit = (int64_t)options()->rpc_in_flight);
	} else {
		invocation_begin(b, c, in->method, in->params.n ? in->params : STR("{}"),
			in->timeout.given ? (unsigned)in->timeout.n : TIMEOUT_S);
	}
}

/* ---- replies ---- */

struct reply_post {
	struct post post;
	struct addr from;
	uint64_t number;
	struct reply reply; /* its bytes stand behind */
	char text[];
};

static void end(uint64_t number, struct addr from, const struct reply *reply)
{
	if (!invocation_end(number, from, reply))
		metric_add(METRIC_RPC_UNEXPECTED, 1);
}

static void run_reply(struct post *p)
{
	struct reply_post *r = (struct reply_post *)p;
	end(r->number, r->from, &r->reply);
	free(r);
}

static void post_reply(
	struct worker *home, uint64_t number, struct addr from, const struct reply *reply)
{
	size_t n = reply->result.n, m = reply->error.n;
	struct reply_post *r = mem_alloc(sizeof(*r) + n + m);
	r->post.run = run_reply;
	r->from = from;
	r->number = number;
	if (n)
		memcpy(r->text, reply->result.p, n);
	if (m)
		memcpy(r->text + n, reply->error.p, m);
	r->reply = (struct reply){{r->text, n}, {r->text + n, m}};
	worker_post(home, &r->post);
}

/* One answer for each time it was asked; a second one may come before the first of the next. */
static bool take_owed(struct load *l)
{
	bool owed = atomic_load(&l->owed);
	if (owed)
		atomic_fetch_sub(&l->owed, 1);
	return owed;
}

bool rpc_replied(struct addr from, struct str id, const struct reply *reply)
{
	uint64_t number;
	struct worker *home = invocation_home(id, &number);
	const struct backend *b = home ? backends_find(from) : NULL;
	if (!b) {
		metric_add(METRIC_RPC_UNEXPECTED, 1);
		return false;
	}
	bool owed = take_owed(b->offer->load);
	if (home == worker_self())
		end(number, from, reply);
	else
		post_reply(home, number, from, reply);
	return owed;
}

/* ---- what becomes of a backend ---- */

static void on_connected(struct addr endpoint, bool yes)
{
	struct backend *b = backends_find(endpoint);
	if (b)
		b->reach = yes ? REACH_CONNECTED : REACH_LOST;
}

/* It may not serve any more: what it was asked it still answers. */
static void on_granted(struct addr endpoint, const struct principal *who)
{
	struct backend *b = backends_find(endpoint);
	if (b && !(who->scopes & SCOPE_RPC_SERVE))
		backends_offer(endpoint, offer_new(NULL, 0, b->offer->load), b->reach);
}

static void on_gone(struct addr endpoint, bool clean)
{
	(void)clean;
	struct backend *b = backends_find(endpoint);
	if (!b)
		return;
	invocations_lose(b);
	backends_remove(b);
}

/* ---- handing over ---- */

/* Each record: the address, whether its connection was lost, how many names, the names. */
void rpc_save(struct buf *out)
{
	const struct backend *b;
	for (size_t i = 0; (b = backends_next(&i));) {
		if (b->addr.worker != worker_self()->index)
			continue;
		struct buf one = BUF_INIT(RECORD_MAX);
		addr_put(&one, b->addr);
		record_put_int(&one, b->reach == REACH_LOST);
		record_put_int(&one, b->offer->count);
		for (size_t k = 0; k < b->offer->count; k++)
			record_put_str(&one, b->offer->names[k]);
		record_put_str(out, buf_str(&one));
		buf_free(&one);
	}
}

void rpc_load(struct record_reader *r, const struct chapter_lookup *lookup)
{
	struct str names[METHODS_MAX];
	struct addr now, old = addr_read(r);
	const struct principal *who;
	bool lost = record_int(r, 1);
	size_t count = record_int(r, METHODS_MAX);
	for (size_t i = 0; i < count; i++)
		names[i] = record_str(r, METHOD_NAME_MAX);
	if (r->bad || !lookup->find(lookup->context, old, &now, &who) ||
		now.worker != worker_self()->index)
		return;
	struct offer *offer = offer_new(names, count, NULL);
	publish(now, offer, lost ? REACH_LOST : REACH_EXPECTED, NULL);
	offer_unref(&offer);
}

/* ---- the worker ---- */

static enum err start(struct worker *w)
{
	draining = false;
	invocations_start(w);
	return ERR_OK;
}

/* From here on no client's answer is received, so nobody is to wait for one. */
static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	invocations_drain();
}

static void stop(struct worker *w)
{
	(void)w;
	struct backend *b;
	invocations_stop();
	for (size_t i = 0; (b = backends_next(&i)); i = 0)
		backends_remove(b);
	backends_stop();
}

const struct worker_part rpc_part = {.name = "rpc",
	.start = start,
	.drain = drain,
	.stop = stop,
	.connected = on_connected,
	.granted = on_granted,
	.gone = on_gone};

const struct method rpc_methods[] = {
	{"rpc.serve", SCOPE_RPC_SERVE, HOME_CALLER, METHOD_SESSION, serve_fields,
		sizeof(struct serve_params), serve_run},
	{"rpc.call", SCOPE_RPC_CALL, HOME_DOMAIN, METHOD_WAITS, call_fields,
		sizeof(struct rpc_call_params), rpc_call_run},
	{0},
};
