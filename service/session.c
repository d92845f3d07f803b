#include "service/session.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/authn.h"
#include "service/conn.h"
#include "service/directory.h"
#include "service/dispatch.h"
#include "service/kept.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <time.h>

enum {
	FIRST_MESSAGE_MAX = 16 * 1024,
	SESSION_ID_MAX = 40,
	ACK_MESSAGES = 64,
	ACK_BYTES = 64 * 1024,
	ACK_MS = 5000,
	SWEEP_MS = 1000,
	EXPIRING_S = 60, /* told so long before the token's end */
	EXPIRED_GRACE_S = 25,
	HELD_MAX_BYTES = 1 << 20,
};

enum state {
	UNOPENED, /* a connection that has not said who it is */
	CHECKING, /* its token is being checked */
	OPEN,
	ENDING, /* swept at the end of this turn */
};

struct session {
	struct caller caller; /* registered while OPEN */
	struct session *next, **back;
	enum state state;
	struct conn *conn; /* NULL: the connection is gone */
	uint64_t born_ms;
	char id[SESSION_ID_MAX];

	/* the opening */
	struct authn check;
	struct principal *upgrade; /* from the handshake's Authorization */
	struct str open_id;        /* of the request that opens or refreshes; own copy */
	bool batch;

	/* counting */
	uint64_t received, received_told; /* of those, how many the client knows of */
	size_t received_bytes;            /* since then */
	uint64_t received_at_ms;          /* when the first of them came */
	uint64_t sent;
	struct kept kept;

	/* events that wait for an answer that must precede them */
	struct frame **held;
	size_t held_count, held_room, held_bytes;

	struct call *refreshing;
	bool told_expiring;

	/* the end */
	bool was_open, clean;
	uint16_t code;
	const char *reason;
};

static struct session_options options;
static _Thread_local struct session *sessions;
static _Thread_local struct session *ended; /* linked by next, not in sessions any more */
static _Thread_local uv_timer_t sweeper;
static _Thread_local bool draining;

void session_configure(const struct session_options *o)
{
	options = *o;
}

static uint64_t now_ms(void)
{
	return uv_now(&worker_self()->loop);
}

/* ---- life ---- */

static void link_to(struct session **list, struct session *s)
{
	s->back = list;
	s->next = *list;
	if (s->next)
		s->next->back = &s->next;
	*list = s;
}

static void unlink_from(struct session *s)
{
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
}

/* Marks it and nothing more: whoever called may still be using it. bury() follows at the end of
 * the turn. */
static void end(struct session *s, bool clean, uint16_t code, const char *reason)
{
	if (s->state == ENDING)
		return;
	s->was_open = s->state == OPEN;
	s->state = ENDING;
	s->clean = clean;
	s->code = code;
	s->reason = reason;
	unlink_from(s);
	link_to(&ended, s);
}

static void close_caller(struct session *s)
{
	log_info("session ended", LOG_TEXT("session", s->id), LOG_STR("user", s->caller.who->user),
		LOG_TEXT("why", s->reason));
	directory_remove(s->caller.who->user, s->caller.endpoint.addr);
	caller_end(&s->caller, s->clean);
	metric_add(METRIC_SESSIONS, -1);
}

static void bury(struct session *s)
{
	unlink_from(s);
	authn_cancel(&s->check);
	if (s->refreshing)
		call_refuse(s->refreshing, ERR_GONE);
	if (s->was_open)
		close_caller(s);
	if (s->conn) {
		*conn_owner(s->conn) = NULL;
		conn_close(s->conn, s->code, s->reason);
	}
	for (size_t i = 0; i < s->held_count; i++)
		frame_unref(&s->held[i]);
	free(s->held);
	kept_free(&s->kept);
	principal_unref(&s->upgrade);
	free((char *)(uintptr_t)s->open_id.p);
	free(s);
}

void session_end_at(struct addr session, uint16_t code, const char *reason)
{
	struct session *s = (struct session *)addr_find(session);
	if (s)
		end(s, false, code, reason);
}

/* ---- out ---- */

/* What is counted is kept until the client has acknowledged it. */
static void count_out(struct session *s, struct frame *f)
{
	s->sent++;
	kept_add(&s->kept, f, options.kept_messages, options.kept_bytes);
}

static void transmit(struct session *s, struct frame *f, bool counted)
{
	if (counted)
		count_out(s, f);
	if (s->conn)
		conn_send(s->conn, f, false);
	else
		frame_unref(&f);
}

static void release_held(struct session *s)
{
	for (size_t i = 0; i < s->held_count; i++)
		transmit(s, s->held[i], true);
	free(s->held);
	s->held = NULL;
	s->held_count = s->held_room = s->held_bytes = 0;
}

static void on_event(struct caller *c, struct frame *f)
{
	struct session *s = (struct session *)c;
	if (!c->holding) {
		transmit(s, f, true);
		return;
	}
	if (s->held_count == s->held_room) {
		s->held_room = s->held_room ? s->held_room * 2 : 8;
		s->held = mem_resize(s->held, s->held_room, sizeof(*s->held));
	}
	s->held[s->held_count++] = f;
	s->held_bytes += f->size;
	if (s->held_bytes > HELD_MAX_BYTES)
		end(s, false, 4002, "too much is waiting behind a batch");
}

/* The replies to a batch come in one array; when that would be too large, in several messages. */
static void send_array(struct session *s, struct answer *list, size_t count)
{
	struct frame *array = frames_join(list, count);
	for (size_t i = 0; i < count; i++) {
		if (list[i].counted)
			count_out(s, list[i].frame);
		if (!array && s->conn)
			conn_send(s->conn, frame_ref(list[i].frame), true);
		frame_unref(&list[i].frame);
	}
	if (array && s->conn)
		conn_send(s->conn, array, true);
	else if (array)
		frame_unref(&array);
}

static void on_answers(struct caller *c, struct answer *list, size_t count, bool array)
{
	struct session *s = (struct session *)c;
	if (array && count)
		send_array(s, list, count);
	else if (count)
		transmit(s, list[0].frame, list[0].counted);
	if (!c->holding)
		release_held(s);
}

static const struct caller_ops caller_ops = {.answers = on_answers, .event = on_event};

static void send_event(struct session *s, struct event *e, bool counted)
{
	struct frame *f = event_take(e);
	if (f && counted)
		on_event(&s->caller, f);
	else if (f)
		transmit(s, f, false);
}

static void send_ack(struct session *s)
{
	struct event e;
	event_begin(&e, "session.ack");
	json_int(&e.params, "received", (int64_t)s->received);
	send_event(s, &e, false);
	s->received_told = s->received;
	s->received_bytes = 0;
}

/* ---- opening ---- */

struct open_params {
	struct str token, client, resume;
	struct param_bool batch;
};

static const struct field open_fields[] = {
	FIELD(struct open_params, token, STRING, false, 1, 8192),
	FIELD(struct open_params, batch, BOOL, false, 0, 0),
	FIELD(struct open_params, client, OBJECT, false, 0, 1024),
	FIELD(struct open_params, resume, OBJECT, false, 0, 1024),
	{0},
};

struct client_params {
	struct str name, version;
};

static const struct field client_fields[] = {
	FIELD(struct client_params, name, STRING, true, 1, 64),
	FIELD(struct client_params, version, STRING, false, 1, 64),
	{0},
};

struct resume_params {
	struct str session;
	struct param_int received;
};

static const struct field resume_fields[] = {
	FIELD(struct resume_params, session, STRING, true, 1, 128),
	FIELD(struct resume_params, received, INT, true, 0, INT64_MAX),
	{0},
};

static void write_scopes(struct json_out *o, uint32_t scopes)
{
	json_open(o, "scopes", '[');
	for (unsigned bit = 0; bit < SCOPE_BITS; bit++)
		if (scopes & 1u << bit)
			json_text(o, NULL, scope_word((enum scope)(1u << bit)));
	json_close(o, ']');
}

static void write_opened(struct json_out *o, const struct session *s)
{
	const struct principal *who = s->caller.who;
	json_open(o, NULL, '{');
	json_text(o, "session", s->id);
	json_bool(o, "resumed", false);
	json_int(o, "received", (int64_t)s->received);
	json_open(o, "user", '{');
	json_str(o, "id", who->user);
	json_str(o, "name", who->name);
	json_close(o, '}');
	write_scopes(o, who->scopes);
	json_int(o, "expires_at", who->expires_at);
	json_int(o, "resume_window", options.resume_window_s);
	json_int(o, "ping_interval", options.ping_interval_s);
	json_open(o, "limits", '{');
	json_int(o, "message", (int64_t)options.message_bytes);
	json_int(o, "data", (int64_t)options.data_bytes);
	json_int(o, "batch", (int64_t)options.batch);
	json_int(o, "in_flight", options.in_flight);
	json_int(o, "rooms", (int64_t)options.rooms);
	json_close(o, '}');
	json_open(o, "server", '{');
	json_text(o, "name", "Signalbox");
	json_text(o, "version", SIGNALBOX_VERSION);
	json_close(o, '}');
	json_close(o, '}');
}

static void send_opened(struct session *s)
{
	struct buf b = frame_buf();
	struct json_out o = JSON_OUT(&b);
	json_open(&o, NULL, '{');
	json_raw(&o, "jsonrpc", STR("\"2.0\""));
	json_raw(&o, "id", s->open_id);
	json_raw(&o, "result", STR(""));
	o.comma = false;
	write_opened(&o, s);
	json_close(&o, '}');
	conn_send(s->conn, frame_take(&b), true);
}

static void name_session(struct session *s)
{
	unsigned char random[16];
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort();
	int n = snprintf(s->id, sizeof(s->id), "%d.", worker_self()->index);
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(s->id + n, sizeof(s->id) - (size_t)n, "%02x", random[i]);
}

/* Answers the request that should have opened the session. */
static void refuse_open(struct session *s, enum err err, const struct refusal *why)
{
	struct frame *f = error_frame(s->open_id, err, why);
	conn_send(s->conn, f, true);
}

static void opened(struct session *s, struct principal *who)
{
	s->state = OPEN;
	name_session(s);
	s->caller.is_session = true;
	caller_begin(&s->caller, &caller_ops, who);
	directory_add(who->user, s->caller.endpoint.addr);
	conn_set_batching(s->conn, s->batch);
	metric_add(METRIC_SESSIONS, 1);
	log_info("session opened", LOG_TEXT("session", s->id), LOG_STR("user", who->user),
		LOG_STR("client", who->client), LOG_STR("address", conn_peer(s->conn)));
	send_opened(s);
}

static void on_checked(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct session *s = (struct session *)(void *)((char *)a - offsetof(struct session, check));
	if (!err) {
		opened(s, who);
		principal_unref(&who);
		return;
	}
	metric_add(METRIC_AUTH_FAILED, 1);
	log_warn("session refused", LOG_TEXT("why", why), LOG_STR("address", conn_peer(s->conn)));
	if (err == ERR_OVERLOADED) {
		refuse_open(s, err,
			&(struct refusal){.retry_after = 5,
				.message = "The token cannot be checked now; try again."});
		end(s, false, 3008, "try again");
	} else if (err == ERR_FORBIDDEN) {
		refuse_open(s, err, &(struct refusal){0});
		end(s, false, 3003, "forbidden");
	} else {
		refuse_open(s, ERR_UNAUTHENTICATED,
			&(struct refusal){.reason = "invalid_token",
				.message = "The token is not valid here; get a new one."});
		end(s, false, 3000, "unauthorized");
	}
}

static enum err nested(
	struct str object, const struct field *fields, void *out, struct params_problem *problem)
{
	return object.n ? params_decode(object, fields, out, problem) : ERR_OK;
}

/* Reads the params of session.open; text is ours to change. */
static enum err read_open(struct str text, struct open_params *p, struct params_problem *problem)
{
	struct client_params client = {0};
	struct resume_params resume = {0};
	enum err err = params_decode(text, open_fields, p, problem);
	if (!err)
		err = nested(p->client, client_fields, &client, problem);
	if (!err)
		err = nested(p->resume, resume_fields, &resume, problem);
	return err;
}

static void open_session(struct session *s, struct str params)
{
	struct open_params p = {0};
	struct params_problem problem = {0};
	char *text = mem_copy(params.n ? params : STR("{}"));
	enum err err = read_open(str_of(text), &p, &problem);
	if (err) {
		char message[128];
		snprintf(message, sizeof(message), "The parameter %s.", problem.message);
		refuse_open(s, err,
			&(struct refusal){.message = message,
				.field = problem.field,
				.limit = problem.limit});
	} else if (s->upgrade && p.token.n) {
		refuse_open(s, ERR_PARAMS,
			&(struct refusal){.field = STR("token"),
				.reason = "two_credentials",
				.message = "The handshake carried a token already; send one, not "
					   "two."});
		end(s, false, 3000, "two credentials");
	} else if (!s->upgrade && !p.token.n) {
		refuse_open(s, ERR_UNAUTHENTICATED,
			&(struct refusal){
				.field = STR("token"), .message = "Send a token in session.open."});
		end(s, false, 3000, "unauthorized");
	} else {
		s->batch = p.batch.yes;
		s->state = CHECKING;
		if (s->upgrade)
			opened(s, s->upgrade);
		else
			authn_check(&s->check, p.token);
	}
	free(text);
}

/* The first message of a connection: session.open and nothing else. */
static void first_message(struct session *s, struct str text)
{
	struct envelope e = {.err = ERR_PARSE};
	if (text.n > FIRST_MESSAGE_MAX) {
		end(s, false, 1009, "the first message is too big");
		return;
	}
	if (!json_check(text, NULL))
		e = envelope_read(json_trim(text));
	free((char *)(uintptr_t)s->open_id.p);
	s->open_id = (struct str){mem_copy(e.id), e.id.n};
	bool opens = !e.err && !e.response && json_string_is(e.method, "session.open");
	if (e.err)
		refuse_open(s, e.err, &(struct refusal){.message = e.why});
	else if (opens && !e.id.n)
		refuse_open(
			s, ERR_REQUEST, &(struct refusal){.message = "session.open needs an id."});
	else if (opens)
		open_session(s, e.params);
	else
		refuse_open(s, ERR_UNAUTHENTICATED,
			&(struct refusal){.message = "Call session.open first."});
}

/* ---- in ---- */

void session_conn_opened(struct conn *c, struct principal *who)
{
	struct session *s = mem_new(struct session);
	s->conn = c;
	s->born_ms = now_ms();
	s->check.done = on_checked;
	s->upgrade = who ? principal_ref(who) : NULL;
	s->open_id = (struct str){mem_copy(STR("")), 0};
	*conn_owner(c) = s;
	link_to(&sessions, s);
	if (draining)
		end(s, false, 1001, "going away");
}

void session_conn_text(struct conn *c, struct str text)
{
	struct session *s = *conn_owner(c);
	if (!s || s->state == ENDING)
		return;
	if (s->state == UNOPENED) {
		first_message(s, text);
		return;
	}
	if (s->state ==
		CHECKING) { /* one credential is being checked: nothing may come meanwhile */
		refuse_open(s, ERR_UNAUTHENTICATED,
			&(struct refusal){.message = "Wait for the answer to session.open."});
		end(s, false, 3000, "a call before the session was open");
		return;
	}
	unsigned counted = dispatch(&s->caller, text);
	if (counted && s->received == s->received_told)
		s->received_at_ms = now_ms();
	s->received += counted;
	s->received_bytes += text.n;
	if (s->state == OPEN &&
		(s->received - s->received_told >= ACK_MESSAGES || s->received_bytes >= ACK_BYTES))
		send_ack(s);
}

void session_conn_closed(struct conn *c, uint16_t code)
{
	struct session *s = *conn_owner(c);
	if (!s)
		return;
	s->conn = NULL;
	end(s, code == 1000, 0, code == 1000 ? "closed" : "lost");
}

/* ---- methods ---- */

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
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	json_open(o, NULL, '{');
	json_int(o, "time", now.tv_sec * 1000 + now.tv_nsec / 1000000);
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
	kept_ack(&s->kept, (uint64_t)p->received.n);
	call_reply_empty(c);
}

static void run_close(struct call *c)
{
	struct session *s = of(c);
	call_reply_empty(c);
	end(s, true, 1000, "closed");
}

struct refresh_params {
	struct str token;
};

static const struct field refresh_fields[] = {
	FIELD(struct refresh_params, token, STRING, true, 1, 8192),
	{0},
};

static void on_refreshed(struct authn *a, enum err err, struct principal *who, const char *why)
{
	struct session *s = (struct session *)(void *)((char *)a - offsetof(struct session, check));
	struct call *c = s->refreshing;
	s->refreshing = NULL;
	const struct principal *old = s->caller.who;
	if (!err &&
		(!str_eq(who->user, old->user) || !str_eq(who->issuer, old->issuer) ||
			!str_eq(who->subject, old->subject))) {
		principal_unref(&who);
		call_refuse(c, ERR_FORBIDDEN, .reason = "other_subject",
			.message = "The new token is somebody else's.");
	} else if (err) {
		log_warn("refresh refused", LOG_TEXT("why", why), LOG_TEXT("session", s->id));
		call_refuse(c, err, .message = "The new token is not valid here.");
	} else {
		principal_unref(&s->caller.who);
		s->caller.who = who;
		s->told_expiring = false;
		struct json_out *o = call_result(c);
		json_open(o, NULL, '{');
		json_int(o, "expires_at", who->expires_at);
		write_scopes(o, who->scopes);
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
	s->refreshing = c;
	s->check.done = on_refreshed;
	authn_check(&s->check, p->token);
}

static const struct field no_fields[] = {{0}};

const struct method session_methods[] = {
	{"session.open", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_UNCOUNTED, open_fields,
		sizeof(struct open_params), run_open},
	{"session.refresh", SCOPE_NONE, HOME_CALLER, METHOD_SESSION, refresh_fields,
		sizeof(struct refresh_params), run_refresh},
	{"session.ack", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_UNCOUNTED, ack_fields,
		sizeof(struct ack_params), run_ack},
	{"session.ping", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_UNCOUNTED, no_fields, 0,
		run_ping},
	{"session.close", SCOPE_NONE, HOME_CALLER, METHOD_SESSION, no_fields, 0, run_close},
	{0},
};

/* ---- time ---- */

static void look_after_token(struct session *s, int64_t now)
{
	int64_t left = s->caller.who->expires_at - now;
	if (left <= -EXPIRED_GRACE_S) {
		end(s, false, 4001, "the token has expired");
	} else if (left <= EXPIRING_S && !s->told_expiring) {
		s->told_expiring = true;
		struct event e;
		event_begin(&e, "session.expiring");
		json_int(&e.params, "expires_at", s->caller.who->expires_at);
		send_event(s, &e, true);
	}
}

static void on_sweep(uv_timer_t *timer)
{
	(void)timer;
	uint64_t ms = now_ms();
	int64_t now = (int64_t)time(NULL);
	for (struct session *s = sessions, *next; s; s = next) {
		next = s->next;
		if (s->state == OPEN) {
			if (s->received != s->received_told && ms - s->received_at_ms >= ACK_MS)
				send_ack(s);
			look_after_token(s, now);
		} else if (ms - s->born_ms >= (uint64_t)options.open_timeout_ms) {
			end(s, false, 3008, "no session.open in time");
		}
	}
}

static void turn(struct worker *w)
{
	(void)w;
	while (ended)
		bury(ended);
	conn_flush_all();
}

static enum err start(struct worker *w)
{
	draining = false;
	uv_timer_init(&w->loop, &sweeper);
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
	return ERR_OK;
}

static void drain(struct worker *w)
{
	(void)w;
	draining = true;
	while (sessions)
		end(sessions, false, 1001, "the service is stopping");
}

static bool drained(struct worker *w)
{
	(void)w;
	return !sessions && !ended && !conn_count();
}

static void stop(struct worker *w)
{
	turn(w);
	uv_close((uv_handle_t *)&sweeper, NULL);
}

const struct worker_part session_part = {.name = "sessions",
	.start = start,
	.drain = drain,
	.drained = drained,
	.stop = stop,
	.turn = turn};
