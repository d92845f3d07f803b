#include "signaling/backends.h"

#include "core/mem.h"
#include "core/metrics.h"
#include "core/worker.h"

#include <assert.h>

/* Everybody who serves one name, as it was offered: with ".*" at its end or without. */
struct service {
	struct backend **list;
	size_t count, room;
	size_t n;
	char name[];
};

static _Thread_local struct map backends, services;
static _Thread_local uint64_t turns;

/* ---- offers ---- */

static void load_unref(struct load *l)
{
	if (atomic_fetch_sub(&l->refs, 1) == 1)
		free(l);
}

struct offer *offer_new(const struct str *names, size_t count, struct load *load)
{
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += names[i].n;
	struct offer *o = mem_alloc(sizeof(*o) + count * sizeof(*names) + bytes);
	char *at = (char *)&o->names[count];
	atomic_init(&o->refs, 1);
	o->load = load ? load : mem_new(struct load);
	atomic_fetch_add(&o->load->refs, 1);
	o->count = count;
	for (size_t i = 0; i < count; i++) {
		memcpy(at, names[i].p, names[i].n);
		o->names[i] = (struct str){at, names[i].n};
		at += names[i].n;
	}
	return o;
}

struct offer *offer_ref(struct offer *o)
{
	atomic_fetch_add(&o->refs, 1);
	return o;
}

void offer_unref(struct offer **offer)
{
	struct offer *o = *offer;
	*offer = NULL;
	if (!o || atomic_fetch_sub(&o->refs, 1) > 1)
		return;
	load_unref(o->load);
	free(o);
}

/* ---- who serves what ---- */

static struct service *find_or_make(struct str name)
{
	struct service *s = map_get(&services, name);
	if (s)
		return s;
	s = mem_alloc(sizeof(*s) + name.n);
	memcpy(s->name, name.p, name.n);
	s->n = name.n;
	map_put(&services, (struct str){s->name, s->n}, s);
	return s;
}

static bool lives_here(struct str name)
{
	const char *dot = memchr(name.p, '.', name.n);
	struct str domain = {name.p, dot ? (size_t)(dot - name.p) : name.n};
	return worker_home(domain) == worker_self();
}

static void enter(struct backend *b, struct str name)
{
	struct service *s = find_or_make(name);
	if (s->count && s->list[s->count - 1] == b)
		return; /* the name was given twice */
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 4;
		s->list = mem_resize(s->list, s->room, sizeof(struct backend *));
	}
	s->list[s->count++] = b;
}

static void take_out(struct backend *b, struct str name)
{
	struct service *s = map_get(&services, name);
	for (size_t i = 0; s && i < s->count; i++)
		if (s->list[i] == b) {
			s->list[i] = s->list[--s->count];
			break;
		}
	if (!s || s->count)
		return;
	map_remove(&services, name);
	free(s->list);
	free(s);
}

static void each_name(struct backend *b, void (*what)(struct backend *b, struct str name))
{
	for (size_t i = 0; b->offer && i < b->offer->count; i++)
		if (lives_here(b->offer->names[i]))
			what(b, b->offer->names[i]);
}

void backends_offer(struct addr addr, struct offer *offer, enum reach reach)
{
	struct backend *b = backends_find(addr);
	if (!b) {
		b = mem_new(struct backend);
		b->addr = addr;
		map_put(&backends, addr_key(addr, b->key), b);
		metric_add(METRIC_RPC_BACKENDS, addr.worker == worker_self()->index);
	}
	each_name(b, take_out);
	offer_unref(&b->offer);
	b->offer = offer;
	b->reach = reach;
	each_name(b, enter);
}

struct backend *backends_find(struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return backends.count ? map_get(&backends, addr_key(addr, key)) : NULL;
}

void backends_remove(struct backend *b)
{
	assert(!b->first);
	each_name(b, take_out);
	map_remove(&backends, (struct str){b->key, ADDR_KEY_BYTES});
	offer_unref(&b->offer);
	metric_add(METRIC_RPC_BACKENDS, -(b->addr.worker == worker_self()->index));
	free(b);
}

struct backend *backends_next(size_t *i)
{
	return map_next(&backends, i);
}

/* ---- choosing ---- */

static bool is_before(const struct backend *a, const struct backend *b)
{
	if (a->reach != b->reach)
		return a->reach < b->reach;
	unsigned x = atomic_load(&a->offer->load->under_way);
	unsigned y = atomic_load(&b->offer->load->under_way);
	return x != y ? x < y : a->turn < b->turn;
}

static void consider(struct str name, struct backend **best)
{
	const struct service *s = map_get(&services, name);
	for (size_t i = 0; s && i < s->count; i++) {
		struct backend *b = s->list[i];
		if (b->reach != REACH_LOST && (!*best || is_before(b, *best)))
			*best = b;
	}
}

struct backend *backends_choose(struct str method)
{
	char pattern[METHOD_NAME_MAX + 1];
	struct backend *best = NULL;
	if (method.n > METHOD_NAME_MAX || memchr(method.p, '*', method.n))
		return NULL;
	consider(method, &best);
	memcpy(pattern, method.p, method.n);
	for (size_t n = method.n; n-- > 0;) /* "a.b.c" is served by "a.b.*" and by "a.*" */
		if (method.p[n] == '.') {
			pattern[n + 1] = '*';
			consider((struct str){pattern, n + 2}, &best);
		}
	if (best)
		best->turn = ++turns;
	return best;
}

void backends_stop(void)
{
	map_free(&backends);
	map_free(&services);
}
