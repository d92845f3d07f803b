#include "signaling/signaling.h"

#include "signaling/ice_renewal.h"
#include "signaling/call_hand_over.h"
#include "signaling/call_records.h"
#include "signaling/meeting.h"
#include "signaling/options.h"
#include "signaling/people.h"
#include "signaling/presence_watch.h"
#include "signaling/room_watch.h"
#include "signaling/rooms.h"
#include "signaling/rpc.h"

#include <assert.h>

const struct signaling_options signaling_defaults = {
	.members_per_room = 1000,
	.rooms_per_session = 128,
	.roster_merge_above = 100,
	.state_max = 4096,
	.data_max = 65536,
	.metadata_max = 16384,
	.history_messages = 100,
	.history_messages_max = 10000,
	.history_bytes = 1024 * 1024,
	.history_age_s = 3600,
	.history_age_max_s = 30 * 24 * 3600,
	.room_idle_ms = 60000,
	.presence_grace_ms = 10000,
	.presence_linger_ms = 3000,
	.ice_lifetime_s = 3600,
	.rpc_in_flight = 1000,
	.calls_per_minute = 30,
	.calls_history_s = INT64_C(90) * 24 * 3600,
};

static struct signaling_options in_force;
static unsigned generation;

void signaling_configure(const struct signaling_options *given)
{
	assert(given->state_max <= STATE_CEILING && given->data_max <= DATA_CEILING &&
		given->metadata_max <= METADATA_CEILING);
	in_force = *given;
	generation++;
}

const struct signaling_options *options(void)
{
	return &in_force;
}

unsigned options_generation(void)
{
	return generation;
}

const struct chapter signaling_chapters[] = {
	{"people", people_save, people_load},
	{"presence", presence_save, presence_load},
	{"watches", watch_save, watch_load},
	{"rpc", rpc_save, rpc_load},
	{"ice", ice_save, ice_load},
	{"meetings", meetings_save, meetings_load},
	{"calls", calls_save, calls_load},
	{"room watches", room_watch_save, room_watch_load},
	{0},
};

static enum err start(struct worker *w)
{
	ice_start(w);
	return rooms_start(w);
}

static void stop(struct worker *w)
{
	rooms_stop(w);
	ice_stop();
}

static void gone(struct addr endpoint, bool clean)
{
	rooms_gone(endpoint, clean);
	ice_gone(endpoint);
}

void signaling_begin(void)
{
	call_records_begin();
}

const struct worker_part signaling_part = {
	.name = "signaling",
	.start = start,
	.drained = rooms_drained,
	.stop = stop,
	.gone = gone,
	.connected = rooms_connected,
	.granted = rooms_granted,
};
