-- Rooms that outlive the process, and what users are in them. Times are Unix seconds.

CREATE TABLE rooms (
	id INTEGER PRIMARY KEY, -- also the order of lists
	name TEXT NOT NULL UNIQUE,
	title TEXT,
	owner TEXT NOT NULL, -- a user, as everywhere
	visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
	max_members INTEGER CHECK (max_members > 0), -- NULL: as many as any room
	locked INTEGER NOT NULL DEFAULT 0 CHECK (locked IN (0, 1)),
	metadata TEXT, -- JSON, the bytes as they came
	created_at INTEGER NOT NULL
) STRICT;

-- The owner stands in rooms and needs no row here.
CREATE TABLE room_roles (
	room INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
	user TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('moderator', 'member', 'viewer', 'banned')),
	PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_roles_by_user ON room_roles (user);
