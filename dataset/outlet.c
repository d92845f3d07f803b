/* How much is on its way to each session from this worker: within a window, so that what datasets send is
 * never why a connection is slow or a session loses what it keeps. Who is past it falls behind. */
#include "core/mem.h"
#include "dataset/feed_parts.h"

enum {
	/* A client acknowledges after 64 messages or 64 KiB: twice that always moves on. */
	WINDOW_MESSAGES = 128,
	WINDOW_MESSAGES_MAX = 256,
	WINDOW_BYTES = 128 * 1024,
	WINDOW_BYTES_MAX = 256 * 1024,
	ASK_MESSAGES = 32,
	ASK_BYTES = 32 * 1024,
};

static size_t kept_messages_max = 1024, kept_bytes_max = 1 << 20;
static unsigned configured; /* how often */
static _Thread_local struct map outlets;

/* Half of what a session keeps, shared by all workers. */
static size_t window(size_t kept, size_t least, size_t most)
{
	size_t n = kept / 2 / (size_t)workers_count();
	n = n < least ? least : n;
	n = n > most ? most : n;
	return n < kept / 2 ? n : kept / 2;
}

void outlets_configure(size_t kept_messages, size_t kept_bytes)
{
	kept_messages_max = kept_messages;
	kept_bytes_max = kept_bytes;
	configured++;
}

struct outlet *outlet_find(struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&outlets, addr_key(addr, key));
}

struct outlet *outlet_for(struct addr addr, const struct principal *who)
{
	struct outlet *o = outlet_find(addr);
	if (o)
		return o;
	o = mem_new(struct outlet);
	o->addr = addr;
	o->who = principal_ref(who);
	map_put(&outlets, addr_key(addr, o->key), o);
	return o;
}

/* Not before its session has gone: what is on its way to it is on its way whoever reads still. */
void outlet_gone(struct outlet *o)
{
	for (struct reader *r; (r = o->readers);)
		reader_free(&r);
	map_remove(&outlets, (struct str){o->key, ADDR_KEY_BYTES});
	principal_unref(&o->who);
	free(o);
}

void outlets_stop(void)
{
	struct outlet *o;
	for (size_t i = 0; (o = map_next(&outlets, &i)); i = 0)
		outlet_gone(o);
	map_free(&outlets);
}

/* What is left of the window. */
static size_t room(const struct outlet *o, size_t *ret_bytes)
{
	static _Thread_local struct {
		unsigned of;
		size_t messages, bytes;
	} here;
	if (!here.messages || here.of != configured) {
		here.of = configured;
		here.messages = window(kept_messages_max, WINDOW_MESSAGES, WINDOW_MESSAGES_MAX);
		here.bytes = window(kept_bytes_max, WINDOW_BYTES, WINDOW_BYTES_MAX);
	}
	*ret_bytes = o->bytes < here.bytes ? here.bytes - o->bytes : 0;
	return o->away || o->messages >= here.messages ? 0 : here.messages - o->messages;
}

bool outlet_takes(const struct outlet *o, size_t messages, size_t bytes)
{
	size_t bytes_left, left = room(o, &bytes_left);
	if (messages <= 1)
		return left && bytes_left;
	return messages <= left && bytes <= bytes_left;
}

static void go_on(struct outlet *o)
{
	for (struct reader *r = o->readers, *next; r && outlet_takes(o, 1, 0); r = next) {
		next = r->next_of_outlet;
		reader_go(r);
	}
}

/* ---- asking ---- */

struct question {
	struct receipt receipt; /* first */
	struct addr addr;
};

static void ask(struct outlet *o);

static void answered(struct post *p)
{
	struct question *q = (struct question *)p;
	struct outlet *o = outlet_find(q->addr);
	if (o && !q->receipt.gone) {
		o->messages -= o->asked_messages;
		o->bytes -= o->asked_bytes;
		o->asked = false;
		ask(o);
		go_on(o);
	}
	free(q);
}

static void ask(struct outlet *o)
{
	if (o->asked || (o->messages < ASK_MESSAGES && o->bytes < ASK_BYTES))
		return;
	struct question *q = mem_new(struct question);
	*q = (struct question){{.post.run = answered}, o->addr};
	o->asked = true;
	o->asked_messages = o->messages;
	o->asked_bytes = o->bytes;
	addr_ask(o->addr, &q->receipt);
}

void outlet_sent(struct outlet *o, size_t messages, size_t bytes)
{
	o->messages += messages;
	o->bytes += bytes;
	ask(o);
}

void outlet_connected(struct addr addr, bool yes)
{
	struct outlet *o = outlet_find(addr);
	if (!o)
		return;
	o->away = !yes;
	if (yes)
		go_on(o);
	else
		for (struct reader *r = o->readers; r; r = r->next_of_outlet)
			reader_put_down(r);
}
