-- The embedded authorization server. Secrets are kept as SHA-256 of what was handed out; what is
-- hashed is random and long, so that this is enough.

CREATE TABLE clients (
	client_id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	secret BLOB, -- hash; NULL: a public client
	grants TEXT NOT NULL, -- words with spaces between, as are the two below
	redirect_uris TEXT NOT NULL,
	scope TEXT NOT NULL,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A used code is kept for a while, so that its second use is seen.
CREATE TABLE codes (
	code BLOB PRIMARY KEY, -- hash
	client_id TEXT NOT NULL, -- also of a client that is built in
	user TEXT NOT NULL,
	redirect_uri TEXT NOT NULL,
	scope TEXT NOT NULL,
	nonce TEXT NOT NULL, -- empty: none
	challenge TEXT NOT NULL, -- S256
	auth_time INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_by_expiry ON codes (expires_at);

-- Who is signed in at the authorization server with which browser.
CREATE TABLE logins (
	login BLOB PRIMARY KEY, -- hash of the cookie
	user TEXT NOT NULL,
	created_at INTEGER NOT NULL, -- when the password was given
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_by_user ON logins (user);
CREATE INDEX logins_by_expiry ON logins (expires_at);

CREATE TABLE signing_keys (
	kid TEXT PRIMARY KEY, -- RFC 7638 thumbprint
	alg TEXT NOT NULL,
	pem TEXT NOT NULL, -- the private key
	created_at INTEGER NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('next', 'active', 'old'))
) STRICT, WITHOUT ROWID;
