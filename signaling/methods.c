#include "signaling/methods.h"

#include "signaling/ice.h"
#include "signaling/signaling.h"

static const struct field room_fields[] = {
	FIELD(struct room_params, room, STRING, true, 1, NAME_MAX_BYTES),
	{0},
};

static const struct field list_fields[] = {
	FIELD(struct list_params, cursor, STRING, false, 0, NAME_MAX_BYTES),
	FIELD(struct list_params, limit, INT, false, 1, 100),
	FIELD(struct list_params, search, STRING, false, 0, NAME_MAX_BYTES),
	FIELD(struct list_params, mine, BOOL, false, 0, 0),
	FIELD(struct list_params, archived, BOOL, false, 0, 0),
	{0},
};

static const struct field join_fields[] = {
	FIELD(struct join_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct join_params, state, RAW, false, 0, STATE_CEILING),
	FIELD(struct join_params, since, OBJECT, false, 0, NAME_MAX_BYTES),
	FIELD(struct join_params, region, STRING, false, 1, REGION_MAX),
	{0},
};

const struct field since_fields[] = {
	FIELD(struct since_params, epoch, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct since_params, offset, INT, true, 0, INT_MAX_SAFE),
	{0},
};

static const struct field state_fields[] = {
	FIELD(struct state_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct state_params, state, RAW, true, 0, STATE_CEILING),
	{0},
};

static const struct field publish_fields[] = {
	FIELD(struct publish_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct publish_params, data, RAW, true, 0, DATA_CEILING),
	FIELD(struct publish_params, idempotency_key, STRING, false, 1, KEY_MAX_BYTES),
	{0},
};

static const struct field presence_fields[] = {
	FIELD(struct presence_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct presence_params, cursor, STRING, false, 1, NAME_MAX_BYTES),
	{0},
};

static const struct field signal_fields[] = {
	FIELD(struct signal_params, room, STRING, true, 1, NAME_MAX_BYTES),
	FIELD(struct signal_params, to, RAW, true, 0, TO_MAX_BYTES),
	FIELD(struct signal_params, type, STRING, true, 1, TYPE_MAX_LETTERS),
	FIELD(struct signal_params, data, RAW, true, 0, DATA_CEILING),
	{0},
};

const struct field signal_to_fields[] = {
	FIELD(struct signal_to, peer, STRING, false, 1, TO_MAX_BYTES),
	FIELD(struct signal_to, user, STRING, false, 1, TO_MAX_BYTES),
	{0},
};

static const struct field ice_fields[] = {
	FIELD(struct ice_params, region, STRING, false, 1, REGION_MAX),
	{0},
};

#define ROW(name, scope, home, flags, fields, params, run) \
	{ \
		name, SCOPE_##scope, HOME_##home, flags, fields, sizeof(struct params), run \
	}

/* A join takes a place among its session's rooms where the session lives, then travels on by itself:
 * so its home is the caller's. */
const struct method signaling_methods[] = {
	ROW("room.get", ROOMS_JOIN, NAME, 0, room_fields, room_params, room_get_run),
	ROW("room.list", ROOMS_JOIN, CALLER, 0, list_fields, list_params, room_list_run),
	ROW("room.join", ROOMS_JOIN, CALLER, METHOD_SESSION | METHOD_BARRIER | METHOD_JOIN,
		join_fields, join_params, room_join_run),
	ROW("room.leave", NONE, NAME, METHOD_SESSION, room_fields, room_params, room_leave_run),
	ROW("room.state", ROOMS_JOIN, NAME, METHOD_SESSION, state_fields, state_params,
		room_state_run),
	ROW("room.publish", ROOMS_JOIN, NAME, 0, publish_fields, publish_params, room_publish_run),
	ROW("room.presence", ROOMS_JOIN, NAME, 0, presence_fields, presence_params,
		room_presence_run),
	ROW("signal.send", ROOMS_JOIN, NAME, METHOD_RECEIPT, signal_fields, signal_params,
		signal_send_run),
	ROW("ice.servers", ROOMS_JOIN, CALLER, 0, ice_fields, ice_params, ice_servers_run),
	{0},
};
