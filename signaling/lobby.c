#include "signaling/lobby.h"

#include "core/call.h"
#include "core/clock.h"
#include "core/mem.h"
#include "signaling/access.h"

#include <assert.h>

static _Thread_local struct map knockers; /* addr → the first knock of it */

/* ---- the list ---- */

static void link_endpoint(struct knock *k)
{
	struct str key = addr_key(k->addr, k->addr_key);
	struct knock *first = map_get(&knockers, key);
	if (first) {
		k->next_of_endpoint = first->next_of_endpoint;
		first->next_of_endpoint = k;
	} else {
		map_put(&knockers, key, k);
	}
}

/* The map's key is a knock's own: when the first one goes, the next one's takes its place. */
static void unlink_endpoint(struct knock *k)
{
	struct str key = {k->addr_key, ADDR_KEY_BYTES};
	struct knock *first = map_get(&knockers, key);
	if (first == k) {
		map_remove(&knockers, key);
		if (k->next_of_endpoint)
			map_put(&knockers, (struct str){k->next_of_endpoint->addr_key, key.n},
				k->next_of_endpoint);
		return;
	}
	while (first->next_of_endpoint != k)
		first = first->next_of_endpoint;
	first->next_of_endpoint = k->next_of_endpoint;
}

static void free_knock(struct lobby *l, struct knock *k)
{
	if (k->place)
		unlink_endpoint(k);
	if (k->previous)
		k->previous->next = k->next;
	else
		l->first = k->next;
	if (k->next)
		k->next->previous = k->previous;
	else
		l->last = k->previous;
	l->count--;
	principal_unref(&k->who);
	free((char *)(uintptr_t)k->message.p);
	free(k);
}

struct knock *lobby_by_id(const struct lobby *l, struct str id)
{
	struct knock *k = l->first;
	while (k && !str_is(id, k->id))
		k = k->next;
	return k;
}

struct knock *lobby_by_endpoint(const struct lobby *l, struct addr addr)
{
	struct knock *k = l->first;
	while (k && !addr_eq(k->addr, addr))
		k = k->next;
	return k;
}

struct knock *lobby_of_endpoint(struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return knockers.count ? map_get(&knockers, addr_key(addr, key)) : NULL;
}

/* ---- telling ---- */

static void tell_moderators(const struct place *p, struct frame *f)
{
	for (size_t i = 0; f && p->room && i < p->room->count; i++)
		if (p->room->members[i]->role >= ROLE_MODERATOR)
			addr_send(p->room->members[i]->addr, frame_ref(f));
	frame_unref(&f);
}

void knock_write(struct json_out *o, const struct knock *k)
{
	json_text(o, "knock", k->id);
	json_str(o, "user", k->who->user);
	json_str(o, "name", k->who->name);
	json_str_if(o, "message", k->message);
	json_int(o, "time", k->time);
}

static void tell_knocked(const struct knock *k)
{
	struct event e;
	event_begin(&e, "room.knocked");
	json_str(&e.params, "room", k->place->name);
	knock_write(&e.params, k);
	tell_moderators(k->place, event_take(&e));
}

static void tell_ended(const struct knock *k, enum knock_end how)
{
	static const char *const words[] = {"admitted", "denied", "gone"};
	struct event e;
	event_begin(&e, "room.knock_ended");
	json_str(&e.params, "room", k->place->name);
	json_text(&e.params, "knock", k->id);
	json_text(&e.params, "reason", words[how]);
	tell_moderators(k->place, event_take(&e));
}

/* reason NULL: is let in. */
static void tell_knocker(const struct knock *k, const char *reason)
{
	struct event e;
	event_begin(&e, reason ? "room.denied" : "room.admitted");
	json_str(&e.params, "room", k->place->name);
	if (reason)
		json_text(&e.params, "reason", reason);
	struct frame *f = event_take(&e);
	if (f)
		addr_send(k->addr, f);
}

/* ---- knocking, and its ends ---- */

static size_t knocks_of(struct addr addr)
{
	size_t count = 0;
	for (const struct knock *k = lobby_of_endpoint(addr); k; k = k->next_of_endpoint)
		count++;
	return count;
}

static struct knock *append(struct lobby *l, struct addr addr, const struct principal *who,
	struct str message, int64_t time)
{
	struct knock *k = mem_new(struct knock);
	k->addr = addr;
	k->who = principal_ref(who);
	k->time = time;
	if (message.n)
		k->message = (struct str){mem_copy(message), message.n};
	k->previous = l->last;
	if (l->last)
		l->last->next = k;
	else
		l->first = k;
	l->last = k;
	l->count++;
	return k;
}

struct knock *lobby_add(
	struct place *p, struct addr addr, const struct principal *who, struct str message)
{
	if (knocks_of(addr) >= KNOCKS_EACH)
		return NULL;
	struct knock *k = append(&p->lobby, addr, who, message, clock_unix_ms());
	room_new_peer(k->id);
	k->place = p;
	link_endpoint(k);
	tell_knocked(k);
	return k;
}

void lobby_put(struct lobby *l, struct addr addr, const struct principal *who, struct str id,
	struct str message, int64_t time)
{
	struct knock *k = append(l, addr, who, message, time);
	memcpy(k->id, id.p, PEER_CHARS);
}

void lobby_adopt(struct place *p, struct lobby *from)
{
	assert(!p->lobby.count);
	p->lobby = *from;
	*from = (struct lobby){0};
	for (struct knock *k = p->lobby.first; k; k = k->next) {
		k->place = p;
		link_endpoint(k);
	}
}

void lobby_end(struct knock *k, enum knock_end how)
{
	if (how != KNOCK_GONE)
		tell_knocker(k, how == KNOCK_ADMITTED ? NULL : "denied");
	tell_ended(k, how);
	free_knock(&k->place->lobby, k);
}

void lobby_end_user(struct place *p, struct str user, enum knock_end how)
{
	for (struct knock *k = p->lobby.first, *next; k; k = next) {
		next = k->next;
		if (str_eq(k->who->user, user))
			lobby_end(k, how);
	}
}

void lobby_meet_rules(struct place *p, struct str user)
{
	for (struct knock *k = p->lobby.first, *next; k; k = next) {
		next = k->next;
		if ((!user.n || str_eq(k->who->user, user)) && access_role(p, k->who) > ROLE_BANNED)
			lobby_end(k, KNOCK_ADMITTED);
	}
}

void lobby_close(struct place *p)
{
	while (p->lobby.first) {
		tell_knocker(p->lobby.first, "closed");
		lobby_end(p->lobby.first, KNOCK_GONE);
	}
}

void lobby_drop(struct lobby *l)
{
	while (l->first)
		free_knock(l, l->first);
}

void lobby_opened(struct place *p)
{
	for (size_t i = 0; i < p->room->count; i++) {
		const struct principal *who = p->room->members[i]->who;
		if (access_role(p, who) == ROLE_NONE)
			standing_put(&p->standings, who->user, true)->admitted = true;
	}
}

void lobby_stop(void)
{
	assert(!knockers.count);
	map_free(&knockers);
}
