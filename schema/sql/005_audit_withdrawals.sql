-- What happened to accounts, clients, grants and tokens, and who did it. Rows are only ever added; what
-- is older than the operator wants to keep is taken off at the old end.
CREATE TABLE audit (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	happened_at INTEGER NOT NULL,
	action TEXT NOT NULL, -- "sign-in", "token.revoke": the words are in docs/SECURITY.md
	outcome TEXT NOT NULL, -- 'ok', or the reason of the refusal
	actor TEXT NOT NULL, -- who did it: a user as everywhere, "operator", or empty: not known
	user TEXT NOT NULL, -- to whom; empty: nobody in particular
	client TEXT NOT NULL, -- client_id, or empty
	address TEXT NOT NULL, -- the client's, or empty
	detail TEXT NOT NULL -- what else matters, as words; never a secret
) STRICT;
CREATE INDEX audit_by_user ON audit (user, id);
CREATE INDEX audit_by_time ON audit (happened_at);

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'what was written into the audit stays as it is');
END;

-- Tokens that are not good any more although their signature is: all that the row fits and that were
-- issued up to withdrawn_at. A row that no living token can fit may go.
CREATE TABLE withdrawals (
	kind TEXT NOT NULL CHECK (kind IN ('token', 'grant', 'user', 'client')),
	value TEXT NOT NULL, -- jti, sid, user, client_id; of a foreign issuer "alias|…"
	withdrawn_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL, -- then the row may go
	PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX withdrawals_by_expiry ON withdrawals (expires_at);
