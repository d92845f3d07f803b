-- How clients prove themselves, how tokens go on from a grant, and how devices without a keyboard get theirs.

ALTER TABLE clients ADD COLUMN jwks TEXT; -- its public keys (RFC 7517); NULL: it has none, and perhaps a secret
ALTER TABLE clients ADD COLUMN id_token_alg TEXT NOT NULL DEFAULT 'ES256' CHECK (id_token_alg IN ('ES256', 'RS256'));

-- Of a grant that may go on. The refresh token is made from sid and generation whenever it is needed.
ALTER TABLE grants ADD COLUMN auth_time INTEGER NOT NULL DEFAULT 0; -- when the password was given
ALTER TABLE grants ADD COLUMN generation INTEGER NOT NULL DEFAULT 0; -- of the newest refresh token; 0: there is none
ALTER TABLE grants ADD COLUMN rotated_at INTEGER NOT NULL DEFAULT 0; -- when the one before it was used
ALTER TABLE grants ADD COLUMN refresh_until INTEGER NOT NULL DEFAULT 0; -- the refresh token's end

-- What clients have signed to prove themselves (RFC 7523), until it runs out: each is good once.
CREATE TABLE assertions (
	client_id TEXT NOT NULL,
	jti BLOB NOT NULL, -- hash
	expires_at INTEGER NOT NULL,
	PRIMARY KEY (client_id, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX assertions_by_expiry ON assertions (expires_at);

-- Devices that wait for somebody to sign in for them elsewhere (RFC 8628).
CREATE TABLE device_codes (
	device_code BLOB PRIMARY KEY, -- hash
	user_code BLOB NOT NULL UNIQUE, -- hash of its letters
	client_id TEXT NOT NULL,
	scope TEXT NOT NULL, -- words
	address TEXT NOT NULL, -- the device's
	state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'denied')),
	sid TEXT NOT NULL DEFAULT '', -- the grant, once approved
	interval INTEGER NOT NULL, -- seconds that it has to leave between two questions
	asked_at INTEGER NOT NULL, -- when it asked last
	hurried INTEGER NOT NULL DEFAULT 0 CHECK (hurried IN (0, 1)), -- the last time it did not wait
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
CREATE INDEX device_codes_by_address ON device_codes (address);
