#include "signaling/standing_record.h"

#include "core/clock.h"
#include "core/worker.h"
#include "signaling/act.h"

const struct field standing_fields[] = {
	FIELD(struct standing_record, user, STRING, true, 1, USER_MAX_BYTES),
	FIELD(struct standing_record, muted, BOOL, false, 0, 0),
	FIELD(struct standing_record, signals, STRING, false, 0, SIGNALS_MAX_BYTES),
	FIELD(struct standing_record, banned, BOOL, false, 0, 0),
	FIELD(struct standing_record, reason, STRING, false, 0, REASON_MAX_BYTES),
	FIELD(struct standing_record, by, STRING, false, 0, USER_MAX_BYTES),
	FIELD(struct standing_record, created_at, INT, false, 0, INT64_MAX),
	FIELD(struct standing_record, expires_at, INT, false, 0, INT64_MAX),
	FIELD(struct standing_record, admitted, BOOL, false, 0, 0),
	FIELD(struct standing_record, kicked_until, INT, false, 0, INT64_MAX),
	FIELD(struct standing_record, denied_until, INT, false, 0, INT64_MAX),
	{0},
};

bool standing_is_recorded(const struct standing *standing, bool kept)
{
	uint64_t now = worker_now_ms();
	return standing->muted || standing->admitted || (standing->banned && !kept) ||
		standing->kicked_until > now || standing->denied_until > now;
}

static int64_t unix_of(uint64_t ms)
{
	return clock_unix_ms() + (int64_t)(ms - worker_now_ms());
}

static uint64_t ms_of(int64_t unix_ms)
{
	int64_t left = unix_ms - clock_unix_ms();
	return left > 0 ? worker_now_ms() + (uint64_t)left : 0;
}

void standing_record_write(struct json_out *o, const struct standing *standing)
{
	uint64_t now = worker_now_ms();
	json_str(o, "user", standing->user);
	if (standing->muted) {
		json_bool(o, "muted", true);
		json_str(o, "signals", standing->signals);
	}
	if (standing->banned) {
		json_bool(o, "banned", true);
		json_str(o, "reason", standing->ban.reason);
		json_str(o, "by", standing->ban.by);
		json_int(o, "created_at", standing->ban.created_at);
		json_int(o, "expires_at", standing->ban.expires_at);
	}
	if (standing->admitted)
		json_bool(o, "admitted", true);
	if (standing->kicked_until > now)
		json_int(o, "kicked_until", unix_of(standing->kicked_until));
	if (standing->denied_until > now)
		json_int(o, "denied_until", unix_of(standing->denied_until));
}

void standing_record_take(struct standings *s, const struct standing_record *in)
{
	struct standing *standing = standing_put(s, in->user, true);
	if (in->muted.yes)
		standing_mute(standing, in->signals);
	if (in->banned.yes)
		standing_ban(standing,
			&(struct ban){in->reason, in->by, in->created_at.n, in->expires_at.n});
	if (in->kicked_until.n)
		standing_kick(s, standing, ms_of(in->kicked_until.n));
	if (in->denied_until.n)
		standing_deny(s, standing, ms_of(in->denied_until.n));
	standing->admitted = in->admitted.yes;
}
