#include "signaling/asked.h"

#include "core/mem.h"

#include <stdio.h>

struct asking {
	struct place *place; /* held for the answer; NULL: the call's turn has not come */
	struct call *call;
	asked_then *then;
	/* of one that was asked ahead */
	struct backend_question *question; /* NULL: here is its answer */
	struct backend_answer answer;
	char message[BACKEND_MESSAGE_MAX + 1], role[BACKEND_ROLE_MAX + 1];
};

static void go_on(struct asking *a, const struct backend_answer *answer)
{
	struct place *p = a->place;
	a->then(p, a->call, answer);
	free(a);
	rooms_release(p);
}

/* The answer's texts are gone with the question. */
static void note(struct asking *a, const struct backend_answer *answer)
{
	a->question = NULL;
	a->answer = *answer;
	if (answer->why.message) {
		snprintf(a->message, sizeof(a->message), "%s", answer->why.message);
		a->answer.why.message = a->message;
	}
	if (answer->role.n)
		memcpy(a->role, answer->role.p, answer->role.n);
	a->answer.role.p = a->role;
}

static void answered(void *context, const struct backend_answer *answer)
{
	struct asking *a = context;
	if (a->place)
		go_on(a, answer);
	else
		note(a, answer);
}

struct json_out *asked_begin(const struct place *p, const struct call *c, enum backend_act act,
	struct backend_question **ret_q)
{
	struct json_out *o = backend_begin(act, c->who, ret_q);
	json_str(o, "room", p->name);
	return o;
}

static void hold(struct asking *a, struct place *p, struct call *c, asked_then *then)
{
	a->place = p;
	a->call = c;
	a->then = then;
	rooms_hold(p);
}

void asked_first(struct place *p, struct call *c, struct backend_question *q, asked_then *then)
{
	struct asking *a = mem_new(struct asking);
	hold(a, p, c, then);
	backend_ask(q, answered, a);
}

struct asking *asked_ahead(struct backend_question *q)
{
	struct asking *a = mem_new(struct asking);
	a->question = q;
	backend_ask(q, answered, a);
	return a;
}

void asked_turn(struct place *p, struct call *c, struct asking **asking, asked_then *then)
{
	struct asking *a = *asking;
	*asking = NULL;
	if (a->question) {
		hold(a, p, c, then);
		return;
	}
	then(p, c, &a->answer);
	free(a);
}

void asked_drop(struct asking **asking)
{
	struct asking *a = *asking;
	*asking = NULL;
	if (!a)
		return;
	backend_cancel(&a->question);
	free(a);
}

void asked_heed_role(
	struct place *p, const struct principal *who, const struct backend_answer *answer)
{
	enum role role = role_parse(answer->role);
	if (p->room && role >= ROLE_VIEWER && role <= ROLE_MODERATOR &&
		!rules_are_full(p->rules, who->user))
		rules_put_role(rooms_rules(p), who->user, role);
}
