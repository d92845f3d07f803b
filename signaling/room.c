#include "signaling/room.h"

#include "core/mem.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

void random_letters(char *out, int chars)
{
	unsigned char bytes[24];
	char text[33];
	int count = (chars * 6 + 7) / 8;
	assert(count <= (int)sizeof(bytes));
	if (RAND_bytes(bytes, count) != 1)
		abort(); /* guessable names would be worse */
	EVP_EncodeBlock((unsigned char *)text, bytes, count);
	for (int i = 0; i < chars; i++)
		out[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	out[chars] = 0;
}

struct room *room_new(struct str name, struct ring_limits limits)
{
	struct room *room = mem_new(struct room);
	room->name = (struct str){mem_copy(name), name.n};
	random_letters(room->epoch, EPOCH_CHARS);
	room->ring = ring_new(limits);
	return room;
}

void room_free(struct room **room)
{
	struct room *r = *room;
	*room = NULL;
	if (!r)
		return;
	assert(!r->count && !r->announcer.count);
	map_free(&r->by_peer);
	map_free(&r->by_endpoint);
	map_free(&r->by_user);
	audience_unref(&r->audience);
	ring_finish(&r->ring);
	recent_finish(&r->recent);
	free(r->members);
	free((char *)(uintptr_t)r->name.p);
	free(r);
}

void room_continue(struct room *room, struct str epoch, uint64_t top)
{
	if (epoch.n != EPOCH_CHARS || (str_is(epoch, room->epoch) && top == room->ring.top))
		return;
	memcpy(room->epoch, epoch.p, EPOCH_CHARS);
	ring_restart(&room->ring, top);
	recent_finish(&room->recent);
	room->recent = (struct recent){0};
}

static void list_user(struct room *room, struct member *m)
{
	struct member *of_user = map_get(&room->by_user, m->who->user);
	if (!of_user) {
		map_put(&room->by_user, m->who->user, m);
		return;
	}
	while (of_user->next_of_user)
		of_user = of_user->next_of_user;
	of_user->next_of_user = m;
}

/* The map's key is a member's own: when the first one goes, the next one's takes its place. */
static void unlist_user(struct room *room, const struct member *m)
{
	struct member *first = map_get(&room->by_user, m->who->user);
	if (first == m) {
		map_remove(&room->by_user, m->who->user);
		if (m->next_of_user)
			map_put(&room->by_user, m->next_of_user->who->user, m->next_of_user);
		return;
	}
	while (first->next_of_user != m)
		first = first->next_of_user;
	first->next_of_user = m->next_of_user;
}

void room_new_peer(char *out)
{
	random_letters(out, PEER_CHARS);
}

struct member *room_add(struct room *room, const struct principal *who, struct addr addr,
	enum role role, struct str state, struct str peer, uint64_t seq)
{
	assert(!room_by_endpoint(room, addr) && !room_by_peer(room, peer));
	assert(peer.n == PEER_CHARS && seq > room->last_seq);
	struct member *m = mem_new(struct member);
	m->room = room;
	memcpy(m->peer, peer.p, PEER_CHARS);
	m->addr = addr;
	m->who = principal_ref(who);
	m->role = role;
	m->connected = true;
	m->seq = room->last_seq = seq;
	member_set_state(m, state);
	if (room->count == room->size) {
		room->size = room->size ? room->size * 2 : 4;
		room->members = mem_resize(room->members, room->size, sizeof(*room->members));
	}
	room->members[room->count++] = m;
	map_put(&room->by_peer, member_peer(m), m);
	map_put(&room->by_endpoint, addr_key(addr, m->addr_key), m);
	list_user(room, m);
	audience_unref(&room->audience);
	return m;
}

void room_remove(struct member **member)
{
	struct member *m = *member;
	struct room *room = m->room;
	*member = NULL;
	size_t at = room_index_after(room, m->seq) - 1;
	assert(room->members[at] == m);
	room->count--;
	memmove(&room->members[at], &room->members[at + 1],
		(room->count - at) * sizeof(*room->members));
	map_remove(&room->by_peer, member_peer(m));
	map_remove(&room->by_endpoint, (struct str){m->addr_key, ADDR_KEY_BYTES});
	unlist_user(room, m);
	audience_unref(&room->audience);
	principal_unref(&m->who);
	free((char *)(uintptr_t)m->state.p);
	free(m);
}

/* The map's key may be the old one's: it goes with it. */
void member_set_who(struct member *m, const struct principal *who)
{
	struct map *users = &m->room->by_user;
	assert(str_eq(m->who->user, who->user));
	bool first = map_get(users, who->user) == m;
	if (first)
		map_remove(users, who->user);
	principal_unref(&m->who);
	m->who = principal_ref(who);
	if (first)
		map_put(users, m->who->user, m);
}

void member_set_state(struct member *m, struct str state)
{
	free((char *)(uintptr_t)m->state.p);
	m->state = (struct str){0};
	if (state.n)
		m->state = (struct str){mem_copy(state), state.n};
}

struct member *room_by_endpoint(const struct room *room, struct addr addr)
{
	char key[ADDR_KEY_BYTES];
	return map_get(&room->by_endpoint, addr_key(addr, key));
}

struct member *room_by_peer(const struct room *room, struct str peer)
{
	return map_get(&room->by_peer, peer);
}

struct member *room_by_user(const struct room *room, struct str user)
{
	return map_get(&room->by_user, user);
}

size_t room_index_after(const struct room *room, uint64_t seq)
{
	size_t low = 0, high = room->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (room->members[middle]->seq > seq)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void list_audience(struct room *room)
{
	struct addr *list = mem_alloc(room->count * sizeof(*list));
	for (size_t i = 0; i < room->count; i++)
		list[i] = room->members[i]->addr;
	room->audience = audience_new(list, room->count);
	free(list);
}

void room_tell(struct room *room, struct addr but, struct frame *f)
{
	if (!room->audience)
		list_audience(room);
	audience_send(room->audience, but, f);
}
