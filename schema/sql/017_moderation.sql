-- What moderators decide about users of a room, and invitations. Users are named as everywhere, also
-- those of other issuers and guests ("guest:…").

CREATE TABLE room_bans (
	room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
	user TEXT NOT NULL,
	reason TEXT NOT NULL,
	banned_by TEXT NOT NULL, -- empty: that is not known any more
	created_at INTEGER NOT NULL,
	expires_at INTEGER, -- NULL: never; past it the row is as if it were not there
	PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

-- Until now a ban stood in the place of the role, which it keeps from now on.
INSERT INTO room_bans (room, user, reason, banned_by, created_at)
	SELECT room, user, '', '', unixepoch() FROM room_roles WHERE role = 'banned';
CREATE TABLE room_roles_kept (
	room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
	user TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('moderator', 'member', 'viewer')),
	PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
INSERT INTO room_roles_kept SELECT room, user, role FROM room_roles WHERE role <> 'banned';
DROP TABLE room_roles;
ALTER TABLE room_roles_kept RENAME TO room_roles;
CREATE INDEX room_roles_by_user ON room_roles (user);

CREATE TABLE room_mutes (
	room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
	user TEXT NOT NULL,
	signals TEXT NOT NULL, -- types that are refused, with a space around each; '*': all
	muted_by TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

-- Who has the token of one gets its role in the room; or, where guests is 1, comes in as a guest, without
-- an account. A row stays for as long as a token that was made for a guest of it can live.
CREATE TABLE room_invitations (
	id TEXT PRIMARY KEY,
	room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
	token BLOB NOT NULL UNIQUE, -- hash
	role TEXT NOT NULL CHECK (role IN ('moderator', 'member', 'viewer')),
	guests INTEGER NOT NULL CHECK (guests IN (0, 1)),
	note TEXT NOT NULL,
	invited_by TEXT NOT NULL,
	uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	revoked_at INTEGER, -- NULL: it was not
	guests_until INTEGER NOT NULL DEFAULT 0 -- the end of the last token that was made for a guest of it
) STRICT, WITHOUT ROWID;
CREATE INDEX room_invitations_by_room ON room_invitations (room, id);
CREATE INDEX room_invitations_by_expiry ON room_invitations (expires_at);

-- Who came by which one.
CREATE TABLE room_invited (
	invitation TEXT NOT NULL REFERENCES room_invitations (id) ON DELETE CASCADE,
	user TEXT NOT NULL,
	invited_at INTEGER NOT NULL,
	PRIMARY KEY (invitation, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_invited_by_user ON room_invited (user);

-- A use is taken with the row that says whose it was, and gives the role, which a guest's token says
-- itself. Of too many that come at once the last ones break the check, and so have changed nothing.
CREATE TRIGGER room_invited_takes_a_use AFTER INSERT ON room_invited
BEGIN
	UPDATE room_invitations SET uses_left = uses_left - 1 WHERE id = new.invitation;
	INSERT INTO room_roles (room, user, role)
		SELECT room, new.user, role FROM room_invitations
		WHERE id = new.invitation AND new.user NOT LIKE 'guest:%'
		ON CONFLICT (room, user) DO UPDATE SET role = excluded.role;
END;
