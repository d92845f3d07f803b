-- Signing keys follow each other: when each begins to sign, and until when tokens of it may live.
ALTER TABLE signing_keys ADD COLUMN active_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN needed_until INTEGER NOT NULL DEFAULT 0;
UPDATE signing_keys SET active_at = created_at;
