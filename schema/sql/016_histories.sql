-- What was published in rooms whose history outlives the process.

-- One room's messages, from an epoch's beginning. Its row is what gives offsets: they go on from it
-- without a hole, whatever becomes of the process. A number is never given again, because what is still
-- on its way to a history that is over must not come into another one.
CREATE TABLE histories (
	history INTEGER PRIMARY KEY AUTOINCREMENT,
	room INTEGER UNIQUE REFERENCES rooms (id) ON DELETE SET NULL, -- NULL: it is over, and goes some rows at a time
	epoch TEXT NOT NULL,
	top INTEGER NOT NULL CHECK (top >= 0) -- the newest offset ever given
) STRICT;

-- Those that are kept have all offsets from the oldest to histories.top: what goes, goes at the old end.
CREATE TABLE messages (
	history INTEGER NOT NULL,
	offset INTEGER NOT NULL CHECK (offset > 0),
	published_at INTEGER NOT NULL, -- Unix milliseconds
	user TEXT NOT NULL,
	peer TEXT, -- NULL: nobody who was in the room
	data BLOB, -- JSON, the bytes as they came; NULL: there is none any more
	edits INTEGER, -- of the news that another message has this data now: its offset
	redacts INTEGER, -- of the news that another message was taken back: its offset
	edited_at INTEGER, -- Unix milliseconds; NULL: never
	redacted INTEGER NOT NULL DEFAULT 0 CHECK (redacted IN (0, 1)),
	PRIMARY KEY (history, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_by_edit ON messages (history, edits) WHERE edits IS NOT NULL;

-- Idempotency keys of messages, for a day.
CREATE TABLE message_keys (
	history INTEGER NOT NULL,
	user TEXT NOT NULL,
	key TEXT NOT NULL,
	offset INTEGER NOT NULL,
	used_at INTEGER NOT NULL, -- Unix milliseconds
	PRIMARY KEY (history, user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_keys_by_time ON message_keys (used_at);
