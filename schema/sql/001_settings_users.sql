-- What the service keeps about itself: one row a thing, with a name of the module that owns it
-- ("issuer.url").
CREATE TABLE settings (
	name TEXT NOT NULL PRIMARY KEY,
	value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Who can sign in here. A name is what tokens, rooms and other people's rules know a user by, so it
-- never changes and never gets a second owner: no row is deleted, a user who leaves is disabled.
-- Ann and ann are one name (NOCASE), so that nobody can pass for somebody else.
CREATE TABLE users (
	name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY
		CHECK (length(name) BETWEEN 1 AND 64
			AND length(name) = length(CAST(name AS BLOB))
			AND name GLOB '[A-Za-z0-9]*'
			AND name NOT GLOB '*[^A-Za-z0-9._-]*'),
	display_name TEXT NOT NULL,
	password TEXT,               -- a PHC string ("$argon2id$..."); NULL: cannot sign in with one
	created_at INTEGER NOT NULL, -- Unix seconds, as are all times
	disabled_at INTEGER          -- NULL: may sign in
) STRICT, WITHOUT ROWID;

CREATE TRIGGER users_stay BEFORE DELETE ON users
BEGIN
	SELECT RAISE(ABORT, 'a user is disabled, never deleted: the name stays taken');
END;

CREATE TRIGGER users_keep_their_name BEFORE UPDATE OF name ON users
WHEN new.name IS NOT old.name COLLATE BINARY
BEGIN
	SELECT RAISE(ABORT, 'a user''s name never changes');
END;
