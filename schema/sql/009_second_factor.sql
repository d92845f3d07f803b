-- The second factor of a sign-in: one-time codes by time (RFC 6238), and codes on paper for when the
-- telephone is lost.

CREATE TABLE totp (
	user TEXT PRIMARY KEY,
	secret BLOB NOT NULL, -- sealed with the key of the file seal.key beside the database
	enrolled_at INTEGER NOT NULL,
	last_step INTEGER NOT NULL -- of the newest code that was used: neither it nor an older one is taken again
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
	user TEXT NOT NULL,
	code BLOB NOT NULL, -- hash
	used_at INTEGER, -- NULL: not yet
	PRIMARY KEY (user, code)
) STRICT, WITHOUT ROWID;

-- Somebody whose password was right and who has yet to show the second factor.
CREATE TABLE half_logins (
	half BLOB PRIMARY KEY, -- hash
	user TEXT NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX half_logins_by_user ON half_logins (user);
CREATE INDEX half_logins_by_expiry ON half_logins (expires_at);
