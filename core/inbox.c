#include "core/inbox.h"

#include <assert.h>

void inbox_init(struct inbox *in, size_t calls_max, void (*wake)(void *), void *context)
{
	*in = (struct inbox){.calls_max = calls_max, .wake = wake, .context = context};
	in->last = &in->first;
	pthread_mutex_init(&in->lock, NULL);
}

void inbox_finish(struct inbox *in)
{
	assert(!in->first);
	pthread_mutex_destroy(&in->lock);
}

static enum err push(struct inbox *in, struct post *p, unsigned char is_call)
{
	pthread_mutex_lock(&in->lock);
	if (is_call && in->calls >= in->calls_max) {
		pthread_mutex_unlock(&in->lock);
		return ERR_OVERLOADED;
	}
	bool was_empty = !in->first;
	p->next = NULL;
	p->is_call = is_call;
	in->calls += is_call;
	*in->last = p;
	in->last = &p->next;
	pthread_mutex_unlock(&in->lock);
	if (was_empty && in->wake)
		in->wake(in->context);
	return ERR_OK;
}

void inbox_post(struct inbox *in, struct post *p)
{
	push(in, p, 0);
}

enum err inbox_post_call(struct inbox *in, struct post *p)
{
	return push(in, p, 1);
}

bool inbox_waits(struct inbox *in)
{
	pthread_mutex_lock(&in->lock);
	bool waits = in->first != NULL;
	pthread_mutex_unlock(&in->lock);
	return waits;
}

struct post *inbox_take(struct inbox *in)
{
	pthread_mutex_lock(&in->lock);
	struct post *all = in->first;
	in->first = NULL;
	in->last = &in->first;
	in->calls = 0;
	pthread_mutex_unlock(&in->lock);
	return all;
}
