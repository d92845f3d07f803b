/* How a reader comes to be: a subscribe that is answered, at once or when the dataset is live; and those that
 * the process before had. */
#include "core/mem.h"
#include "dataset/feed_parts.h"
#include "dataset/subscriptions.h"
#include "dataset/value.h"

enum { WAIT_MS = 4000, RETRY_S = 2, RETRY_SPREAD_S = 4 };

struct wanted {
	struct feed *feed;
	struct wanted *next, **back;
	struct addr session;
	struct call *call; /* NULL: */
	struct restored restored;
	struct alarm alarm; /* of a call */
};

static _Thread_local struct alarms deadlines;

static struct wanted *wanted_new(struct feed *f, struct addr session)
{
	struct wanted *w = mem_new(struct wanted);
	w->feed = f;
	w->session = session;
	w->next = f->wanted;
	w->back = &f->wanted;
	if (w->next)
		w->next->back = &w->next;
	f->wanted = w;
	return w;
}

/* The call is the caller's from here on. */
static void wanted_free(struct wanted *w)
{
	*w->back = w->next;
	if (w->next)
		w->next->back = w->back;
	alarm_clear(&deadlines, &w->alarm);
	wish_free(&w->restored.wish);
	standing_free(&w->restored.at);
	free(w);
}

/* ---- a subscribe ---- */

static void refuse(struct call *c, enum err err, const struct refusal *why)
{
	subscription_made(c->from, STR(""));
	call_fail(c, err, why);
}

void feed_refuse_unavailable(struct call *c)
{
	static _Thread_local unsigned turn; /* not all at the same time */
	refuse(c, ERR_OVERLOADED,
		&(struct refusal){.reason = "dataset_unavailable",
			.retry_after = RETRY_S + turn++ % RETRY_SPREAD_S,
			.message = "The dataset's database cannot be read just now."});
}

struct resume {
	struct str epoch, shape, seq;
};

static const struct field resume_fields[] = {
	FIELD(struct resume, epoch, STRING, true, 1, 64),
	FIELD(struct resume, shape, STRING, true, 1, 64),
	FIELD(struct resume, seq, STRING, true, 1, 20),
	{0},
};

static enum err read_resume(
	const struct subscribe_params *p, struct resume *ret, int64_t *ret_seq, struct refusal *why)
{
	struct params_problem problem = {0};
	if (!p->resume.n)
		return ERR_OK;
	enum err err = params_decode(p->resume, resume_fields, ret, &problem);
	if (!err && value_read_seq(ret->seq, ret_seq))
		return ERR_OK;
	why->field = STR("resume");
	why->message = err ? "The parameter resume is not {epoch, shape, seq}."
			   : "The parameter resume has a seq that is no number.";
	return ERR_PARAMS;
}

/* From where it was, when the log still holds what has come since; a window begins anew always. */
static bool goes_on(const struct feed *f, const struct shape *s, const struct resume *resume,
	int64_t seq, const struct dataset_status *now)
{
	return resume->shape.n && !s->limit && !s->layout->view && str_is(resume->shape, s->id) &&
		str_is(resume->epoch, f->epoch) && seq >= now->floor && seq <= now->seq;
}

static void write_answer(struct call *c, const struct reader *r, int64_t head)
{
	const struct flow *w = r->flow;
	const struct shape *s = w->shape;
	char seq[24];
	int n = snprintf(seq, sizeof(seq), "%lld", (long long)head);
	struct json_out *o = call_result(c);
	json_open(o, NULL, '{');
	json_text(o, "sub", s->id);
	json_open(o, "columns", '[');
	for (size_t i = 0; i < s->column_count; i++)
		json_str(o, NULL, s->layout->columns[s->columns[i]].name);
	json_close(o, ']');
	json_text(o, "epoch", w->feed->epoch);
	json_text(o, "shape", s->id);
	json_int(o, "schema_version", s->layout->version);
	json_text(o, "mode", r->snapshot ? "snapshot" : "tail");
	json_str(o, "head", (struct str){seq, (size_t)n});
	json_close(o, '}');
}

static struct reader *reader_of(struct feed *f, struct outlet *o, struct shape *s,
	const struct shape_wish *wish, const struct resume *resume, int64_t seq, int64_t *ret_head)
{
	struct dataset_status now;
	struct reader *r = reader_find(o, str_of(s->id));
	database_status(f->attached, &now);
	*ret_head = now.seq;
	if (r)
		return r;
	bool tail = goes_on(f, s, resume, seq, &now);
	struct standing_at at = {.seq = tail ? seq : -1, .whole = tail};
	r = reader_new(flow_for(f, s, wish), o, &at);
	r->snapshot = !tail;
	r->credit = 0; /* what was asked for, or what there is to begin with */
	feed_is_read(f);
	return r;
}

static void grant_credit(struct reader *r, const struct subscribe_params *p)
{
	uint64_t credit = p->credit.given ? (uint64_t)p->credit.n : CREDIT_TO_BEGIN;
	if (credit > r->credit)
		r->credit = credit;
}

static void admit(struct feed *f, struct call *c, struct shape *s, const struct shape_wish *wish,
	const struct resume *resume, int64_t seq)
{
	const struct subscribe_params *p = c->params;
	struct outlet *o = outlet_for(c->from, c->who);
	int64_t head = 0;
	if (p->most && !reader_find(o, str_of(s->id))) {
		refuse(c, ERR_FULL,
			&(struct refusal){.reason = "too_many_subscriptions",
				.limit = p->most,
				.message =
					"The session has as many subscriptions as it may have."});
		return;
	}
	struct reader *r = reader_of(f, o, s, wish, resume, seq, &head);
	grant_credit(r, p);
	subscription_made(c->from, str_of(s->id));
	write_answer(c, r, head);
	call_reply(c);
	reader_go(r);
}

void feed_answer(struct feed *f, struct call *c)
{
	const struct subscribe_params *p = c->params;
	const struct shape_wish wish = {p->where, p->columns, p->order, p->limit.n, p->notify.yes};
	struct wish_problem problem = {0};
	struct resume resume = {0};
	struct shape *s = NULL;
	int64_t seq = -1;
	/* what its session may do now: another token may have come while it waited */
	const struct principal *who = outlet_for(c->from, c->who)->who;
	enum err err = read_resume(p, &resume, &seq, &problem.why);
	if (!err && !feed_allows(f, who))
		err = ERR_FORBIDDEN;
	if (!err)
		err = shape_new(&wish, f->definition, f->layout, who, &s, &problem);
	if (err)
		refuse(c, err, &problem.why);
	else
		admit(f, c, s, &wish, &resume, seq);
	shape_unref(&s);
}

/* ---- one that was there before ---- */

static void restore(struct feed *f, struct wanted *w)
{
	const struct restored *r = &w->restored;
	struct outlet *o = outlet_find(w->session);
	struct wish_problem problem = {0};
	struct shape *s = NULL;
	if (!o)
		return;
	bool sees = feed_sees(f, o->who, &r->wish.wish, r->shape) &&
		!shape_new(&r->wish.wish, f->definition, f->layout, o->who, &s, &problem);
	bool window = sees && (s->limit || s->layout->view);
	bool same = strcmp(r->epoch, f->epoch) == 0;
	if (sees && same && !window) {
		struct reader *reader = reader_new(flow_for(f, s, &r->wish.wish), o, &r->at);
		reader->credit = r->credit;
		reader->sent = r->sent;
		reader->snapshot = r->snapshot;
		feed_is_read(f);
	} else {
		enum step_reset why = !same ? RESET_EPOCH : window ? RESET_PRUNED : RESET_SCHEMA;
		subscription_ended(w->session, str_of(r->shape));
		addr_send(w->session, frame_of_reset(r->shape, why, 100));
	}
	shape_unref(&s);
}

/* ---- waiting ---- */

void wanted_call(struct feed *f, struct call *c)
{
	struct wanted *w = wanted_new(f, c->from);
	w->call = c;
	alarm_set(&deadlines, &w->alarm, worker_now_ms() + WAIT_MS);
}

void wanted_restored(struct feed *f, struct addr session, const struct restored *r)
{
	struct wanted *w = wanted_new(f, session);
	w->restored = *r;
}

static struct wanted *find_restored(const struct feed *f, struct addr session, struct str sub)
{
	struct wanted *w = f->wanted;
	while (w && (w->call || !addr_eq(w->session, session) || !str_is(sub, w->restored.shape)))
		w = w->next;
	return w;
}

bool wanted_end(struct feed *f, struct addr session, struct str sub)
{
	struct wanted *w = find_restored(f, session, sub);
	if (w)
		wanted_free(w);
	return w;
}

void wanted_credit(struct feed *f, struct addr session, struct str sub, uint64_t credit)
{
	struct wanted *w = find_restored(f, session, sub);
	if (w && credit > w->restored.credit)
		w->restored.credit = credit;
}

/* First those that were there before: who asks for the same meanwhile is answered with what there is. */
void wanted_admit(struct feed *f)
{
	for (struct wanted *w = f->wanted, *next; w; w = next) {
		next = w->next;
		if (w->call)
			continue;
		restore(f, w);
		wanted_free(w);
	}
	for (struct wanted *w = f->wanted, *next; w; w = next) {
		struct call *c = w->call;
		next = w->next;
		wanted_free(w);
		feed_answer(f, c);
	}
}

void wanted_refuse(struct feed *f)
{
	for (struct wanted *w = f->wanted, *next; w; w = next) {
		struct call *c = w->call;
		next = w->next;
		if (!c)
			continue;
		wanted_free(w);
		feed_refuse_unavailable(c);
	}
}

void wanted_forget(struct feed *f)
{
	while (f->wanted) {
		struct wanted *w = f->wanted;
		subscription_ended(w->session, str_of(w->restored.shape));
		addr_send(w->session, frame_of_reset(w->restored.shape, RESET_AUTH, 100));
		wanted_free(w);
	}
}

void wanted_each(const struct feed *f,
	void (*fn)(void *context, struct addr session, const struct restored *r), void *context)
{
	for (const struct wanted *w = f->wanted; w; w = w->next)
		if (!w->call)
			fn(context, w->session, &w->restored);
}

void wanted_gone(struct feed *f, struct addr session)
{
	for (struct wanted *w = f->wanted, *next; w; w = next) {
		struct call *c = w->call;
		next = w->next;
		if (!addr_eq(w->session, session))
			continue;
		wanted_free(w);
		if (c)
			feed_refuse_unavailable(c);
	}
}

static void ring(struct alarm *a)
{
	struct wanted *w = (struct wanted *)(void *)((char *)a - offsetof(struct wanted, alarm));
	struct feed *f = w->feed;
	struct call *c = w->call;
	wanted_free(w);
	feed_refuse_unavailable(c);
	feed_free_if_unused(f);
}

void wanted_start(struct worker *w)
{
	alarms_start(&deadlines, w, ring);
}

void wanted_stop(void)
{
	alarms_stop(&deadlines);
}
