-- When users had their last session.
CREATE TABLE last_seen (
	user TEXT PRIMARY KEY,
	seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX last_seen_by_time ON last_seen (seen_at);
