-- What came of a sign-in: grants, each to one client; what people consented to; which clients need not
-- ask them; where people may go when they sign out.

ALTER TABLE clients ADD COLUMN trusted INTEGER NOT NULL DEFAULT 0 CHECK (trusted IN (0, 1)); -- the operator's own: no consent is asked
ALTER TABLE clients ADD COLUMN post_logout_uris TEXT NOT NULL DEFAULT ''; -- words

-- The most that somebody has allowed a client so far.
CREATE TABLE consents (
	user TEXT NOT NULL,
	client_id TEXT NOT NULL,
	scope TEXT NOT NULL, -- words
	given_at INTEGER NOT NULL,
	PRIMARY KEY (user, client_id)
) STRICT, WITHOUT ROWID;

-- One sign-in at one client. All tokens that came from it carry its sid, and no new ones come from it
-- once the row is gone. Whoever takes a row away before its end writes down a withdrawal of the kind
-- 'grant' in the same operation.
CREATE TABLE grants (
	sid TEXT PRIMARY KEY,
	user TEXT NOT NULL,
	client_id TEXT NOT NULL,
	scope TEXT NOT NULL, -- words
	login BLOB, -- of the browser that it was given from; NULL: that is not known any more
	created_at INTEGER NOT NULL,
	used_at INTEGER NOT NULL, -- when tokens were given last
	expires_at INTEGER NOT NULL, -- no token of it lives longer
	address TEXT NOT NULL, -- the client's at created_at
	agent TEXT NOT NULL -- what the browser called itself then
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_user ON grants (user);
CREATE INDEX grants_by_login ON grants (login) WHERE login IS NOT NULL;
CREATE INDEX grants_by_client ON grants (client_id);
CREATE INDEX grants_by_expiry ON grants (expires_at);

ALTER TABLE codes ADD COLUMN sid TEXT NOT NULL DEFAULT ''; -- of the grant that it stands for

-- What helps somebody to know their own browsers in a list.
ALTER TABLE logins ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN agent TEXT NOT NULL DEFAULT '';
