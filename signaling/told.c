#include "signaling/told.h"

#include "core/mem.h"
#include "signaling/message.h"

struct telling {
	struct place *place;
	struct call *call;
	told_then *then;
};

static void kept(struct store_op *op)
{
	struct telling *t = op->context;
	struct place *p = t->place;
	t->then(p, t->call, op->err);
	free(t);
	rooms_release(p);
}

void told_first(struct place *p, struct call *c, struct hooks *h, told_then *then)
{
	struct telling *t = mem_new(struct telling);
	*t = (struct telling){p, c, then};
	rooms_hold(p);
	hook_keep(h, kept, t);
}

/* A room's own id among what is live: no peer id begins so. */
static struct str room_id(struct buf *b, struct str room)
{
	*b = BUF_INIT(512);
	buf_addf(b, "room:");
	buf_adds(b, room);
	return buf_str(b);
}

static void write_room(struct json_out *o, struct str room)
{
	json_str(o, "room", room);
}

static void write_member(
	struct json_out *o, struct str room, struct str peer, const struct principal *who)
{
	write_room(o, room);
	json_str(o, "peer", peer);
	json_str(o, "user", who->user);
	json_str(o, "name", who->name);
}

static void write_left(struct json_out *o, struct str room, struct str peer,
	const struct principal *who, const char *reason)
{
	write_member(o, room, peer, who);
	json_text(o, "reason", reason);
}

static void occupied(struct hooks *h, struct str room)
{
	struct buf id;
	write_room(hook_begin(h, HOOK_ROOM_OCCUPIED, "room", room), room);
	hook_end(h);
	write_room(hook_live(h, room_id(&id, room), HOOK_ROOM_VACATED, "room", room), room);
	hook_end(h);
	buf_free(&id);
}

void told_joined(struct hooks *h, const struct room *room, size_t before,
	const struct principal *who, struct str peer, enum role role)
{
	if (!room->count && !before)
		occupied(h, room->name);
	struct json_out *o = hook_begin(h, HOOK_ROOM_JOINED, "room", room->name);
	write_member(o, room->name, peer, who);
	json_text(o, "role", role_word(role));
	hook_end(h);
	o = hook_live(h, peer, HOOK_ROOM_LEFT, "room", room->name);
	write_left(o, room->name, peer, who, "crash");
	hook_end(h);
}

static void vacated(struct hooks *h, struct str room)
{
	struct buf id;
	write_room(hook_begin(h, HOOK_ROOM_VACATED, "room", room), room);
	hook_end(h);
	hook_over(h, room_id(&id, room));
	buf_free(&id);
}

void told_left(const struct member *m, const char *reason)
{
	struct hooks h = {0};
	struct str room = m->room->name;
	if (!told_members())
		return;
	write_left(
		hook_begin(&h, HOOK_ROOM_LEFT, "room", room), room, member_peer(m), m->who, reason);
	hook_end(&h);
	hook_over(&h, member_peer(m));
	if (m->room->count == 1)
		vacated(&h, room);
	hook_tell(&h);
}

void told_published(struct hooks *h, struct str room, struct str text)
{
	struct json_out *o = hook_begin(h, HOOK_ROOM_PUBLISHED, "room", room);
	json_raw(o, NULL, (struct str){text.p + 1, text.n - 2}); /* without its braces */
	hook_end(h);
}

void told_message_first(struct place *p, struct call *c, const struct message *m, told_then *then)
{
	struct hooks h = {0};
	struct buf text = message_text(p->name, p->room->epoch, m);
	told_published(&h, p->name, buf_str(&text));
	told_first(p, c, &h, then);
	buf_free(&text);
}

void told_live(struct json_out *o)
{
	const struct place *p;
	struct buf id;
	for (size_t i = 0; (p = rooms_next(&i));) {
		if (!p->room || !p->room->count)
			continue;
		json_str(o, NULL, room_id(&id, p->name));
		buf_free(&id);
		for (size_t k = 0; k < p->room->count; k++)
			json_str(o, NULL, member_peer(p->room->members[k]));
	}
}
