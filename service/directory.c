#include "service/directory.h"

#include "core/map.h"
#include "core/mem.h"

struct entry {
	struct addr *sessions;
	size_t count, room;
	char user[]; /* NUL-terminated; the map's key */
};

static _Thread_local struct map users;

enum what { ADD, REMOVE, END };

struct order {
	struct post post;
	enum what what;
	struct addr session;
	uint16_t code;
	const char *reason;
	size_t n;
	char user[];
};

struct end_post {
	struct post post;
	struct addr session;
	uint16_t code;
	const char *reason;
};

static void run_end(struct post *p)
{
	struct end_post *e = (struct end_post *)p;
	session_end_at(e->session, e->code, e->reason);
	free(e);
}

static void add(struct str user, struct addr session)
{
	struct entry *e = map_get(&users, user);
	if (!e) {
		e = mem_alloc(sizeof(*e) + user.n + 1);
		memcpy(e->user, user.p, user.n);
		map_put(&users, (struct str){e->user, user.n}, e);
	}
	if (e->count == e->room) {
		e->room = e->room ? e->room * 2 : 2;
		e->sessions = mem_resize(e->sessions, e->room, sizeof(*e->sessions));
	}
	e->sessions[e->count++] = session;
}

static void take_out(struct str user, struct addr session)
{
	struct entry *e = map_get(&users, user);
	for (size_t i = 0; e && i < e->count; i++)
		if (addr_eq(e->sessions[i], session)) {
			e->sessions[i] = e->sessions[--e->count];
			break;
		}
	if (e && !e->count) {
		map_remove(&users, user);
		free(e->sessions);
		free(e);
	}
}

static void end_all(struct str user, const struct order *o)
{
	struct entry *e = map_get(&users, user);
	for (size_t i = 0; e && i < e->count; i++) {
		struct end_post *p = mem_new(struct end_post);
		*p = (struct end_post){{.run = run_end}, e->sessions[i], o->code, o->reason};
		worker_post(worker_at(e->sessions[i].worker), &p->post);
	}
}

static void run_order(struct post *p)
{
	struct order *o = (struct order *)p;
	struct str user = {o->user, o->n};
	if (o->what == ADD)
		add(user, o->session);
	else if (o->what == REMOVE)
		take_out(user, o->session);
	else
		end_all(user, o);
	free(o);
}

static void post_order(struct str user, struct order order)
{
	struct order *o = mem_alloc(sizeof(*o) + user.n + 1);
	*o = order;
	o->post.run = run_order;
	o->n = user.n;
	memcpy(o->user, user.p, user.n);
	worker_post(worker_home(user), &o->post);
}

void directory_add(struct str user, struct addr session)
{
	post_order(user, (struct order){.what = ADD, .session = session});
}

void directory_remove(struct str user, struct addr session)
{
	post_order(user, (struct order){.what = REMOVE, .session = session});
}

void directory_end(struct str user, uint16_t code, const char *reason)
{
	post_order(user, (struct order){.what = END, .code = code, .reason = reason});
}

static void stop(struct worker *w)
{
	(void)w;
	struct entry *e;
	for (size_t i = 0; (e = map_next(&users, &i)); i = 0) {
		map_remove(&users, str_of(e->user));
		free(e->sessions);
		free(e);
	}
	map_free(&users);
}

const struct worker_part directory_part = {.name = "directory", .stop = stop};
