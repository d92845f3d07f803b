#include "service/session_gate.h"

#include "core/mem.h"
#include "service/quota.h"
#include "service/session_parts.h"

struct gate {
	struct carrier_owner owner; /* first */
	struct gate *next, **back;
	struct carrier *carrier; /* NULL: it has gone */
	struct principal *who;
	struct session_request request;
	struct session_name name;
	struct backend_question *question;
};

static _Thread_local struct gate *gates;
static _Thread_local bool draining;

/* ---- the events ---- */

static struct json_out *write_session(
	struct json_out *o, const char *handle, const struct principal *who)
{
	json_text(o, "session", handle);
	json_str(o, "user", who->user);
	json_str(o, "name", who->name);
	json_str(o, "client", who->client);
	return o;
}

static void collect_opened(struct hooks *h, const struct gate *g)
{
	struct str user = g->who->user;
	struct json_out *o = write_session(
		hook_begin(h, HOOK_SESSION_OPENED, "user", user), g->name.handle, g->who);
	json_str(o, "address", g->carrier->peer);
	hook_end(h);
	o = write_session(hook_live(h, str_of(g->name.handle), HOOK_SESSION_CLOSED, "user", user),
		g->name.handle, g->who);
	json_text(o, "reason", "crash");
	hook_end(h);
}

void gate_tell_closed(const char *handle, const struct principal *who, const char *reason)
{
	struct hooks h = {0};
	if (!hook_wanted(HOOK_SESSION_OPENED) && !hook_wanted(HOOK_SESSION_CLOSED))
		return;
	struct json_out *o =
		write_session(hook_begin(&h, HOOK_SESSION_CLOSED, "user", who->user), handle, who);
	json_text(o, "reason", reason);
	hook_end(&h);
	hook_over(&h, str_of(handle));
	hook_tell(&h);
}

/* ---- through, or not ---- */

static struct carrier *leave(struct gate *g)
{
	struct carrier *carrier = g->carrier;
	g->carrier = NULL;
	if (carrier)
		carrier_own(carrier, NULL);
	return carrier;
}

static void gate_free(struct gate *g)
{
	*g->back = g->next;
	if (g->next)
		g->next->back = g->back;
	backend_cancel(&g->question);
	session_request_free(&g->request);
	principal_unref(&g->who);
	free(g);
}

static void refuse(
	struct gate *g, enum err err, const struct refusal *why, uint16_t code, const char *reason)
{
	struct carrier *carrier = leave(g);
	if (carrier) {
		session_refuse(carrier, g->request.id, err, why);
		carrier_close(carrier, code, reason);
	}
	quota_session_ended(g->who->user);
	gate_free(g);
}

static void through(struct gate *g)
{
	struct carrier *carrier = leave(g);
	if (carrier && !draining) {
		session_admit(carrier, g->who, &g->request, &g->name);
	} else {
		if (carrier)
			carrier_close(carrier, 1001, "going away");
		gate_tell_closed(g->name.handle, g->who, "lost");
		quota_session_ended(g->who->user);
	}
	gate_free(g);
}

static void kept(struct store_op *op)
{
	struct gate *g = op->context;
	if (op->err)
		refuse(g, op->err, &(struct refusal){0}, 3008, "try again");
	else
		through(g);
}

static void tell(struct gate *g)
{
	struct hooks h = {0};
	if (!g->carrier) { /* nobody is there any more: it never was */
		refuse(g, ERR_GONE, NULL, 0, "");
		return;
	}
	if (hook_wanted(HOOK_SESSION_OPENED) || hook_wanted(HOOK_SESSION_CLOSED)) {
		collect_opened(&h, g);
		hook_keep(&h, kept, g);
	} else {
		through(g);
	}
}

static void answered(void *context, const struct backend_answer *answer)
{
	struct gate *g = context;
	g->question = NULL;
	if (!answer->err)
		tell(g);
	else if (answer->err == ERR_FORBIDDEN)
		refuse(g, ERR_FORBIDDEN, &answer->why, 3003, "forbidden");
	else
		refuse(g, answer->err, &answer->why, 3008, "try again");
}

/* ---- the connection meanwhile ---- */

static void on_text(struct carrier_owner *owner, struct str text)
{
	struct gate *g = (struct gate *)owner;
	struct carrier *carrier = leave(g);
	(void)text;
	session_refuse(carrier, STR(""), ERR_UNAUTHENTICATED,
		&(struct refusal){.message = "Wait for the answer to session.open."});
	carrier_close(carrier, 3000, "a call before the session was open");
}

static void on_closed(struct carrier_owner *owner, uint16_t code)
{
	(void)code;
	((struct gate *)owner)->carrier = NULL;
}

static const struct carrier_events events = {.text = on_text, .closed = on_closed};

void gate_enter(struct carrier *carrier, struct principal *who, const struct session_request *r,
	const struct session_name *name)
{
	struct gate *g = mem_new(struct gate);
	*g = (struct gate){.owner = {&events},
		.next = gates,
		.back = &gates,
		.carrier = carrier,
		.who = principal_ref(who),
		.request = session_request_copy(r),
		.name = *name};
	if (g->next)
		g->next->back = &g->next;
	gates = g;
	carrier_own(carrier, &g->owner);
	if (!backend_asked(BACKEND_CONNECT)) {
		tell(g);
		return;
	}
	struct json_out *o = backend_begin(BACKEND_CONNECT, who, &g->question);
	json_str(o, "client", who->client);
	json_str(o, "address", carrier->peer);
	backend_ask(g->question, answered, g);
}

/* ---- the worker's part ---- */

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
}

static bool drained(struct worker *w)
{
	(void)w;
	return !gates;
}

static void stop(struct worker *w)
{
	(void)w;
	while (gates) {
		if (gates->carrier)
			carrier_own(gates->carrier, NULL);
		quota_session_ended(gates->who->user);
		gate_free(gates);
	}
}

const struct worker_part gate_part = {
	.name = "gate", .drain = drain, .drained = drained, .stop = stop};
