#include "core/addr.h"

#include "core/mem.h"
#include "core/principal.h"
#include "core/slab.h"
#include "core/worker.h"

#include <assert.h>
#include <stdatomic.h>

struct str addr_key(struct addr a, char *out)
{
	memcpy(out, &a.worker, 2);
	memcpy(out + 2, &a.slot, 4);
	memcpy(out + 6, &a.generation, 4);
	return (struct str){out, ADDR_KEY_BYTES};
}

void addr_put(struct buf *b, struct addr a)
{
	record_put_int(b, a.worker);
	record_put_int(b, a.slot);
	record_put_int(b, a.generation);
}

struct addr addr_read(struct record_reader *r)
{
	struct addr a = {.worker = (uint16_t)record_int(r, UINT16_MAX)};
	a.slot = (uint32_t)record_int(r, UINT32_MAX);
	a.generation = (uint32_t)record_int(r, UINT32_MAX);
	return a;
}

/* Slot 0 is nobody's. A free slot keeps its generation, so that old addresses stay dead. */
struct slot {
	struct endpoint *endpoint;
	uint32_t generation;
	uint32_t next_free;
};

static _Thread_local struct {
	struct slot *slots;
	uint32_t size, used, first_free;
} table;

void addr_thread_start(void)
{
	table.size = 64;
	table.slots = mem_alloc(table.size * sizeof(*table.slots));
}

void addr_thread_stop(void)
{
	assert(!table.used);
	free(table.slots);
	table.slots = NULL;
	table.size = table.first_free = 0;
}

static uint32_t take_slot(void)
{
	static _Thread_local uint32_t fresh;
	if (!table.first_free) {
		if (fresh + 1 >= table.size) {
			uint32_t size = table.size * 2;
			table.slots = mem_resize(table.slots, size, sizeof(*table.slots));
			memset(table.slots + table.size, 0,
				(size - table.size) * sizeof(*table.slots));
			table.size = size;
		}
		return ++fresh;
	}
	uint32_t slot = table.first_free;
	table.first_free = table.slots[slot].next_free;
	return slot;
}

void addr_register(struct endpoint *e, const struct endpoint_ops *ops)
{
	uint32_t at = take_slot();
	struct slot *slot = &table.slots[at];
	slot->endpoint = e;
	if (++slot->generation == 0)
		slot->generation = 1;
	table.used++;
	e->addr = (struct addr){(uint16_t)worker_self()->index, at, slot->generation};
	e->ops = ops;
	e->workers_called = 0;
}

struct state_post {
	struct post post;
	struct addr endpoint;
	bool yes;
};

static void run_gone(struct post *p)
{
	struct state_post *g = (struct state_post *)p;
	worker_gone(worker_self(), g->endpoint, g->yes);
	free(g);
}

static void run_connected(struct post *p)
{
	struct state_post *g = (struct state_post *)p;
	worker_connected(worker_self(), g->endpoint, g->yes);
	free(g);
}

/* To every worker that the endpoint sent a call to. */
static void post_state(struct endpoint *e, void (*run)(struct post *p), bool yes)
{
	for (int i = 0; i < workers_count(); i++) {
		if (!(e->workers_called & UINT64_C(1) << i))
			continue;
		struct state_post *g = mem_new(struct state_post);
		*g = (struct state_post){{.run = run}, e->addr, yes};
		worker_post(worker_at(i), &g->post);
	}
}

void addr_connected(struct endpoint *e, bool yes)
{
	post_state(e, run_connected, yes);
}

struct grant_post {
	struct post post;
	struct addr endpoint;
	struct principal *who;
};

static void run_granted(struct post *p)
{
	struct grant_post *g = (struct grant_post *)p;
	worker_granted(worker_self(), g->endpoint, g->who);
	principal_unref(&g->who);
	free(g);
}

void addr_granted(struct endpoint *e, const struct principal *who)
{
	for (int i = 0; i < workers_count(); i++) {
		if (!(e->workers_called & UINT64_C(1) << i))
			continue;
		struct grant_post *g = mem_new(struct grant_post);
		*g = (struct grant_post){{.run = run_granted}, e->addr, principal_ref(who)};
		worker_post(worker_at(i), &g->post);
	}
}

void addr_release(struct endpoint *e, bool clean)
{
	struct slot *slot = &table.slots[e->addr.slot];
	assert(slot->endpoint == e);
	slot->endpoint = NULL;
	slot->next_free = table.first_free;
	table.first_free = e->addr.slot;
	table.used--;
	post_state(e, run_gone, clean);
	e->addr = (struct addr){0};
}

struct endpoint *addr_find(struct addr a)
{
	if (!a.generation || a.slot >= table.size)
		return NULL;
	const struct slot *slot = &table.slots[a.slot];
	return slot->generation == a.generation ? slot->endpoint : NULL;
}

/* Bytes of events that are posted to a worker and not yet delivered there. */
static atomic_size_t on_the_way[WORKERS_MAX];

static bool reserve(int worker, size_t n)
{
	if (atomic_fetch_add(&on_the_way[worker], n) + n <= EVENT_BYTES_MAX)
		return true;
	atomic_fetch_sub(&on_the_way[worker], n);
	return false;
}

static void arrived(const struct frame *f)
{
	if (f)
		atomic_fetch_sub(&on_the_way[worker_self()->index], f->size);
}

/* No frame: it was dropped on the way. */
static void deliver(struct addr to, struct frame *f)
{
	struct endpoint *e = addr_find(to);
	if (e && f)
		e->ops->event(e, f);
	else if (e && e->ops->overflow)
		e->ops->overflow(e);
	else
		frame_unref(&f);
}

/* ---- questions ---- */

void receipt_answer(struct receipt *r, bool gone)
{
	r->gone = gone;
	worker_post(worker_at(r->worker), &r->post);
}

struct question_post {
	struct post post;
	struct addr to;
	struct receipt *receipt;
};

static void ask(struct addr to, struct receipt *r)
{
	struct endpoint *e = addr_find(to);
	if (e && e->ops->asked)
		e->ops->asked(e, r);
	else
		receipt_answer(r, !e);
}

static void run_question(struct post *post)
{
	struct question_post *p = (struct question_post *)post;
	ask(p->to, p->receipt);
	free(p);
}

void addr_ask(struct addr to, struct receipt *r)
{
	r->worker = worker_self()->index;
	if (to.worker == r->worker) {
		ask(to, r);
		return;
	}
	struct question_post *p = mem_new(struct question_post);
	*p = (struct question_post){{.run = run_question}, to, r};
	worker_post(worker_at(to.worker), &p->post);
}

/* ---- audiences ---- */

struct event_post {
	struct post post;
	struct frame *frame;
	struct addr to;            /* one address, or */
	struct audience *audience; /* the part of an audience that is here */
	size_t begin, end;
};

struct audience {
	atomic_int refs;
	size_t count;
	struct addr list[];
};

static int by_worker(const void *a, const void *b)
{
	const struct addr *x = a, *y = b;
	return (x->worker > y->worker) - (x->worker < y->worker);
}

struct audience *audience_new(const struct addr *list, size_t count)
{
	struct audience *a = mem_alloc(sizeof(*a) + count * sizeof(*list));
	atomic_init(&a->refs, 1);
	a->count = count;
	if (count) {
		memcpy(a->list, list, count * sizeof(*list));
		qsort(a->list, count, sizeof(*list), by_worker);
	}
	return a;
}

struct audience *audience_ref(struct audience *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

void audience_unref(struct audience **a)
{
	if (*a && atomic_fetch_sub_explicit(&(*a)->refs, 1, memory_order_acq_rel) == 1)
		free(*a);
	*a = NULL;
}

/* Endpoints lie anywhere: they are on their way while those before them are served. */
static void expect(struct addr a)
{
	if (a.slot < table.size)
		__builtin_prefetch(table.slots[a.slot].endpoint);
}

static void deliver_part(const struct event_post *p)
{
	enum { AHEAD = 4 };
	for (size_t i = p->begin; i < p->end; i++) {
		if (i + AHEAD < p->end)
			expect(p->audience->list[i + AHEAD]);
		if (!addr_eq(p->audience->list[i], p->to))
			deliver(p->audience->list[i], p->frame ? frame_ref(p->frame) : NULL);
	}
}

static void run_part(struct post *post)
{
	struct event_post *p = (struct event_post *)post;
	arrived(p->frame);
	deliver_part(p);
	frame_unref(&p->frame);
	audience_unref(&p->audience);
	slab_give(p, sizeof(*p));
}

void audience_send(struct audience *a, struct addr but, struct frame *f)
{
	int self = worker_self()->index;
	for (size_t begin = 0, end; begin < a->count; begin = end) {
		int index = a->list[begin].worker;
		for (end = begin; end < a->count && a->list[end].worker == index;)
			end++;
		struct event_post part = {{.run = run_part}, f, but, a, begin, end};
		if (index == self) {
			deliver_part(&part);
			continue;
		}
		struct event_post *p = slab_take(sizeof(*p));
		*p = part;
		p->frame = reserve(index, f->size) ? frame_copy(f) : NULL;
		p->audience = audience_ref(a);
		worker_post(worker_at(index), &p->post);
	}
	frame_unref(&f);
}

static void run_event(struct post *post)
{
	struct event_post *p = (struct event_post *)post;
	arrived(p->frame);
	deliver(p->to, p->frame);
	slab_give(p, sizeof(*p));
}

void addr_send(struct addr to, struct frame *f)
{
	if (to.worker == worker_self()->index) {
		deliver(to, f);
		return;
	}
	/* The frame's one reference moves to the other worker; a shared one is copied. */
	struct event_post *p = slab_take(sizeof(*p));
	*p = (struct event_post){.post = {.run = run_event}, .frame = f, .to = to};
	if (!reserve(to.worker, f->size)) {
		p->frame = NULL;
		frame_unref(&f);
	} else if (f->refs > 1) {
		p->frame = frame_copy(f);
		frame_unref(&f);
	}
	worker_post(worker_at(to.worker), &p->post);
}
