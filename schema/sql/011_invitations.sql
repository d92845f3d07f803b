-- Who has one of these may make an account while sign-up is by invitation.
CREATE TABLE invitations (
	id TEXT PRIMARY KEY,
	code BLOB NOT NULL UNIQUE, -- hash
	note TEXT NOT NULL, -- the operator's: for whom it is
	uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
