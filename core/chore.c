#include "core/chore.h"

static void ring(uv_timer_t *t)
{
	((const struct chore *)t->data)->run();
}

void chore_start(struct chore *c, struct worker *w)
{
	if (w->index)
		return;
	uv_timer_init(&w->loop, &c->timer);
	c->timer.data = c;
	c->on = true;
	chore_again(c, c->first_ms);
}

void chore_drain(struct chore *c, const struct worker *w)
{
	if (w->index)
		return;
	uv_timer_stop(&c->timer);
	c->on = false;
}

void chore_stop(struct chore *c, const struct worker *w)
{
	if (w->index)
		return;
	c->on = false;
	uv_close((uv_handle_t *)&c->timer, NULL);
}

void chore_again(struct chore *c, unsigned ms)
{
	if (c->on)
		uv_timer_start(&c->timer, ring, ms, c->every_ms);
}
