/* The methods session.*: what a client asks of its session itself. */
#include "service/session_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "service/authn.h"
#include "service/quota.h"
#include "service/session_open.h"

void session_write_opened(struct json_out *o, const struct session *s, bool resumed)
{
	const struct session_options *options = session_limits();
	const struct principal *who = s->caller.who;
	json_open(o, NULL, '{');
	json_text(o, "session", s->id);
	json_bool(o, "resumed", resumed);
	json_int(o, "received", (int64_t)s->received);
	json_open(o, "user", '{');
	json_str(o, "id", who->user);
	json_str(o, "name", who->name);
	json_close(o, '}');
	scopes_write(o, who->scopes);
	json_int(o, "expires_at", who->expires_at);
	json_int(o, "resume_window", options->resume_window_ms / 1000);
	json_int(o, "ping_interval", options->ping_interval_s);
	json_open(o, "limits", '{');
	json_int(o, "message", (int64_t)options->message_bytes);
	json_int(o, "data", (int64_t)options->data_bytes);
	json_int(o, "batch", (int64_t)options->batch);
	json_int(o, "in_flight", options->in_flight);
	json_int(o, "rooms", (int64_t)options->rooms);
	json_int(o, "requests_per_second", pace_limits()->requests_per_second);
	json_int(o, "requests_burst", pace_limits()->requests_burst);
	json_int(o, "joins_per_second", pace_limits()->joins_per_second);
	json_int(o, "joins_burst", pace_limits()->joins_burst);
	json_close(o, '}');
	json_open(o, "server", '{');
	json_text(o, "name", "Signalbox");
	json_text(o, "version", SIGNALBOX_VERSION);
	json_close(o, '}');
	json_close(o, '}');
}

static struct session *of(const struct call *c)
{
	return (struct session *)addr_find(c->from);
}

static void run_open(struct call *c)
{
	call_refuse(c, ERR_CONFLICT, .reason = "already_open",
		.message = "This session is open already.");
}

static void run_ping(struct call *c)
{
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_int(o, "time", clock_unix_ms());
	json_close(o, '}');
	call_reply(c);
}

struct ack_params {
	struct param_int received;
};

static const struct field ack_fields[] = {
	FIELD(struct ack_params, received, INT, true, 0, INT64_MAX),
	{0},
};

static void run_ack(struct call *c)
{
	const struct ack_params *p = c->params;
	struct session *s = of(c);
	if ((uint64_t)p->received.n > s->sent) {
		call_refuse(c, ERR_PARAMS, .field = STR("received"), .limit = (int64_t)s->sent,
			.message = "Not so many messages have been sent.");
		return;
	}
	session_acknowledged(s, (uint64_t)p->received.n);
	call_reply_empty(c);
}

static void run_close(struct call *c)
{
	of(c)->closing = true;
	call_reply_empty(c);
}

struct refresh_params {
	struct str token;
};

static const struct field refresh_fields[] = {
	FIELD(struct refresh_params, token, STRING, true, 1, 8192),
	{0},
};

/* Seldom, and short: a session has no place for it. */
struct refresh {
	struct authn check; /* first: done() is told of it */
	struct session *session;
	struct call *call;
};

static struct call *take_refresh(struct session *s)
{
	struct call *c = s->refreshing->call;
	free(s->refreshing);
	s->refreshing = NULL;
	return c;
}

void session_refresh_drop(struct session *s)
{
	if (!s->refreshing)
		return;
	authn_cancel(&s->refreshing->check);
	call_refuse(take_refresh(s), ERR_GONE);
}

static void on_refreshed(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct session *s = ((struct refresh *)a)->session;
	struct call *c = take_refresh(s);
	const struct principal *old = s->caller.who;
	if (!err &&
		(!str_eq(who->user, old->user) || !str_eq(who->issuer, old->issuer) ||
			!str_eq(who->subject, old->subject))) {
		principal_unref(&who);
		call_refuse(c, ERR_FORBIDDEN, .reason = "other_subject",
			.message = "The new token is somebody else's.");
	} else if (err) {
		log_debug("refresh refused", LOG_TEXT("why", why), LOG_TEXT("session", s->handle));
		if (err == ERR_UNAUTHENTICATED && s->carrier)
			quota_token_failed(s->carrier->peer);
		call_refuse(c, err, .message = "The new token is not valid here.");
	} else {
		session_grant(s, who);
		principal_unref(&who);
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_int(o, "expires_at", s->caller.who->expires_at);
		scopes_write(o, s->caller.who->scopes);
		json_close(o, '}');
		call_reply(c);
	}
}

static void run_refresh(struct call *c)
{
	const struct refresh_params *p = c->params;
	struct session *s = of(c);
	if (s->refreshing) {
		call_refuse(c, ERR_CONFLICT, .message = "A refresh is under way already.");
		return;
	}
	struct refresh *r = s->refreshing = mem_new(struct refresh);
	*r = (struct refresh){.check.done = on_refreshed, .session = s, .call = c};
	authn_check(&r->check, p->token, STR("")); /* others' failures do not end it */
}

static const struct field no_fields[] = {{0}};

const struct method session_methods[] = {
	{"session.open", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS | METHOD_UNCOUNTED,
		session_open_fields, sizeof(struct session_open_params), run_open},
	{"session.refresh", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS, refresh_fields,
		sizeof(struct refresh_params), run_refresh},
	{"session.ack", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS | METHOD_UNCOUNTED,
		ack_fields, sizeof(struct ack_params), run_ack},
	{"session.ping", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS | METHOD_UNCOUNTED,
		no_fields, 0, run_ping},
	{"session.close", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS, no_fields, 0,
		run_close},
	{0},
};
