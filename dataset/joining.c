#include "dataset/tail_parts.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/metrics.h"

/* Who has joined: the shapes that live.h evaluates, with how many have joined each. All that a dataset has joined ends
 * with its life; what is asked of an earlier life (it was under way) changes nothing any more. */

enum { JOIN_MS = 20 }; /* for joins in one transaction */

struct joined {
	struct attached *attached;
	const struct shape *shape;
	size_t count;
};

static void answer(struct step_job *s, enum err err)
{
	if (err)
		s->err = err;
	s->job.post.run = step_home;
	post_home(worker_at(s->job.worker), &s->job.post);
}

void tail_join(struct post *p)
{
	struct tail *t = ((struct step_job *)p)->attached->database->tail;
	p->next = NULL;
	*t->last_join = p;
	t->last_join = &p->next;
	t->look = true;
}

static struct step_job *next_join(struct tail *t)
{
	struct post *p = t->joins;
	if (p) {
		t->joins = p->next;
		if (!t->joins)
			t->last_join = &t->joins;
	}
	return (struct step_job *)p;
}

void refuse_joins(struct tail *t)
{
	for (struct step_job *s; (s = next_join(t));)
		answer(s, ERR_OVERLOADED);
}

static struct str id_of(const struct shape *s)
{
	return (struct str){s->id, SHAPE_ID_BYTES};
}

struct attached *joined_to(const struct tail *t, const struct shape *shape)
{
	const struct joined *j = map_get(&t->joined, id_of(shape));
	return j ? j->attached : NULL;
}

static enum err add_joined(
	struct tail *t, struct attached *a, const struct shape *shape, const struct window *have)
{
	enum err err = live_add(t->live, shape, have);
	struct joined *j = map_get(&t->joined, id_of(shape));
	if (!err && !j) {
		j = mem_new(struct joined);
		j->attached = a;
		j->shape = shape_ref(shape);
		map_put(&t->joined, id_of(j->shape), j);
	}
	if (!err)
		j->count++;
	return err;
}

/* Of all who have joined it, or of one. */
static void remove_joined(struct tail *t, struct joined *j, bool all)
{
	do {
		live_remove(t->live, j->shape);
		j->count--;
	} while (all && j->count);
	if (j->count)
		return;
	map_remove(&t->joined, id_of(j->shape));
	shape_unref((struct shape **)&j->shape);
	free(j);
}

struct leaving {
	struct post post;
	struct attached *attached;
	const struct shape *shape;
	unsigned life;
};

/* Of an earlier life: that has ended already. */
static void leave(struct post *p)
{
	struct leaving *l = (struct leaving *)p;
	struct tail *t = l->attached->database->tail;
	struct joined *j = map_get(&t->joined, id_of(l->shape));
	if (j && l->life == l->attached->life)
		remove_joined(t, j, false);
	shape_unref((struct shape **)&l->shape);
	attached_unref(l->attached);
	free(l);
}

void tail_leave(struct attached *a, const struct shape *shape)
{
	struct leaving *l = mem_new(struct leaving);
	attached_ref(a);
	l->attached = a;
	l->shape = shape_ref(shape);
	l->life = a->heard_life;
	l->post.run = leave;
	inbox_post(&a->database->inbox, &l->post);
}

void end_life(struct tail *t, struct attached *a)
{
	struct joined *j;
	a->life++;
	for (bool found = true; found;) {
		found = false;
		for (size_t i = 0; !found && (j = map_next(&t->joined, &i));)
			found = j->attached == a;
		if (found)
			remove_joined(t, j, true);
	}
}

/* Its step comes from the file as the asker knows it: what has become of that since, other tidings say. And what is slow
 * is not read here. */
static void join(struct tail *t, struct step_job *s, const struct head *head)
{
	struct attached *a = s->attached;
	bool right = a->live && strcmp(s->epoch, head->epoch) == 0 &&
		s->shape->layout->version == a->version &&
		(s->at.seq == head->seq || !window_is_slow(s->at.have));
	metric_add(METRIC_DATASET_STEPS, 1);
	enum err err = right ? step_take(t->reading, s->shape, &s->at, &s->result) : ERR_OVERLOADED;
	if (!err && s->result->at_head && s->life != a->life)
		s->result->at_head = false; /* there was a leap on the way */
	else if (!err && s->result->at_head && s->result->reset == RESET_NONE)
		err = add_joined(t, a, s->shape, s->result->next.have);
	if (err)
		step_result_unref(&s->result);
	answer(s, err);
}

void join_some(struct tail *t, const struct head *head)
{
	int64_t until = clock_steady_ms() + JOIN_MS;
	for (struct step_job *s; clock_steady_ms() < until && (s = next_join(t));)
		join(t, s, head);
	t->look |= t->joins != NULL;
}
