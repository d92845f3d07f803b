#include "service/opening.h"

#include "core/mem.h"
#include "service/authn.h"
#include "service/dispatch.h"
#include "service/quota.h"
#include "service/relay.h"
#include "service/session.h"

#include <stdio.h>

enum { SWEEP_MS = 1000 };

struct opening {
	struct carrier_owner owner;
	struct endpoint endpoint; /* only its address is used */
	struct opening *next, **back;
	char peer[IP_TEXT_MAX];
	struct carrier *carrier;
	uint64_t born_ms;
	bool checking, over;
	bool proving; /* the handshake's token is being checked, */
	bool asked;   /* and session.open has come meanwhile */
	struct authn check;
	struct principal *upgrade; /* from the handshake's Authorization */
	struct session_request request;
};

static struct opening_options options;
static _Thread_local struct opening *openings, *ended;
static _Thread_local uv_timer_t sweeper;
static _Thread_local bool draining;

void opening_configure(const struct opening_options *o)
{
	options = *o;
}

/* ---- the end ---- */

static void move_to(struct opening **list, struct opening *o)
{
	if (o->back)
		*o->back = o->next;
	if (o->back && o->next)
		o->next->back = o->back;
	o->back = list;
	o->next = *list;
	if (o->next)
		o->next->back = &o->next;
	*list = o;
}

/* Marked only, whoever called may still use it; buried at the end of the turn. */
static void end(struct opening *o, uint16_t code, const char *reason)
{
	if (o->over)
		return;
	o->over = true;
	authn_cancel(&o->check); /* there is nobody any more to answer */
	if (o->carrier)
		carrier_close(o->carrier, code, reason);
	o->carrier = NULL;
	move_to(&ended, o);
}

static void bury(struct opening *o)
{
	ended = o->next;
	if (ended)
		ended->back = &ended;
	principal_unref(&o->upgrade);
	session_request_free(&o->request);
	addr_release(&o->endpoint, true);
	quota_opening_ended(str_of(o->peer));
	free(o);
}

static void no_event(struct endpoint *e, struct frame *f)
{
	(void)e;
	frame_unref(&f);
}

static const struct endpoint_ops endpoint_ops = {.event = no_event};

static struct opening *of_endpoint(struct endpoint *e)
{
	return (struct opening *)(void *)((char *)e - offsetof(struct opening, endpoint));
}

static void refuse(struct opening *o, enum err err, const struct refusal *why)
{
	session_refuse(o->carrier, o->request.id, err, why);
}

/* ---- session.open ---- */

/* The carrier leaves: this opening is over. */
static struct carrier *give_away(struct opening *o)
{
	struct carrier *carrier = o->carrier;
	o->carrier = NULL;
	o->over = true;
	move_to(&ended, o);
	carrier_own(carrier, NULL);
	carrier->opened = true;
	return carrier;
}

/* What travels to the worker of the session that is to be resumed, and back with its word. */
struct claim {
	struct post post;
	struct addr from; /* the opening */
	struct session_request request;
	struct principal *who;
	enum resume resume;
};

static void free_claim(struct claim *claim)
{
	session_request_free(&claim->request);
	principal_unref(&claim->who);
	free(claim);
}

static void on_arrived(struct carrier *carrier, void *context)
{
	struct claim *claim = context;
	session_resume(carrier, claim->who, &claim->request);
	free_claim(claim);
}

static void run_claimed(struct post *p)
{
	struct claim *claim = (struct claim *)p;
	struct endpoint *e = addr_find(claim->from);
	struct opening *o = e ? of_endpoint(e) : NULL;
	if (!o || o->over) {
		free_claim(claim);
	} else if (claim->resume == RESUME_SUPERSEDED) {
		session_refuse_superseded(give_away(o), &claim->request);
		free_claim(claim);
	} else if (claim->resume == RESUME_YES) {
		struct worker *home = session_home(claim->request.session);
		relay_make(give_away(o), home->index, on_arrived, claim);
	} else {
		session_begin(give_away(o), claim->who, &claim->request);
		free_claim(claim);
	}
}

static void run_claim(struct post *p)
{
	struct claim *claim = (struct claim *)p;
	claim->resume = session_can_resume(&claim->request, claim->who);
	claim->post.run = run_claimed;
	worker_post(worker_at(claim->from.worker), &claim->post);
}

static void become(struct opening *o, struct principal *who)
{
	struct worker *home = o->request.resumes ? session_home(o->request.session) : NULL;
	o->request.born_ns = o->carrier->born_ns;
	if (!home) {
		session_begin(give_away(o), who, &o->request);
	} else if (home == worker_self()) {
		session_resume(give_away(o), who, &o->request);
	} else {
		struct claim *claim = mem_new(struct claim);
		*claim = (struct claim){.post = {.run = run_claim},
			.from = o->endpoint.addr,
			.request = session_request_copy(&o->request),
			.who = principal_ref(who)};
		o->checking = true;
		worker_post(home, &claim->post);
	}
}

/* The handshake's token is good: as if it had been known at once. */
static void proven(struct opening *o, struct principal *who)
{
	o->upgrade = who;
	o->proving = false;
	if (o->asked)
		become(o, o->upgrade);
	o->asked = false;
}

/* To session.open, if it has come. */
static void answer(struct opening *o, enum err err, const struct refusal *why)
{
	if (!o->proving || o->asked)
		refuse(o, err, why);
}

static void on_checked(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct opening *o = (struct opening *)(void *)((char *)a - offsetof(struct opening, check));
	o->checking = false;
	if (!err && o->proving) {
		proven(o, who);
		return;
	}
	if (!err) {
		become(o, who);
		principal_unref(&who);
		return;
	}
	(void)why; /* the check has said it */
	if (err == ERR_OVERLOADED) {
		answer(o, err,
			&(struct refusal){.retry_after = 5,
				.message = "The token cannot be checked now; try again."});
		end(o, 3008, "try again");
	} else if (err == ERR_RATE_LIMITED) {
		struct refusal full = {.reason = "too_many_failures", .retry_after = 1};
		quota_token(o->carrier->peer, &full);
		answer(o, err, &full);
		end(o, 3008, "try again later");
	} else if (err == ERR_FORBIDDEN) {
		answer(o, err, &(struct refusal){0});
		end(o, 3003, "forbidden");
	} else {
		answer(o, ERR_UNAUTHENTICATED,
			&(struct refusal){.reason = "invalid_token",
				.message = "The token is not valid here; get a new one."});
		end(o, 3000, "unauthorized");
	}
}

static void open_session(struct opening *o, struct str params)
{
	struct params_problem problem = {0};
	struct str token = {0};
	enum err err = session_request_read(&o->request, params, &token, &problem);
	if (err) {
		char message[128];
		snprintf(message, sizeof(message), "The parameter %s.", problem.message);
		refuse(o, err,
			&(struct refusal){.message = message,
				.field = problem.field,
				.limit = problem.limit});
	} else if ((o->upgrade || o->proving) && token.n) {
		refuse(o, ERR_PARAMS,
			&(struct refusal){.field = STR("token"),
				.reason = "two_credentials",
				.message = "The handshake carried a token already; send one, not "
					   "two."});
		end(o, 3000, "two credentials");
	} else if (o->proving) {
		o->asked = true;
	} else if (!o->upgrade && !token.n) {
		refuse(o, ERR_UNAUTHENTICATED,
			&(struct refusal){
				.field = STR("token"), .message = "Send a token in session.open."});
		end(o, 3000, "unauthorized");
	} else if (o->upgrade) {
		become(o, o->upgrade);
	} else {
		o->checking = true;
		authn_check(&o->check, token, o->carrier->peer);
	}
}

/* The first message of a connection: session.open and nothing else. */
static void on_text(struct carrier_owner *owner, struct str text)
{
	struct opening *o = (struct opening *)owner;
	struct envelope e = {.err = ERR_PARSE};
	struct json_outline outline;
	if (o->checking || o->asked) {
		refuse(o, ERR_UNAUTHENTICATED,
			&(struct refusal){.message = "Wait for the answer to session.open."});
		end(o, 3000, "a call before the session was open");
		return;
	}
	if (!json_check_outline(text, NULL, &outline)) {
		e = envelope_read(json_trim(text), &outline);
	} else if (!str_utf8_valid(text)) {
		end(o, 1007, "the text is not UTF-8");
		return;
	}
	session_request_name(&o->request, e.id);
	bool opens = !e.err && !e.response && json_string_is(e.method, "session.open");
	if (e.err)
		refuse(o, e.err, &(struct refusal){.message = e.why});
	else if (opens && !e.id.n)
		refuse(o, ERR_REQUEST, &(struct refusal){.message = "session.open needs an id."});
	else if (opens)
		open_session(o, e.params);
	else
		refuse(o, ERR_UNAUTHENTICATED,
			&(struct refusal){.message = "Call session.open first."});
}

static void on_closed(struct carrier_owner *owner, uint16_t code)
{
	(void)code;
	struct opening *o = (struct opening *)owner;
	o->carrier = NULL;
	end(o, 0, "");
}

static const struct carrier_events events = {.text = on_text, .closed = on_closed};

static struct opening *opening_new(struct carrier *carrier, const struct principal *who)
{
	if (draining) {
		carrier_close(carrier, 1001, "going away");
		return NULL;
	}
	struct opening *o = mem_new(struct opening);
	o->owner.events = &events;
	o->carrier = carrier;
	memcpy(o->peer, carrier->peer.p,
		carrier->peer.n < sizeof(o->peer) ? carrier->peer.n : sizeof(o->peer) - 1);
	quota_opening_begun(str_of(o->peer));
	o->born_ms = worker_now_ms();
	o->check.done = on_checked;
	o->upgrade = who ? principal_ref(who) : NULL;
	addr_register(&o->endpoint, &endpoint_ops);
	move_to(&openings, o);
	carrier_own(carrier, &o->owner);
	return o;
}

void opening_begin(struct carrier *carrier, const struct principal *who)
{
	opening_new(carrier, who);
}

void opening_prove(struct carrier *carrier, struct str token)
{
	struct opening *o = opening_new(carrier, NULL);
	if (!o)
		return;
	o->proving = true;
	authn_check(&o->check, token, carrier->peer);
}

void opening_enter(
	struct carrier *carrier, struct principal *who, const struct session_request *request)
{
	struct opening *o = opening_new(carrier, who);
	if (!o)
		return;
	o->request = session_request_copy(request);
	become(o, who);
}

void openings_withdraw(void)
{
	enum withdrawal_kind kind;
	for (struct opening *o = openings, *next; o; o = next) {
		next = o->next;
		if (o->upgrade && withdrawals_fit(o->upgrade, &kind))
			end(o, 4501, withdrawal_reason(kind));
	}
}

/* ---- the worker's part ---- */

static void on_sweep(uv_timer_t *timer)
{
	uint64_t now = uv_now(timer->loop);
	for (struct opening *o = openings, *next; o; o = next) {
		next = o->next;
		if (now - o->born_ms >= (uint64_t)options.timeout_ms)
			end(o, 3008, "no session.open in time");
	}
}

static enum err start(struct worker *w)
{
	uv_timer_init(&w->loop, &sweeper);
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	return ERR_OK;
}

static void turn(struct worker *w)
{
	(void)w;
	while (ended)
		bury(ended);
}

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	while (openings)
		end(openings, 1001, "the service is stopping");
}

static void stop(struct worker *w)
{
	turn(w);
	uv_close((uv_handle_t *)&sweeper, NULL);
}

const struct worker_part opening_part = {
	.name = "openings", .start = start, .drain = drain, .stop = stop, .turn = turn};
