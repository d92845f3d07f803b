/* Rooms as records, from one process to the next: signaling_save() and signaling_load().
 *
 * A record is a room: the byte RS (0x1e), then units with the byte US (0x1f) in front of each but the
 * first. A unit is a JSON object, in which neither byte can stand. First the room itself, which says
 * how many members, messages and keys follow, then these, in this order:
 *
 *   {"version", "room", "stored", "epoch", "last_seq", "top", "members", "messages", "keys",
 *    "keep"?, "keep_ms"?, "rules"?, "roles"?, "standings"?, "knocks"?}
 *   {"peer", "worker", "slot", "generation", "role", "connected", "muted"?, "seq", "state"?}    by seq
 *   {"at", "text"}              Unix ms, a message of the ring as it is; up to the offset top
 *   {"user", "key", "offset"}   an idempotency key; the oldest first
 *   {"user", "role"}            of the rules
 *   {"user", …}                 what was decided about a user (standing_record.h)
 *   {"knock", "worker", "slot", "generation", "message"?, "time"}    the first to knock first
 *
 * rules are those of an ephemeral room: {"owner", "private", "locked", "lobby", "max_members"?, "title"?,
 * "metadata"?}.
 *
 * They are read as if a foreigner had written them: a room is there whole, or not at all. */
#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "signaling/announce.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/rooms.h"
#include "signaling/signaling.h"
#include "signaling/standing_record.h"

enum { VERSION = 1, RECORD = 0x1e, UNIT = 0x1f, ROLE_WORD_MAX = 16, WHO_MAX_BYTES = 1024 };

/* ---- saving ---- */

static struct json_out begin_unit(struct buf *out, char mark)
{
	struct json_out o = JSON_OUT(out);
	buf_addc(out, mark);
	json_open(&o, NULL, '{');
	return o;
}

/* Those that nobody else keeps. */
static const struct rules *own_rules(const struct place *p)
{
	return p->kind == PLACE_EPHEMERAL ? p->rules : NULL;
}

static void save_rules(struct json_out *o, const struct rules *r)
{
	json_open(o, "rules", '{');
	json_str(o, "owner", r->owner);
	json_bool(o, "private", r->private);
	json_bool(o, "locked", r->locked);
	json_bool(o, "lobby", r->lobby);
	if (r->max_members)
		json_int(o, "max_members", r->max_members);
	if (r->title.n)
		json_str(o, "title", r->title);
	if (r->metadata.n)
		json_raw(o, "metadata", r->metadata);
	json_close(o, '}');
	json_int(o, "roles", (int64_t)r->roles.count);
}

/* Those that nobody else keeps. */
static const struct standing *next_standing(const struct place *p, size_t *i)
{
	const struct standing *standing;
	while ((standing = standings_next(&p->standings, i)))
		if (standing_is_recorded(standing, p->kind != PLACE_EPHEMERAL))
			return standing;
	return NULL;
}

static int64_t count_standings(const struct place *p)
{
	int64_t count = 0;
	for (size_t i = 0; next_standing(p, &i);)
		count++;
	return count;
}

static void save_head(struct buf *out, const struct place *p, size_t messages)
{
	const struct room *room = p->room;
	struct json_out o = begin_unit(out, RECORD);
	json_int(&o, "version", VERSION);
	json_str(&o, "room", room->name);
	json_bool(&o, "stored", p->kind != PLACE_EPHEMERAL);
	json_text(&o, "epoch", room->epoch);
	json_int(&o, "last_seq", (int64_t)room->last_seq);
	json_int(&o, "top", (int64_t)room->ring.top);
	json_int(&o, "members", (int64_t)room->count);
	json_int(&o, "messages", (int64_t)messages);
	json_int(&o, "keys", (int64_t)room->recent.by_key.count);
	json_int(&o, "keep", (int64_t)room->ring.limits.messages);
	json_int(&o, "keep_ms", (int64_t)room->ring.limits.age_ms);
	if (own_rules(p))
		save_rules(&o, p->rules);
	json_int(&o, "standings", count_standings(p));
	json_int(&o, "knocks", (int64_t)p->lobby.count);
	json_close(&o, '}');
}

static void save_member(struct buf *out, const struct member *m)
{
	struct json_out o = begin_unit(out, UNIT);
	json_text(&o, "peer", m->peer);
	json_int(&o, "worker", m->addr.worker);
	json_int(&o, "slot", m->addr.slot);
	json_int(&o, "generation", m->addr.generation);
	json_text(&o, "role", role_word(m->role));
	json_bool(&o, "connected", m->connected);
	json_bool(&o, "muted", m->muted);
	json_int(&o, "seq", (int64_t)m->seq);
	if (m->state.n)
		json_raw(&o, "state", m->state);
	json_close(&o, '}');
}

static void save_message(struct buf *out, struct ring_item item)
{
	struct json_out o = begin_unit(out, UNIT);
	json_int(&o, "at", clock_unix_ms() - (int64_t)(worker_now_ms() - item.at_ms));
	json_raw(&o, "text", item.text);
	json_close(&o, '}');
}

static void save_key(struct buf *out, const struct recent_entry *e)
{
	struct json_out o = begin_unit(out, UNIT);
	json_str(&o, "user", e->user);
	json_str(&o, "key", e->key);
	json_int(&o, "offset", (int64_t)e->offset);
	json_close(&o, '}');
}

static void save_roles(struct buf *out, const struct rules *r)
{
	struct str user;
	enum role role = ROLE_NONE;
	for (size_t i = 0; (user = rules_next_role(r, &i, &role)).p;) {
		struct json_out o = begin_unit(out, UNIT);
		json_str(&o, "user", user);
		json_text(&o, "role", role_word(role));
		json_close(&o, '}');
	}
}

static void save_standings(struct buf *out, const struct place *p)
{
	const struct standing *standing;
	for (size_t i = 0; (standing = next_standing(p, &i));) {
		struct json_out o = begin_unit(out, UNIT);
		standing_record_write(&o, standing);
		json_close(&o, '}');
	}
}

static void save_knocks(struct buf *out, const struct place *p)
{
	for (const struct knock *k = p->lobby.first; k; k = k->next) {
		struct json_out o = begin_unit(out, UNIT);
		json_text(&o, "knock", k->id);
		json_int(&o, "worker", k->addr.worker);
		json_int(&o, "slot", k->addr.slot);
		json_int(&o, "generation", k->addr.generation);
		if (k->message.n)
			json_str(&o, "message", k->message);
		json_int(&o, "time", k->time);
		json_close(&o, '}');
	}
}

static void save_room(struct buf *out, const struct place *p, size_t messages)
{
	struct room *room = p->room;
	save_head(out, p, messages);
	for (size_t i = 0; i < room->count; i++)
		save_member(out, room->members[i]);
	for (size_t left = messages; left-- > 0;)
		save_message(out, ring_item_at(&room->ring, room->ring.top - left));
	const struct recent_key *at = NULL;
	struct recent_entry e;
	while (recent_next(&room->recent, &at, &e))
		save_key(out, &e);
	if (own_rules(p))
		save_roles(out, p->rules);
	save_standings(out, p);
	save_knocks(out, p);
}

void signaling_settle(void)
{
	announce_settle();
}

enum err signaling_save(struct buf *out, size_t history_max)
{
	enum err err = out->err;
	const struct place *p;
	size_t history = 0;
	for (size_t i = 0; !out->err && (p = rooms_next(&i));) {
		size_t before = out->n;
		if (!p->room)
			continue;
		ring_expire(&p->room->ring, worker_now_ms());
		bool whole = history + p->room->ring.bytes <= history_max;
		history += whole ? p->room->ring.bytes : 0;
		save_room(out, p, whole ? p->room->ring.count : 0);
		if (!out->err)
			continue;
		log_error("a room is too large to be handed over", LOG_STR("room", p->name),
			LOG_INT("members", p->room->count));
		err = out->err;
		buf_cut(out, before);
	}
	return err;
}

/* ---- loading ---- */

struct head {
	struct str room, epoch, rules;
	struct param_int version, last_seq, top, members, messages, keys, keep, keep_ms, roles,
		standings, knocks;
	struct param_bool stored;
};

struct kept_rules {
	struct str owner, title, metadata;
	struct param_bool private, locked, lobby;
	struct param_int max_members;
};

struct kept_role {
	struct str user, role;
};

struct membership {
	struct str peer, role, state;
	struct param_int worker, slot, generation, seq;
	struct param_bool connected, muted;
};

struct message {
	struct str text;
	struct param_int at;
};

struct key {
	struct str user, key;
	struct param_int offset;
};

static const struct field head_fields[] = {
	FIELD(struct head, version, INT, true, VERSION, VERSION),
	FIELD(struct head, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct head, stored, BOOL, true, 0, 0),
	FIELD(struct head, epoch, STRING, true, EPOCH_CHARS, EPOCH_CHARS),
	FIELD(struct head, last_seq, INT, true, 0, INT64_MAX),
	FIELD(struct head, top, INT, true, 0, INT64_MAX),
	FIELD(struct head, members, INT, true, 0, INT64_MAX),
	FIELD(struct head, messages, INT, true, 0, INT64_MAX),
	FIELD(struct head, keys, INT, true, 0, RECENT_MAX),
	FIELD(struct head, keep, INT, false, 0, INT64_MAX),
	FIELD(struct head, keep_ms, INT, false, 0, INT64_MAX),
	FIELD(struct head, rules, OBJECT, false, 0, FRAME_MAX_BYTES),
	FIELD(struct head, roles, INT, false, 0, INT64_MAX),
	FIELD(struct head, standings, INT, false, 0, INT64_MAX),
	FIELD(struct head, knocks, INT, false, 0, KNOCKS_MAX),
	{0},
};

struct kept_knock {
	struct str knock, message;
	struct param_int worker, slot, generation, time;
};

static const struct field knock_fields[] = {
	FIELD(struct kept_knock, knock, STRING, true, PEER_CHARS, PEER_CHARS),
	FIELD(struct kept_knock, worker, INT, true, 0, UINT16_MAX),
	FIELD(struct kept_knock, slot, INT, true, 0, UINT32_MAX),
	FIELD(struct kept_knock, generation, INT, true, 1, UINT32_MAX),
	FIELD(struct kept_knock, message, STRING, false, 0, KNOCK_MESSAGE_MAX),
	FIELD(struct kept_knock, time, INT, true, 0, INT64_MAX),
	{0},
};

static const struct field rules_fields[] = {
	FIELD(struct kept_rules, owner, STRING, true, 0, WHO_MAX_BYTES),
	FIELD(struct kept_rules, private, BOOL, true, 0, 0),
	FIELD(struct kept_rules, locked, BOOL, true, 0, 0),
	FIELD(struct kept_rules, lobby, BOOL, true, 0, 0),
	FIELD(struct kept_rules, max_members, INT, false, 1, INT64_MAX),
	FIELD(struct kept_rules, title, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct kept_rules, metadata, RAW, false, 1, METADATA_CEILING),
	{0},
};

static const struct field role_fields[] = {
	FIELD(struct kept_role, user, STRING, true, 1, WHO_MAX_BYTES),
	FIELD(struct kept_role, role, STRING, true, 1, ROLE_WORD_MAX),
	{0},
};

static const struct field member_fields[] = {
	FIELD(struct membership, peer, STRING, true, PEER_CHARS, PEER_CHARS),
	FIELD(struct membership, worker, INT, true, 0, UINT16_MAX),
	FIELD(struct membership, slot, INT, true, 0, UINT32_MAX),
	FIELD(struct membership, generation, INT, true, 1, UINT32_MAX),
	FIELD(struct membership, role, STRING, true, 1, ROLE_WORD_MAX),
	FIELD(struct membership, connected, BOOL, true, 0, 0),
	FIELD(struct membership, muted, BOOL, false, 0, 0),
	FIELD(struct membership, seq, INT, true, 1, INT64_MAX),
	FIELD(struct membership, state, RAW, false, 1, STATE_CEILING),
	{0},
};

static const struct field message_fields[] = {
	FIELD(struct message, at, INT, true, 0, INT64_MAX),
	FIELD(struct message, text, OBJECT, true, 2, FRAME_MAX_BYTES),
	{0},
};

static const struct field key_fields[] = {
	FIELD(struct key, user, STRING, true, 0, WHO_MAX_BYTES),
	FIELD(struct key, key, STRING, true, 1, KEY_MAX_BYTES),
	FIELD(struct key, offset, INT, true, 1, INT64_MAX),
	{0},
};

/* What stands before the next mark; takes both off. */
static struct str cut(struct str *rest, char mark)
{
	const char *end = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
	struct str piece = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
	size_t step = piece.n + (end ? 1 : 0);
	rest->p += step;
	rest->n -= step;
	return piece;
}

/* Takes the next unit off and reads it; ret is zeroed. *ret_text is what its strings point into. */
static bool read_unit(struct str *rest, const struct field *fields, void *ret, char **ret_text)
{
	struct params_problem problem;
	struct str unit = cut(rest, UNIT);
	if (json_check(unit, NULL) || json_kind(unit) != JSON_OBJECT)
		return false;
	char *text = mem_copy(unit);
	if (params_decode((struct str){text, unit.n}, fields, ret, &problem)) {
		free(text);
		return false;
	}
	*ret_text = text;
	return true;
}

/* Who is nobody any more gets an address that is nobody's, but another one each. */
static bool add_member(
	struct room *room, const struct membership *in, const struct chapter_lookup *lookup)
{
	static const struct principal nobody = {0};
	struct addr old = {
		(uint16_t)in->worker.n, (uint32_t)in->slot.n, (uint32_t)in->generation.n};
	struct addr addr = {0};
	const struct principal *who = NULL;
	enum role role = role_parse(in->role);
	bool lives = lookup->find(lookup->context, old, &addr, &who);
	if (!lives)
		addr = (struct addr){(uint16_t)worker_self()->index, (uint32_t)room->count + 1, 0};
	if (role < ROLE_VIEWER || (uint64_t)in->seq.n <= room->last_seq ||
		room_by_endpoint(room, addr) || room_by_peer(room, in->peer))
		return false;
	struct principal *gone = lives ? NULL : principal_new(&nobody);
	struct member *m = room_add(
		room, lives ? who : gone, addr, role, in->state, in->peer, (uint64_t)in->seq.n);
	m->connected = in->connected.yes;
	m->muted = in->muted.yes;
	principal_unref(&gone);
	return true;
}

static bool read_members(
	struct str *rest, int64_t count, struct room *room, const struct chapter_lookup *lookup)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct membership in = {0};
		char *text = NULL;
		ok = read_unit(rest, member_fields, &in, &text) && add_member(room, &in, lookup);
		free(text);
	}
	return ok;
}

static bool read_messages(struct str *rest, int64_t count, struct room *room)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct message in = {0};
		char *text = NULL;
		ok = read_unit(rest, message_fields, &in, &text);
		int64_t age = ok ? clock_unix_ms() - in.at.n : 0;
		if (ok)
			ring_put(&room->ring, in.text,
				worker_now_ms() - (uint64_t)(age > 0 ? age : 0));
		free(text);
	}
	return ok;
}

static bool read_keys(struct str *rest, int64_t count, struct room *room)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct key in = {0};
		char *text = NULL;
		ok = read_unit(rest, key_fields, &in, &text) &&
			(uint64_t)in.offset.n <= room->ring.top &&
			!recent_find(&room->recent, in.user, in.key);
		if (ok)
			recent_add(&room->recent, in.user, in.key, (uint64_t)in.offset.n);
		free(text);
	}
	return ok;
}

static bool read_roles(struct str *rest, int64_t count, struct rules *rules)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct kept_role in = {0};
		char *text = NULL;
		ok = read_unit(rest, role_fields, &in, &text);
		if (ok)
			rules_put_role(rules, in.user, role_parse(in.role));
		free(text);
	}
	return ok;
}

/* Those of an ephemeral room, when there are any: then *ret_rules is the caller's. */
static bool read_rules(struct str *rest, const struct head *head, struct rules **ret_rules)
{
	struct kept_rules in = {0};
	struct params_problem problem;
	if (!head->rules.p)
		return true;
	if (head->stored.yes || params_decode(head->rules, rules_fields, &in, &problem))
		return false;
	*ret_rules = rules_new(&(struct rules){.name = head->room,
		.owner = in.owner,
		.private = in.private.yes,
		.locked = in.locked.yes,
		.lobby = in.lobby.yes,
		.max_members = in.max_members.n,
		.title = in.title,
		.metadata = in.metadata});
	return read_roles(rest, head->roles.n, *ret_rules);
}

static bool read_standings(struct str *rest, int64_t count, struct standings *standings)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct standing_record in = {0};
		char *text = NULL;
		ok = read_unit(rest, standing_fields, &in, &text);
		if (ok)
			standing_record_take(standings, &in);
		free(text);
	}
	return ok;
}

/* Who is nobody any more does not knock. */
static bool read_knocks(
	struct str *rest, int64_t count, const struct chapter_lookup *lookup, struct lobby *lobby)
{
	bool ok = true;
	while (ok && count-- > 0) {
		struct kept_knock in = {0};
		struct addr addr = {0};
		const struct principal *who = NULL;
		char *text = NULL;
		ok = read_unit(rest, knock_fields, &in, &text);
		struct addr old = {
			(uint16_t)in.worker.n, (uint32_t)in.slot.n, (uint32_t)in.generation.n};
		if (ok && lookup->find(lookup->context, old, &addr, &who))
			lobby_put(lobby, addr, who, in.knock, in.message, in.time.n);
		free(text);
	}
	return ok;
}

/* As large as it was: what the room says of its history is known once its rules are loaded. */
static struct ring_limits kept_limits(const struct head *head)
{
	struct ring_limits limits = {options()->history_messages, options()->history_bytes,
		UINT64_C(1000) * options()->history_age_s};
	if (head->keep.given)
		limits.messages = (size_t)head->keep.n;
	if (head->keep_ms.given)
		limits.age_ms = (uint64_t)head->keep_ms.n;
	return limits;
}

/* What was not adopted. */
static void drop(struct adoption *a)
{
	while (a->room && a->room->count) {
		struct member *m = a->room->members[a->room->count - 1];
		room_remove(&m);
	}
	room_free(&a->room);
	rules_free(&a->rules);
	standings_free(&a->standings);
	lobby_drop(&a->lobby);
}

/* The whole room, or false; *ret is the caller's to drop. */
static bool read_room(struct str units, const struct head *head,
	const struct chapter_lookup *lookup, struct adoption *ret)
{
	struct room *room = ret->room = room_new(head->room, kept_limits(head));
	memcpy(room->epoch, head->epoch.p, EPOCH_CHARS);
	bool ok = head->messages.n <= head->top.n;
	room->ring.top = ok ? (uint64_t)(head->top.n - head->messages.n) : 0;
	ok = ok && read_members(&units, head->members.n, room, lookup) &&
		(uint64_t)head->last_seq.n >= room->last_seq &&
		read_messages(&units, head->messages.n, room) &&
		read_keys(&units, head->keys.n, room) && read_rules(&units, head, &ret->rules) &&
		read_standings(&units, head->standings.n, &ret->standings) &&
		read_knocks(&units, head->knocks.n, lookup, &ret->lobby) && !units.n;
	room->last_seq = (uint64_t)head->last_seq.n;
	ret->stored = head->stored.yes;
	return ok;
}

static void load_room(struct str record, const struct chapter_lookup *lookup)
{
	struct head head = {0};
	char *text = NULL;
	bool ok = read_unit(&record, head_fields, &head, &text);
	/* Whose it is nobody knows: one worker says so for all. */
	if (!ok && worker_self()->index == 0)
		log_error("the record of a room is damaged or of another version");
	if (ok && worker_home(head.room) == worker_self()) {
		struct adoption a = {0};
		if (!read_room(record, &head, lookup, &a))
			log_error("the record of a room is damaged", LOG_STR("room", head.room));
		else if (!rooms_adopt(&a))
			log_error("there are two records of a room", LOG_STR("room", head.room));
		drop(&a);
	}
	free(text);
}

void signaling_load(struct str records, const struct chapter_lookup *lookup)
{
	cut(&records, RECORD); /* nothing stands before the first */
	while (records.n)
		load_room(cut(&records, RECORD), lookup);
}
