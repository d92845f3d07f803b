#include "signaling/headcount.h"

#include "core/mem.h"
#include "signaling/access.h"
#include "signaling/room_watch.h"

struct part {
	struct post post;
	struct headcounts *of;
};

static void count_one(struct headcounts *h, struct headcount *it)
{
	const struct place *p = rooms_find(it->room);
	if (p && p->room) {
		it->members = p->room->count;
		it->users = p->room->by_user.count;
	}
	/* Of a room whose rules are not here the store knows best. */
	if (h->who && p && p->room && p->kind != PLACE_UNKNOWN)
		it->shown = access_look(p, h->who) == DENIAL_NONE;
	if (h->watch.generation)
		watchers_add(it->room, h->watch, h->who, it->shown);
}

static void count_here(struct headcounts *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (worker_home(h->list[i].room) == worker_self())
			count_one(h, &h->list[i]);
}

static void back(struct post *post)
{
	struct headcounts *h = ((struct part *)post)->of;
	free(post);
	if (!--h->away)
		h->done(h);
}

static void at_home(struct post *post)
{
	struct headcounts *h = ((struct part *)post)->of;
	count_here(h);
	post->run = back;
	worker_post(worker_at(h->from), post);
}

void headcount_ask(struct headcounts *h)
{
	uint64_t homes = 0, own = UINT64_C(1) << worker_self()->index;
	for (size_t i = 0; i < h->count; i++)
		homes |= UINT64_C(1) << worker_home(h->list[i].room)->index;
	h->from = worker_self()->index;
	h->away = (size_t)__builtin_popcountll(homes & ~own) + 1;
	for (uint64_t others = homes & ~own; others; others &= others - 1) {
		struct part *part = mem_new(struct part);
		*part = (struct part){{.run = at_home}, h};
		worker_post(worker_at(__builtin_ctzll(others)), &part->post);
	}
	count_here(h);
	if (!--h->away)
		h->done(h);
}
