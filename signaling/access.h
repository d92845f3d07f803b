/* access.h: who may come near a room, and the words of every refusal of this folder.
 * Thread: the room's own worker. */
#pragma once

#include "signaling/rooms.h"

/* DENIAL(name, error, reason, message) */
#define DENIALS(DENIAL) \
	DENIAL(NO_ROOM, NOT_FOUND, "no_such_room", "There is no room of this name.") \
	DENIAL(NOT_IN_TOKEN, FORBIDDEN, "room_not_in_token", "The token is for other rooms.") \
	DENIAL(BANNED, FORBIDDEN, "banned", "This user is banned from the room.") \
	DENIAL(KICKED, FORBIDDEN, "kicked", \
		"This user was put out of the room and may not come back yet.") \
	DENIAL(MUTED, FORBIDDEN, "muted", "A moderator has muted this user.") \
	DENIAL(NOT_MODERATOR, FORBIDDEN, "not_moderator", "This is for moderators of the room.") \
	DENIAL(NOT_OWNER, FORBIDDEN, "not_owner", "This is for the owner of the room.") \
	DENIAL(OUTRANKED, FORBIDDEN, "outranked", \
		"This user has the same role in the room, or a higher one.") \
	DENIAL(NOT_KEPT, CONFLICT, "room_not_kept", \
		"The room is gone with the last who leaves; make one that is kept.") \
	DENIAL(ARCHIVED, FORBIDDEN, "room_archived", \
		"The room rests; its owner can bring it back.") \
	DENIAL(TOO_MANY_ROLES, FULL, "too_many_roles", \
		"So many users have a role in the room already.") \
	DENIAL(NOT_BANNED, NOT_FOUND, "not_banned", "This user is not banned from the room.") \
	DENIAL(TOO_MANY_SANCTIONS, FULL, "too_many_sanctions", \
		"So many users of the room are banned, kicked or muted already.") \
	DENIAL(NO_INVITATION, NOT_FOUND, "no_such_invitation", \
		"This invitation is not known, was used up or revoked, or is too old.") \
	DENIAL(TOO_MANY_INVITATIONS, FULL, "too_many_invitations", \
		"The room has as many invitations as it may have.") \
	DENIAL(LOBBY, FORBIDDEN, "lobby", "Nobody has let this user in yet; knock first.") \
	DENIAL(KNOCK_DENIED, FORBIDDEN, "knock_denied", \
		"A moderator has just turned this user away.") \
	DENIAL(NO_NEED, CONFLICT, "no_need_to_knock", "This user may join without knocking.") \
	DENIAL(NO_KNOCK, NOT_FOUND, "no_such_knock", "Nobody knocks like that, or not any more.") \
	DENIAL(TOO_MANY_KNOCKS, FULL, "too_many_knocks", "As many knock already as may.") \
	DENIAL(PRIVATE, FORBIDDEN, "room_private", \
		"The room is private and gave this user no role.") \
	DENIAL(LOCKED, FORBIDDEN, "room_locked", "The room is locked; nobody new may join.") \
	DENIAL(ROOM_FULL, FULL, "room_full", "The room has as many members as it may have.") \
	DENIAL(TOO_MANY_ROOMS, FULL, "too_many_rooms", \
		"The session is in as many rooms as it may be in.") \
	DENIAL(NOT_MEMBER, FORBIDDEN, "not_a_member", \
		"This session is not in the room; join it first.") \
	DENIAL(NOT_PRESENT, FORBIDDEN, "not_a_member", \
		"To publish, be in the room, or be its owner or a moderator.") \
	DENIAL(VIEWER, FORBIDDEN, "viewer", "A viewer receives, but does not signal or publish.") \
	DENIAL(NO_PEER, NOT_FOUND, "no_such_peer", "This peer is not in the room.") \
	DENIAL(NO_USER, NOT_FOUND, "no_such_user", "No other peer of this user is in the room.") \
	DENIAL(NO_MESSAGE, NOT_FOUND, "no_such_message", "The room holds no such message.") \
	DENIAL(NOT_YOURS, FORBIDDEN, "not_yours", "The message is somebody else's.") \
	DENIAL(HISTORY_GONE, GONE, "history_gone", \
		"The room does not hold all from that position on any more.") \
	DENIAL(TEMPLATE, FORBIDDEN, "template_forbids", \
		"Rooms of this name are not made by this caller.") \
	DENIAL(GUEST, FORBIDDEN, "guest", "Guests may not do this.") \
	DENIAL(PRESENCE_HIDDEN, FORBIDDEN, "presence_hidden", \
		"Who is there is told to nobody here (presence.visible).") \
	DENIAL(TOO_MANY_WATCHED, FULL, "too_many_watched", \
		"The session watches as many users as it may watch.") \
	DENIAL(RESERVED, FORBIDDEN, "reserved_name", \
		"Rooms whose names begin with call: are made by calls alone.") \
	DENIAL(NO_CALL, NOT_FOUND, "no_such_call", \
		"There is no such call, or this session has no part in it.") \
	DENIAL(ELSEWHERE, CONFLICT, "answered_elsewhere", \
		"The call was accepted by another session of this user.") \
	DENIAL(TOO_MANY_CALLS, FULL, "too_many_calls", \
		"The user rings as many others as may be rung at once.") \
	DENIAL(EXISTS, CONFLICT, "room_exists", "There is a room of this name already.")

enum denial {
	DENIAL_NONE,
#define DENIAL(name, error, reason, message) DENIAL_##name,
	DENIALS(DENIAL)
#undef DENIAL
};

/* Refuses the call, which the caller has no more. limit 0: none. */
void deny(struct call *c, enum denial why, size_t limit);
/* The same, and when it will be over, where this is so for this user only for a while. */
void deny_for_now(const struct place *p, struct call *c, enum denial why, size_t limit);
void deny_too_large(struct call *c, const char *field, size_t limit);
void deny_param(struct call *c, const char *field, const char *message);

/* What the caller is in this room, by token, rules and what was decided about them. */
enum role access_role(const struct place *p, const struct principal *who);

/* Whether the room is there and may be looked at. */
enum denial access_look(const struct place *p, const struct principal *who);
/* The same, and whether what happens in it may be read: not from before a lobby's door. */
enum denial access_read(const struct place *p, const struct principal *who);
/* Whether the caller may come in, as far as it is not a matter of how many do. */
enum denial access_enter(const struct place *p, const struct principal *who);

/* Whether the caller is a moderator of the room, at least. */
enum denial access_moderate(const struct place *p, const struct principal *who);

/* Whether the room is in use: nobody comes into one that rests, and nothing is said in it. */
enum denial access_use(const struct place *p);

/* The member that the caller is, or NULL. */
struct member *access_member(const struct place *p, const struct call *c);

/* Whether the caller may publish there: a member, or one without a peer who is allowed to. */
enum denial access_publish(const struct place *p, const struct call *c);
