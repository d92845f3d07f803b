#include "signaling/people.h"

#include "core/map.h"
#include "core/mem.h"
#include "core/record.h"
#include "signaling/calls.h"

static const struct people_listener *const listeners[] = {
	&presence_listener, &calls_listener, NULL};

static _Thread_local struct map persons, by_addr;

/* ---- persons ---- */

struct person *person_find(struct str user)
{
	return map_get(&persons, user);
}

struct person_session *person_session_find(struct addr session)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&by_addr, addr_key(session, key));
}

struct person *people_next(size_t *i)
{
	return map_next(&persons, i);
}

static struct person *find_or_make(struct str user)
{
	struct person *p = person_find(user);
	if (!p) {
		p = mem_new(struct person);
		p->user = (struct str){mem_copy(user), user.n};
		map_put(&persons, p->user, p);
	}
	return p;
}

static void free_if_unused(struct person *p)
{
	if (p->count || p->holds)
		return;
	map_remove(&persons, p->user);
	free((char *)(uintptr_t)p->user.p);
	free(p);
}

struct person *person_hold(struct str user)
{
	struct person *p = find_or_make(user);
	p->holds++;
	return p;
}

void person_release(struct person *p)
{
	p->holds--;
	free_if_unused(p);
}

/* ---- sessions ---- */

static struct person_session *add(struct str user, struct addr addr)
{
	struct person_session *s = mem_new(struct person_session);
	struct person *p = find_or_make(user);
	s->person = p;
	s->addr = addr;
	s->connected = true;
	map_put(&by_addr, addr_key(addr, s->addr_key), s);
	s->next = p->first;
	if (p->first)
		p->first->previous = s;
	p->first = s;
	p->count++;
	p->connected++;
	return s;
}

static void take_out(struct person_session *s)
{
	struct person *p = s->person;
	map_remove(&by_addr, (struct str){s->addr_key, ADDR_KEY_BYTES});
	if (s->next)
		s->next->previous = s->previous;
	if (s->previous)
		s->previous->next = s->next;
	else
		p->first = s->next;
	s->next = s->previous = NULL;
	p->count--;
	p->connected -= s->connected;
}

static void gone(struct addr endpoint, bool clean)
{
	struct person_session *s = person_session_find(endpoint);
	if (!s)
		return;
	struct person *p = s->person;
	take_out(s);
	p->holds++; /* whoever is told may hold and release it */
	for (size_t i = 0; listeners[i]; i++)
		if (listeners[i]->ended)
			listeners[i]->ended(s, clean);
	free(s);
	person_release(p);
}

static void set_connected(struct person_session *s, bool yes)
{
	s->person->connected += (size_t)yes - (size_t)s->connected;
	s->connected = yes;
}

static void connected(struct addr endpoint, bool yes)
{
	struct person_session *s = person_session_find(endpoint);
	if (!s || s->connected == yes)
		return;
	set_connected(s, yes);
	for (size_t i = 0; listeners[i]; i++)
		if (listeners[i]->connected)
			listeners[i]->connected(s);
}

void person_send(const struct person *p, struct addr but, struct frame *f)
{
	struct addr *list = mem_alloc((p->count + 1) * sizeof(*list));
	size_t count = 0;
	for (const struct person_session *s = p->first; s; s = s->next)
		list[count++] = s->addr;
	struct audience *audience = audience_new(list, count);
	audience_send(audience, but, f);
	audience_unref(&audience);
	free(list);
}

/* ---- what a user's home is told ---- */

static void open_here(struct str user, struct addr session)
{
	struct person_session *s = add(user, session);
	for (size_t i = 0; listeners[i]; i++)
		if (listeners[i]->opened)
			listeners[i]->opened(s);
}

static void keep_here(struct str user, struct addr session)
{
	add(user, session);
}

struct arrival {
	struct post post;
	void (*here)(struct str user, struct addr session);
	struct addr session;
	size_t n;
	char user[];
};

static void run_arrival(struct post *p)
{
	struct arrival *a = (struct arrival *)p;
	a->here((struct str){a->user, a->n}, a->session);
	free(a);
}

/* Behind it comes whatever else the home is told of the session. */
static void arrive(struct endpoint *session, struct str user,
	void (*here)(struct str user, struct addr session))
{
	struct worker *home = worker_home(user);
	session->workers_called |= UINT64_C(1) << home->index;
	if (home == worker_self()) {
		here(user, session->addr);
		return;
	}
	struct arrival *a = mem_alloc(sizeof(*a) + user.n);
	*a = (struct arrival){{.run = run_arrival}, here, session->addr, user.n};
	if (user.n)
		memcpy(a->user, user.p, user.n);
	worker_post(home, &a->post);
}

void people_opened(struct endpoint *session, struct str user)
{
	arrive(session, user, open_here);
}

void people_kept(struct endpoint *session, struct str user)
{
	arrive(session, user, keep_here);
}

/* To the user's home, and copies of it to each session. */
struct end {
	struct post post;
	struct addr session;
	people_end_at *end_at;
	uint16_t code;
	const char *reason;
	size_t n;
	char user[];
};

static void run_end(struct post *p)
{
	struct end *e = (struct end *)p;
	e->end_at(e->session, e->code, e->reason);
	free(e);
}

static void run_end_all(struct post *p)
{
	struct end *all = (struct end *)p;
	const struct person *person = person_find((struct str){all->user, all->n});
	for (const struct person_session *s = person ? person->first : NULL; s; s = s->next) {
		struct end *one = mem_new(struct end);
		*one = (struct end){
			{.run = run_end}, s->addr, all->end_at, all->code, all->reason, 0};
		worker_post(worker_at(s->addr.worker), &one->post);
	}
	free(all);
}

void people_end(struct str user, people_end_at *end_at, uint16_t code, const char *reason)
{
	struct end *e = mem_alloc(sizeof(*e) + user.n);
	*e = (struct end){{.run = run_end_all}, {0}, end_at, code, reason, user.n};
	if (user.n)
		memcpy(e->user, user.p, user.n);
	worker_post(worker_home(user), &e->post);
}

/* ---- from one process to the next: each session is its address, and whether it is connected ---- */

void people_save(struct buf *out)
{
	struct person *p;
	for (size_t i = 0; (p = people_next(&i));)
		for (const struct person_session *s = p->first; s; s = s->next) {
			struct buf one = BUF_INIT(64);
			addr_put(&one, s->addr);
			record_put_int(&one, s->connected);
			record_put_str(out, buf_str(&one));
			buf_free(&one);
		}
}

/* The sessions are here already, as people_kept() made them. */
void people_load(struct record_reader *one, const struct chapter_lookup *lookup)
{
	struct addr now, old = addr_read(one);
	bool is = record_int(one, 1);
	const struct principal *who;
	struct person_session *s = NULL;
	if (!one->bad && lookup->find(lookup->context, old, &now, &who))
		s = person_session_find(now);
	if (s)
		set_connected(s, is);
}

static void stop(struct worker *w)
{
	(void)w;
	struct person_session *s;
	struct person *p;
	for (size_t i = 0; (s = map_next(&by_addr, &i));)
		free(s);
	for (size_t i = 0; (p = people_next(&i));) {
		free((char *)(uintptr_t)p->user.p);
		free(p);
	}
	free(persons.slots);
	free(by_addr.slots);
	persons = by_addr = (struct map){0};
}

const struct worker_part people_part = {
	.name = "people", .stop = stop, .gone = gone, .connected = connected};
