#include "signaling/wish.h"

#include "signaling/access.h"
#include "signaling/methods.h"
#include "signaling/options.h"
#include "signaling/template.h"

#include <time.h>

enum { TITLE_MAX_BYTES = 255, TITLE_RAW_MAX = 2048, NUMBER_RAW_MAX = 32 };

#define WISH_FIELDS \
	FIELD(struct room_wish, room, STRING, true, 1, NAME_MAX_BYTES), \
		FIELD(struct room_wish, title, RAW, false, 0, TITLE_RAW_MAX), \
		FIELD(struct room_wish, visibility, STRING, false, 0, NAME_MAX_BYTES), \
		FIELD(struct room_wish, max_members, RAW, false, 0, NUMBER_RAW_MAX), \
		FIELD(struct room_wish, metadata, RAW, false, 0, METADATA_CEILING), \
		FIELD(struct room_wish, lobby, BOOL, false, 0, 0), \
		FIELD(struct room_wish, history, OBJECT, false, 0, NAME_MAX_BYTES)

const struct field create_fields[] = {
	WISH_FIELDS,
	{0},
};

const struct field update_fields[] = {
	WISH_FIELDS,
	FIELD(struct room_wish, owner, STRING, false, 1, NAME_MAX_BYTES),
	FIELD(struct room_wish, archived, BOOL, false, 0, 0),
	{0},
};

static const struct field keep_fields[] = {
	FIELD(struct keep_params, messages, INT, false, 0, INT_MAX_SAFE),
	FIELD(struct keep_params, age, INT, false, 1, INT_MAX_SAFE),
	FIELD(struct keep_params, durable, BOOL, false, 0, 0),
	{0},
};

static bool no(struct call *c, const char *field, const char *message)
{
	deny_param(c, field, message);
	return false;
}

static bool too_much(struct call *c, const char *field, const char *message, size_t limit)
{
	call_refuse(
		c, ERR_PARAMS, .field = str_of(field), .message = message, .limit = (int64_t)limit);
	return false;
}

/* null takes away what there is. */
static bool is_null(struct str value)
{
	return value.p && json_kind(value) == JSON_NULL;
}

static bool read_title(struct call *c)
{
	static const char wrong[] =
		"title must be null or a string of at most 255 bytes without control characters.";
	struct room_wish *in = c->params;
	if (!in->title.p)
		return true;
	if (is_null(in->title)) {
		in->title.n = 0;
		return true;
	}
	if (json_kind(in->title) != JSON_STRING ||
		json_decode(in->title, (char *)(uintptr_t)in->title.p, &in->title.n) ||
		in->title.n > TITLE_MAX_BYTES || str_has_control(in->title))
		return no(c, "title", wrong);
	return true;
}

static bool read_most(struct call *c, const struct room_template *t)
{
	struct room_wish *in = c->params;
	size_t most = rules_most_members(NULL, t);
	if (!in->max_members.p)
		return true;
	in->most.given = true;
	if (is_null(in->max_members))
		return true;
	if (json_kind(in->max_members) != JSON_NUMBER ||
		json_decode_int(in->max_members, &in->most.n) || in->most.n < 1)
		return no(c, "max_members", "max_members must be null or a whole number from 1.");
	return (uint64_t)in->most.n <= most ||
		too_much(c, "max_members", "max_members is larger than is allowed here.", most);
}

static bool read_metadata(struct call *c)
{
	struct room_wish *in = c->params;
	if (is_null(in->metadata))
		in->metadata.n = 0;
	if (in->metadata.n <= options()->metadata_max)
		return true;
	deny_too_large(c, "metadata", options()->metadata_max);
	return false;
}

static bool read_history(struct call *c, const struct room_template *t)
{
	struct room_wish *in = c->params;
	struct params_problem problem;
	struct history_rules most = rules_history_most(t);
	if (in->history.p && params_decode(in->history, keep_fields, &in->keep, &problem))
		return no(c, "history",
			"history must be {\"messages\"?: number, \"age\"?: seconds from 1, "
			"\"durable\"?: true or false}.");
	if (in->keep.messages.n > (int64_t)most.messages)
		return too_much(c, "history", "history.messages is more than is allowed here.",
			most.messages);
	return in->keep.age.n <= (int64_t)most.age_s ||
		too_much(c, "history", "history.age is longer than is allowed here.", most.age_s);
}

bool wish_read(struct call *c)
{
	const struct room_wish *in = c->params;
	const struct room_template *t = template_of(in->room);
	if (in->visibility.p && !str_is(in->visibility, "public") &&
		!str_is(in->visibility, "private"))
		return no(c, "visibility", "visibility must be \"public\" or \"private\".");
	return read_title(c) && read_most(c, t) && read_metadata(c) && read_history(c, t);
}

struct rules wish_applied(const struct rules *now, const struct room_wish *in)
{
	struct rules r = *now;
	r.title = in->title.p ? in->title : r.title;
	r.metadata = in->metadata.p ? in->metadata : r.metadata;
	r.owner = in->owner.p ? in->owner : r.owner;
	r.private = in->visibility.p ? str_is(in->visibility, "private") : r.private;
	r.lobby = in->lobby.given ? in->lobby.yes : r.lobby;
	r.max_members = in->most.given ? in->most.n : r.max_members;
	if (in->keep.messages.given)
		r.history_messages = in->keep.messages;
	if (in->keep.age.given)
		r.history_age = in->keep.age;
	if (in->keep.durable.given)
		r.history_durable = in->keep.durable;
	if (in->archived.given && in->archived.yes != (r.archived_at != 0))
		r.archived_at = in->archived.yes ? time(NULL) : 0;
	return r;
}
