#include "signaling/attendance.h"

#include "core/mem.h"
#include "core/worker.h"
#include "signaling/room_watch.h"

struct attendee {
	char key[ADDR_KEY_BYTES];
	size_t places;        /* rooms anywhere; counted where the endpoint lives */
	struct member *first; /* memberships of rooms that live here */
};

static _Thread_local struct map attendees;

static struct attendee *find(struct addr endpoint)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&attendees, addr_key(endpoint, key));
}

static struct attendee *find_or_make(struct addr endpoint)
{
	struct attendee *a = find(endpoint);
	if (!a) {
		a = mem_new(struct attendee);
		map_put(&attendees, addr_key(endpoint, a->key), a);
	}
	return a;
}

static void free_if_unused(struct attendee *a)
{
	if (a->places || a->first)
		return;
	map_remove(&attendees, (struct str){a->key, ADDR_KEY_BYTES});
	free(a);
}

void attendance_add(struct member *m)
{
	struct attendee *a = find_or_make(m->addr);
	m->next_of_endpoint = a->first;
	if (a->first)
		a->first->previous_of_endpoint = m;
	a->first = m;
	watchers_changed(m->room->name);
}

void attendance_remove(struct member *m)
{
	struct attendee *a = find(m->addr);
	if (m->next_of_endpoint)
		m->next_of_endpoint->previous_of_endpoint = m->previous_of_endpoint;
	if (m->previous_of_endpoint)
		m->previous_of_endpoint->next_of_endpoint = m->next_of_endpoint;
	else
		a->first = m->next_of_endpoint;
	m->next_of_endpoint = m->previous_of_endpoint = NULL;
	free_if_unused(a);
	watchers_changed(m->room->name);
}

struct member *attendance_first(struct addr endpoint)
{
	struct attendee *a = find(endpoint);
	return a ? a->first : NULL;
}

bool attendance_take_place(struct addr endpoint, size_t max)
{
	struct attendee *a = find_or_make(endpoint);
	bool free_place = a->places < max;
	if (free_place)
		a->places++;
	free_if_unused(a);
	return free_place;
}

bool attendance_has_place(struct addr endpoint)
{
	const struct attendee *a = find(endpoint);
	return a && a->places;
}

/* The endpoint may be gone by now, and its places with it. */
static void give_back_here(struct addr endpoint)
{
	struct attendee *a = find(endpoint);
	if (!a || !a->places)
		return;
	a->places--;
	free_if_unused(a);
}

static void keep_here(struct addr endpoint)
{
	if (addr_find(endpoint))
		attendance_take_place(endpoint, SIZE_MAX);
}

struct place_post {
	struct post post;
	struct addr endpoint;
	void (*here)(struct addr endpoint);
};

static void run_place(struct post *p)
{
	struct place_post *g = (struct place_post *)p;
	g->here(g->endpoint);
	free(g);
}

/* Runs it where the endpoint lives. */
static void at_home(struct addr endpoint, void (*here)(struct addr endpoint))
{
	if (endpoint.worker == worker_self()->index) {
		here(endpoint);
		return;
	}
	struct place_post *g = mem_new(struct place_post);
	*g = (struct place_post){{.run = run_place}, endpoint, here};
	worker_post(worker_at(endpoint.worker), &g->post);
}

void attendance_give_back(struct addr endpoint)
{
	at_home(endpoint, give_back_here);
}

void attendance_keep_place(struct addr endpoint)
{
	at_home(endpoint, keep_here);
}

void attendance_forget(struct addr endpoint)
{
	struct attendee *a = find(endpoint);
	if (!a || endpoint.worker != worker_self()->index)
		return;
	a->places = 0;
	free_if_unused(a);
}

void attendance_stop(void)
{
	struct attendee *a;
	for (size_t i = 0; (a = map_next(&attendees, &i));)
		free(a);
	free(attendees.slots);
	attendees = (struct map){0};
}
