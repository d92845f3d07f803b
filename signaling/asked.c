#include "signaling/asked.h"

#include "core/mem.h"

struct asking {
	struct place *place;
	struct call *call;
	asked_then *then;
};

static void answered(void *context, const struct backend_answer *answer)
{
	struct asking *a = context;
	struct place *p = a->place;
	a->then(p, a->call, answer);
	free(a);
	rooms_release(p);
}

struct json_out *asked_begin(const struct place *p, const struct call *c, enum backend_act act,
	struct backend_question **ret_q)
{
	struct json_out *o = backend_begin(act, c->who, ret_q);
	json_str(o, "room", p->name);
	return o;
}

void asked_first(struct place *p, struct call *c, struct backend_question *q, asked_then *then)
{
	struct asking *a = mem_new(struct asking);
	*a = (struct asking){p, c, then};
	rooms_hold(p);
	backend_ask(q, answered, a);
}
