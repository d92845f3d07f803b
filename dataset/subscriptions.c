#include "dataset/subscriptions.h"

#include "core/map.h"
#include "core/mem.h"
#include "core/worker.h"
#include "dataset/definition.h"
#include "dataset/feed.h"
#include "dataset/feed_parts.h"

#include <stdint.h>

enum {
	WISH_MAX = 16 * 1024, /* the filter's own limit is smaller, and says so */
	CREDIT_MAX = 1 << 30,
};

struct subscription {
	char sub[SHAPE_ID_BYTES + 1];
	int home;
};

struct subscriber {
	char key[ADDR_KEY_BYTES];
	struct subscription *list;
	size_t count, room;
	size_t pending; /* subscribes that have not come to anything yet */
};

static size_t most_of_session = 64;
static _Thread_local struct map subscribers;

void subscriptions_configure(size_t most)
{
	most_of_session = most;
}

static struct subscriber *find(struct addr session)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&subscribers, addr_key(session, key));
}

static struct subscriber *find_or_make(struct addr session)
{
	struct subscriber *s = find(session);
	if (s)
		return s;
	s = mem_new(struct subscriber);
	map_put(&subscribers, addr_key(session, s->key), s);
	return s;
}

static void free_subscriber(struct subscriber *s)
{
	map_remove(&subscribers, (struct str){s->key, ADDR_KEY_BYTES});
	free(s->list);
	free(s);
}

void subscriptions_gone(struct addr session)
{
	struct subscriber *s = find(session);
	if (s)
		free_subscriber(s);
}

void subscriptions_stop(void)
{
	struct subscriber *s;
	for (size_t i = 0; (s = map_next(&subscribers, &i)); i = 0)
		free_subscriber(s);
	map_free(&subscribers);
}

static struct subscription *find_sub(const struct subscriber *s, struct str sub)
{
	for (size_t i = 0; s && i < s->count; i++)
		if (str_is(sub, s->list[i].sub))
			return &s->list[i];
	return NULL;
}

static void add(struct subscriber *s, struct str sub, int home)
{
	if (find_sub(s, sub))
		return;
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 4;
		s->list = mem_resize(s->list, s->room, sizeof(*s->list));
	}
	struct subscription *it = &s->list[s->count++];
	*it = (struct subscription){.home = home};
	memcpy(it->sub, sub.p, sub.n < SHAPE_ID_BYTES ? sub.n : SHAPE_ID_BYTES);
}

static void drop(struct subscriber *s, struct str sub)
{
	struct subscription *it = find_sub(s, sub);
	if (it)
		*it = s->list[--s->count];
	if (!s->count && !s->pending)
		free_subscriber(s);
}

void subscriptions_put(struct addr session, struct str dataset, struct str sub)
{
	add(find_or_make(session), sub, worker_home(dataset)->index);
}

/* ---- what homes tell ---- */

struct note {
	struct post post;
	struct addr session;
	int home;
	bool ended;
	char sub[SHAPE_ID_BYTES + 1];
};

static void take(const struct note *n)
{
	struct subscriber *s = find(n->session);
	if (!s)
		return;
	if (!n->ended && s->pending)
		s->pending--;
	if (!n->ended && n->sub[0])
		add(s, str_of(n->sub), n->home);
	else
		drop(s, str_of(n->sub));
}

static void run_note(struct post *p)
{
	struct note *n = (struct note *)p;
	take(n);
	free(n);
}

static void tell(struct addr session, struct str sub, bool ended)
{
	struct note n = {.post.run = run_note,
		.session = session,
		.home = worker_self()->index,
		.ended = ended};
	memcpy(n.sub, sub.p, sub.n < SHAPE_ID_BYTES ? sub.n : SHAPE_ID_BYTES);
	if (session.worker == worker_self()->index) {
		take(&n);
		return;
	}
	struct note *p = mem_new(struct note);
	*p = n;
	worker_post(worker_at(session.worker), &p->post);
}

void subscription_made(struct addr session, struct str sub)
{
	tell(session, sub, false);
}

void subscription_ended(struct addr session, struct str sub)
{
	tell(session, sub, true);
}

/* ---- the methods ---- */

static void run_subscribe(struct call *c)
{
	struct subscribe_params *p = c->params;
	struct subscriber *s = find_or_make(c->from);
	p->most = s->count + s->pending >= most_of_session ? (int64_t)most_of_session : 0;
	s->pending++;
	c->post.run = feed_subscribe;
	if (call_travel(c, worker_home(p->dataset))) {
		subscription_made(c->from, STR(""));
		call_refuse(c, ERR_OVERLOADED);
	}
}

static void travel(struct call *c, void (*run)(struct post *p))
{
	const struct sub_params *p = c->params;
	const struct subscription *it = find_sub(find(c->from), p->sub);
	c->post.run = run;
	if (!it)
		call_refuse(c, ERR_NOT_FOUND, .reason = "no_such_sub",
			.message = "The session has no such subscription (any more).");
	else if (call_travel(c, worker_at(it->home)))
		call_refuse(c, ERR_OVERLOADED);
}

static void run_unsubscribe(struct call *c)
{
	travel(c, feed_unsubscribe);
}

static void run_ack(struct call *c)
{
	travel(c, feed_ack);
}

static const struct field subscribe_fields[] = {
	FIELD(struct subscribe_params, dataset, STRING, true, 1, DATASET_NAME_MAX),
	FIELD(struct subscribe_params, where, ARRAY, false, 0, WISH_MAX),
	FIELD(struct subscribe_params, columns, ARRAY, false, 0, WISH_MAX),
	FIELD(struct subscribe_params, order, ARRAY, false, 0, WISH_MAX),
	FIELD(struct subscribe_params, limit, INT, false, 1, SHAPE_LIMIT_MAX),
	FIELD(struct subscribe_params, credit, INT, false, 1, CREDIT_MAX),
	FIELD(struct subscribe_params, notify, BOOL, false, 0, 0),
	FIELD(struct subscribe_params, resume, OBJECT, false, 0, 512),
	{0},
};

static const struct field unsubscribe_fields[] = {
	FIELD(struct sub_params, sub, STRING, true, 1, SHAPE_ID_BYTES),
	{0},
};

static const struct field ack_fields[] = {
	FIELD(struct sub_params, sub, STRING, true, 1, SHAPE_ID_BYTES),
	FIELD(struct sub_params, seq, STRING, false, 1, 20),
	FIELD(struct sub_params, credit, INT, true, 0, INT64_MAX),
	{0},
};

/* The dataset's home is found by its name; of a subscription, only its session's worker knows it. */
const struct method feed_methods[] = {
	{"dataset.subscribe", SCOPE_DATASETS_READ, HOME_CALLER, METHOD_SESSION | METHOD_BARRIER,
		subscribe_fields, sizeof(struct subscribe_params), run_subscribe},
	{"dataset.unsubscribe", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS,
		unsubscribe_fields, sizeof(struct sub_params), run_unsubscribe},
	{"dataset.ack", SCOPE_NONE, HOME_CALLER, METHOD_SESSION | METHOD_ALWAYS, ack_fields,
		sizeof(struct sub_params), run_ack},
	{0},
};
