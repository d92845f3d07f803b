#include "service/session.h"

#include "core/log.h"
#include "core/map.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "service/quota.h"
#include "service/session_gate.h"
#include "service/session_parts.h"
#include "signaling/people.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>

enum {
	ACK_MESSAGES = 64,
	ACK_BYTES = 64 * 1024,
	ACK_MS = 4000, /* looked at each SWEEP_MS: within the five seconds that are promised */
	SWEEP_MS = 1000,
	EXPIRING_S = 60, /* told so long before the token's end */
	EXPIRED_GRACE_S = 25,
	HELD_MAX_BYTES = 1 << 20,
	BURIED_AT_ONCE = 32, /* then others have their turn */
	WORKER_DIGITS = 5,   /* in an id: more are in none of ours */
};

static struct session_options options;
static _Thread_local struct session *sessions;
static _Thread_local struct session *ended; /* linked by next, not in sessions any more */
static _Thread_local struct map by_handle;
static _Thread_local uv_timer_t sweeper;
static _Thread_local uv_idle_t more_to_bury; /* its running keeps the loop from waiting */
static _Thread_local bool draining, sealed;

void session_configure(const struct session_options *o)
{
	options = *o;
}

const struct session_options *session_limits(void)
{
	return &options;
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
	if (s->ending)
		return;
	s->ending = true;
	s->clean = clean;
	s->code = code;
	s->reason = reason;
	map_remove(&by_handle, str_of(s->handle));
	quota_session_ended(s->caller.who->user);
	unlink_from(s);
	link_to(&ended, s);
}

void session_free(struct session *s, bool clean)
{
	caller_end(&s->caller, clean);
	metric_add(METRIC_SESSIONS, -1);
	for (size_t i = 0; i < s->held_count; i++)
		frame_unref(&s->held[i]);
	free(s->held);
	while (s->receipts) {
		struct receipt *r = s->receipts;
		s->receipts = r->next;
		receipt_answer(r, true);
	}
	kept_free(&s->kept);
	free(s);
}

static void bury(struct session *s)
{
	unlink_from(s);
	session_refresh_drop(s);
	log_info("session ended", LOG_TEXT("session", s->handle),
		LOG_STR("user", s->caller.who->user), LOG_TEXT("why", s->reason));
	gate_tell_closed(s->handle, s->caller.who,
		s->clean                  ? "closed"
			: s->code == 1001 ? "lost"
					  : "ended");
	if (s->carrier)
		carrier_close(s->carrier, s->code, s->reason);
	session_free(s, s->clean);
}

static void end_withdrawn(struct session *s)
{
	enum withdrawal_kind kind;
	if (!s->ending && withdrawals_fit(s->caller.who, &kind)) {
		metric_add(METRIC_SESSIONS_WITHDRAWN, 1);
		end(s, false, 4501, withdrawal_reason(kind));
	}
}

void sessions_withdraw(enum withdrawal_kind kind, struct str value)
{
	for (struct session *s = sessions, *next; s && !sealed; s = next) {
		next = s->next;
		if (withdrawal_names(s->caller.who, kind, value))
			end_withdrawn(s);
	}
}

void session_grant(struct session *s, struct principal *who)
{
	bool other = who != s->caller.who;
	principal_ref(who);
	principal_unref(&s->caller.who);
	s->caller.who = who;
	s->told_expiring = false;
	if (other) /* the rooms, and whatever else the parts of a worker have of it */
		addr_granted(&s->caller.endpoint, who);
}

void session_end(struct session *s, uint16_t code, const char *reason)
{
	end(s, false, code, reason);
}

static void end_at(struct addr session, uint16_t code, const char *reason)
{
	struct session *s = (struct session *)addr_find(session);
	if (s)
		session_end(s, code, reason);
}

void sessions_end(struct str user, uint16_t code, const char *reason)
{
	people_end(user, end_at, code, reason);
}

/* From now on there is no connection: the session waits for another. */
static void go_away(struct session *s, uint16_t code)
{
	s->carrier = NULL;
	if (!draining) { /* else it has been told when to come back, and the others are not told */
		s->lost_at_ms = worker_now_ms() + (uint64_t)options.resume_window_ms;
		addr_connected(&s->caller.endpoint, false);
	}
	log_info("session away", LOG_TEXT("session", s->handle), LOG_INT("code", code));
}

/* Takes the connection away with a code after which the client may resume. */
static void send_away(struct session *s, uint16_t code, const char *reason)
{
	if (!s->carrier)
		return;
	carrier_close(s->carrier, code, reason);
	go_away(s, code);
}

/* ---- out ---- */

/* What is counted is kept until the client has acknowledged it. */
static void count_out(struct session *s, struct frame *f)
{
	s->sent++;
	bool all = kept_add(&s->kept, f, options.kept_messages, options.kept_bytes);
	if (!all && !s->carrier)
		end(s, false, 4002, "away, and more is waiting than is kept");
}

static void transmit(struct session *s, struct outgoing m, bool counted)
{
	if (counted) {
		count_out(s, m.frame);
		m.count = s->sent;
	}
	if (s->carrier)
		carrier_send(s->carrier, m);
	else
		frame_unref(&m.frame);
}

/* The number of a message that has none yet, because it waits behind a batch. */
#define UPTO_HELD UINT64_MAX

static void on_asked(struct caller *c, struct receipt *r)
{
	struct session *s = (struct session *)c;
	if (sealed || (!c->holding && !s->kept.count)) {
		receipt_answer(r, sealed);
		return;
	}
	struct receipt **at = &s->receipts;
	while (*at)
		at = &(*at)->next;
	*at = r;
	r->next = NULL;
	r->upto = c->holding ? UPTO_HELD : s->sent;
}

void session_acknowledged(struct session *s, uint64_t received)
{
	kept_ack(&s->kept, received);
	while (s->receipts && s->receipts->upto <= received) {
		struct receipt *r = s->receipts;
		s->receipts = r->next;
		receipt_answer(r, false);
	}
}

static void release_held(struct session *s)
{
	for (size_t i = 0; i < s->held_count; i++)
		transmit(s, (struct outgoing){.frame = s->held[i]}, true);
	for (struct receipt *r = s->receipts; r; r = r->next)
		if (r->upto == UPTO_HELD)
			r->upto = s->sent;
	free(s->held);
	s->held = NULL;
	s->held_count = s->held_room = s->held_bytes = 0;
}

static void on_event(struct caller *c, struct frame *f)
{
	struct session *s = (struct session *)c;
	if (sealed || s->ending) {
		frame_unref(&f);
		return;
	}
	if (!c->holding) {
		transmit(s, (struct outgoing){.frame = f}, true);
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
	uint64_t last = 0; /* the number of the last counted one */
	for (size_t i = 0; i < count; i++) {
		bool counted = list[i].counted;
		if (counted)
			count_out(s, list[i].frame);
		if (counted)
			last = s->sent;
		if (!array && s->carrier)
			carrier_send(s->carrier,
				(struct outgoing){.frame = frame_ref(list[i].frame),
					.count = counted ? s->sent : 0,
					.alone = true});
		frame_unref(&list[i].frame);
	}
	if (array && s->carrier)
		carrier_send(s->carrier,
			(struct outgoing){.frame = array, .count = last, .alone = true});
	else if (array)
		frame_unref(&array);
}

static void on_answers(struct caller *c, struct answer *list, size_t count, bool array)
{
	struct session *s = (struct session *)c;
	bool over = sealed || s->ending;
	for (size_t i = 0; over && i < count; i++)
		frame_unref(&list[i].frame);
	if (over)
		return;
	if (array && count)
		send_array(s, list, count);
	else if (count)
		transmit(s, (struct outgoing){.frame = list[0].frame, .patient = list[0].patient},
			list[0].counted);
	if (!c->holding)
		release_held(s);
	if (s->closing && c->in_flight == c->waiting)
		end(s, true, 1000, "closed");
}

static void on_text(struct carrier_owner *owner, struct str text);
static void on_closed(struct carrier_owner *owner, uint16_t code);
static const struct carrier_events owner_events = {.text = on_text, .closed = on_closed};

static struct session *of_owner(struct carrier_owner *owner)
{
	return (struct session *)(void *)((char *)owner - offsetof(struct session, owner));
}

static void on_garbled(struct caller *c)
{
	end((struct session *)c, false, 1007, "the text is not UTF-8");
}

static void on_overflow(struct caller *c)
{
	metric_add(METRIC_EVENTS_DROPPED, 1);
	end((struct session *)c, false, 4002, "the service could not keep up");
}

static struct str on_address(const struct caller *c)
{
	const struct session *s = (const struct session *)c;
	return s->carrier ? s->carrier->peer : STR("");
}

static const struct caller_ops caller_ops = {.answers = on_answers,
	.event = on_event,
	.address = on_address,
	.overflow = on_overflow,
	.garbled = on_garbled,
	.asked = on_asked};

/* One that is not counted is news of this connection alone, and need not hurry. */
static void send_event(struct session *s, struct event *e, bool counted)
{
	struct frame *f = event_take(e);
	if (f && counted)
		on_event(&s->caller, f);
	else if (f)
		transmit(s, (struct outgoing){.frame = f, .patient = true}, false);
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

/* ---- a connection comes ---- */

/* id n 0: the result alone. */
static void send_opened(struct session *s, struct str id, bool resumed)
{
	struct buf b = frame_buf();
	struct json_out o = JSON_OUT(&b);
	if (id.n) {
		json_open(&o, NULL, '{');
		json_raw(&o, "jsonrpc", STR("\"2.0\""));
		json_raw(&o, "id", id);
		json_raw(&o, "result", STR(""));
		o.comma = false;
	}
	session_write_opened(&o, s, resumed);
	if (id.n)
		json_close(&o, '}');
	carrier_send(s->carrier, (struct outgoing){.frame = frame_take(&b), .alone = true});
}

/* The id's number of the worker, and of the whole id half a SHA-256. */
static void make_handle(const char *id, char *ret_handle)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	SHA256((const unsigned char *)id, strlen(id), digest);
	int n = (int)strcspn(id, ".");
	n = snprintf(
		ret_handle, SESSION_HANDLE_MAX, "%.*s.", n < WORKER_DIGITS ? n : WORKER_DIGITS, id);
	for (size_t i = 0; i < sizeof(digest) / 2; i++)
		n += snprintf(ret_handle + n, SESSION_HANDLE_MAX - (size_t)n, "%02x", digest[i]);
}

/* The worker's number, then what nobody can guess. */
static struct session_name new_name(void)
{
	struct session_name name;
	unsigned char random[16];
	if (RAND_bytes(random, sizeof(random)) != 1)
		abort();
	int n = snprintf(name.id, sizeof(name.id), "%d.", worker_self()->index);
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(name.id + n, sizeof(name.id) - (size_t)n, "%02x", random[i]);
	make_handle(name.id, name.handle);
	return name;
}

struct worker *session_home(const char *id)
{
	char *end = NULL;
	unsigned long index = strtoul(id, &end, 10);
	if (end == id || *end != '.')
		return NULL;
	return worker_at((int)(index % (unsigned)workers_count()));
}

static void attach(struct session *s, struct carrier *carrier, bool batch)
{
	s->carrier = carrier;
	s->born_ns = carrier->born_ns;
	carrier_own(carrier, &s->owner);
	s->posts = carrier->posts;
	carrier_begin(carrier, s->id, batch);
}

struct session *session_new(struct principal *who)
{
	struct session *s = mem_new(struct session);
	s->owner.events = &owner_events;
	s->caller.is_session = true;
	s->caller.pace = &s->pace;
	s->opened_at = (int64_t)time(NULL);
	caller_begin(&s->caller, &caller_ops, who);
	metric_add(METRIC_SESSIONS, 1);
	return s;
}

void session_enter(struct session *s)
{
	map_put(&by_handle, str_of(s->handle), s);
	link_to(&sessions, s);
}

/* Who comes now is to come again, to whoever serves then. */
static bool turned_away(struct carrier *carrier)
{
	if (draining)
		carrier_close(carrier, 1001, "going away");
	return draining;
}

void session_refuse(struct carrier *carrier, struct str id, enum err err, const struct refusal *why)
{
	if (carrier->ops->refuse)
		carrier->ops->refuse(carrier, err, why);
	else if (!carrier->posts) /* a stream on another worker is only closed */
		carrier_send(carrier,
			(struct outgoing){.frame = error_frame(id, err, why), .alone = true});
}

/* False: told that there is no room for one session more of that user. */
static bool has_room(
	struct carrier *carrier, const struct principal *who, const struct session_request *r)
{
	struct refusal why;
	enum err err = quota_session(who->user, &why);
	if (!err)
		return true;
	session_refuse(carrier, r->id, err, &why);
	carrier_close(carrier, 3008, "too many sessions");
	return false;
}

void session_begin(struct carrier *carrier, struct principal *who, const struct session_request *r)
{
	if (turned_away(carrier) || !has_room(carrier, who, r))
		return;
	struct session_name name = new_name();
	if (gate_wanted())
		gate_enter(carrier, who, r, &name);
	else
		session_admit(carrier, who, r, &name);
}

void session_admit(struct carrier *carrier, struct principal *who, const struct session_request *r,
	const struct session_name *name)
{
	struct session *s = session_new(who);
	memcpy(s->id, name->id, sizeof(s->id));
	memcpy(s->handle, name->handle, sizeof(s->handle));
	session_enter(s);
	attach(s, carrier, r->batch);
	log_info("session opened", LOG_TEXT("session", s->handle), LOG_STR("user", who->user),
		LOG_STR("client", who->client), LOG_STR("address", carrier->peer));
	send_opened(s, r->id, false);
	people_opened(&s->caller.endpoint, who->user);
	end_withdrawn(s); /* between the check and now */
}

struct session *session_find_handle(const char *handle)
{
	return map_get(&by_handle, str_of(handle));
}

/* The caller's own session of that id, or NULL: of somebody else's it is as if there was none. */
static struct session *own_session(const char *id, const struct principal *who)
{
	char handle[SESSION_HANDLE_MAX];
	make_handle(id, handle);
	struct session *s = session_find_handle(handle);
	bool own = s && str_eq(s->caller.who->issuer, who->issuer) &&
		str_eq(s->caller.who->subject, who->subject) &&
		str_eq(s->caller.who->user, who->user);
	return own ? s : NULL;
}

enum resume session_can_resume(const struct session_request *r, const struct principal *who)
{
	struct session *s = own_session(r->session, who);
	if (!s)
		return RESUME_NO;
	bool kept = r->received <= s->sent && kept_reaches(&s->kept, s->sent, r->received);
	if (r->born_ns < s->born_ns && (s->carrier || !kept))
		return RESUME_SUPERSEDED;
	if (kept)
		return RESUME_YES;
	end(s, false, 4003, "its client could not resume it");
	return RESUME_NO;
}

/* Whoever it is after all comes again, on a newer connection. */
void session_refuse_superseded(struct carrier *carrier, const struct session_request *r)
{
	log_info("resume superseded", LOG_TEXT("session", r->session),
		LOG_STR("address", carrier->peer));
	session_refuse(carrier, r->id, ERR_OVERLOADED,
		&(struct refusal){.reason = "superseded",
			.retry_after = 1,
			.message = "A later connection carries this session; to take it over, "
				   "connect anew."});
	carrier_close(carrier, 3008, "superseded");
}

void session_resume(struct carrier *carrier, struct principal *who, const struct session_request *r)
{
	enum resume resume = session_can_resume(r, who);
	if (resume == RESUME_SUPERSEDED) {
		session_refuse_superseded(carrier, r);
		return;
	}
	if (resume == RESUME_NO) {
		session_begin(carrier, who, r);
		return;
	}
	if (turned_away(carrier))
		return;
	struct session *s = own_session(r->session, who);
	bool was_away = !s->carrier;
	if (s->carrier)
		carrier_close(s->carrier, 4003, "resumed elsewhere");
	memcpy(s->id, r->session, sizeof(s->id));
	session_grant(s, who);
	attach(s, carrier, r->batch);
	pace_resumed(&s->pace);
	metric_add(METRIC_RESUMED, 1);
	log_info("session resumed", LOG_TEXT("session", s->handle),
		LOG_STR("address", carrier->peer));
	session_acknowledged(s, r->received);
	s->received_told = s->received;
	s->received_bytes = 0;
	send_opened(s, r->id, true);
	for (uint32_t i = 0; i < s->kept.count; i++)
		carrier_send(carrier,
			(struct outgoing){.frame = frame_ref(kept_at(&s->kept, i)),
				.count = s->kept.first + i,
				.again = true});
	if (was_away)
		addr_connected(&s->caller.endpoint, true);
	end_withdrawn(s); /* between the check and now */
}

/* ---- in ---- */

/* skip: so many of its counted messages have been handled before. */
static void take(struct session *s, struct str text, uint64_t skip)
{
	unsigned counted = dispatch(&s->caller, text, skip);
	if (counted && s->received == s->received_told)
		s->received_at_ms = worker_now_ms();
	s->received += counted;
	s->received_bytes += text.n;
	if (s->received - s->received_told >= ACK_MESSAGES || s->received_bytes >= ACK_BYTES)
		send_ack(s);
	if (s->pace.lost && !s->ending) {
		metric_add(METRIC_SESSIONS_FLOODING, 1);
		end(s, false, 1008, "too many requests, and refusing them does not help");
	}
}

static void on_text(struct carrier_owner *owner, struct str text)
{
	struct session *s = of_owner(owner);
	if (!s->ending && !s->closing && !draining)
		take(s, text, 0);
}

enum err session_take(const char *id, const struct principal *who, uint64_t sent, struct str text,
	uint64_t *ret_received)
{
	struct session *s = own_session(id, who);
	if (!s || s->closing)
		return ERR_NOT_FOUND;
	if (draining)
		return ERR_OVERLOADED;
	*ret_received = s->received;
	if (!s->posts || sent > s->received)
		return ERR_CONFLICT;
	take(s, text, s->received - sent);
	return ERR_OK;
}

/* Codes after which the client opens a fresh session: it did not keep to the protocol, or has had
 * enough. After all others it may come back. */
static bool ends_session(uint16_t code)
{
	return code == 1000 || code == 1002 || code == 1003 || code == 1007 || code == 1008 ||
		code == 1009;
}

static void on_closed(struct carrier_owner *owner, uint16_t code)
{
	struct session *s = of_owner(owner);
	s->carrier = NULL;
	if (ends_session(code) || !options.resume_window_ms)
		end(s, code == 1000, code, code == 1000 ? "closed" : "lost");
	else if (!s->ending)
		go_away(s, code);
}

/* ---- time ---- */

static void look_after_token(struct session *s, int64_t now)
{
	int64_t left = s->caller.who->expires_at - now;
	if (left <= -EXPIRED_GRACE_S) {
		send_away(s, 4001, "the token has expired");
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
	if (draining)
		return;
	uint64_t ms = worker_now_ms();
	int64_t now = (int64_t)time(NULL);
	for (struct session *s = sessions, *next; s; s = next) {
		next = s->next;
		if (!s->carrier) {
			if (ms >= s->lost_at_ms)
				end(s, false, 1001, "lost");
			continue;
		}
		if (s->received != s->received_told && ms - s->received_at_ms >= ACK_MS)
			send_ack(s);
		look_after_token(s, now);
	}
}

static void go_on(uv_idle_t *idle)
{
	(void)idle; /* turn() does it */
}

/* Many may end at once, those of a whole client: nobody else waits for all of them. */
static void turn(struct worker *w)
{
	(void)w;
	for (int i = 0; ended && i < BURIED_AT_ONCE; i++)
		bury(ended);
	if (ended)
		uv_idle_start(&more_to_bury, go_on);
	else
		uv_idle_stop(&more_to_bury);
}

static enum err start(struct worker *w)
{
	uv_timer_init(&w->loop, &sweeper);
	uv_idle_init(&w->loop, &more_to_bury);
	return ERR_OK;
}

void sessions_begin(void)
{
	uv_timer_start(&sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* ---- the end of the process ---- */

static uint64_t random_below(uint64_t limit)
{
	uint64_t n = 0;
	if (RAND_bytes((unsigned char *)&n, sizeof(n)) != 1)
		abort();
	return n % limit;
}

/* Tells a connected client that it will be without a connection, and when to come back: each at a
 * time of its own. Until then, and for its window after that, the session waits. */
static void send_closing(struct session *s)
{
	uint64_t after_ms = random_below((uint64_t)options.drain_spread_ms + 1);
	s->lost_at_ms = worker_now_ms() + after_ms + (uint64_t)options.resume_window_ms;
	struct event e;
	event_begin(&e, "session.closing");
	json_text(&e.params, "reason", "draining");
	char seconds[32];
	int n = snprintf(seconds, sizeof(seconds), "%llu.%03llu",
		(unsigned long long)after_ms / 1000, (unsigned long long)after_ms % 1000);
	json_raw(&e.params, "reconnect_after", (struct str){seconds, (size_t)n});
	send_event(s, &e, true);
}

/* What is unread stays unread and uncounted, so that the client sends it again; what was asked is
 * still answered. A session without a window does not outlive its connection. */
static void drain(struct worker *w)
{
	(void)w;
	for (struct session *s = sessions, *next; s; s = next) {
		next = s->next;
		if (!options.resume_window_ms)
			end(s, false, 1001, "the service is stopping");
		else if (s->carrier)
			send_closing(s);
	}
	draining = true;
}

static bool drained(struct worker *w)
{
	(void)w;
	for (struct session *s = sessions; s; s = s->next)
		if (s->caller.in_flight)
			return false;
	return !ended;
}

void sessions_live(struct json_out *o)
{
	for (const struct session *s = sessions; s; s = s->next)
		json_text(o, NULL, s->handle);
}

struct session *sessions_first(void)
{
	return sessions;
}

void sessions_seal(void)
{
	sealed = true;
}

/* Who is still there has been handed over, or is lost with the process: nobody is told. */
static void stop(struct worker *w)
{
	(void)w;
	while (ended)
		bury(ended);
	for (struct session *s; (s = sessions);) {
		unlink_from(s);
		map_remove(&by_handle, str_of(s->handle));
		quota_session_ended(s->caller.who->user);
		s->caller.endpoint.workers_called = 0;
		session_free(s, false);
	}
	map_free(&by_handle);
	uv_close((uv_handle_t *)&sweeper, NULL);
	uv_close((uv_handle_t *)&more_to_bury, NULL);
}

const struct worker_part session_part = {.name = "sessions",
	.start = start,
	.drain = drain,
	.drained = drained,
	.stop = stop,
	.turn = turn};
