-- More of what a room is: a lobby, what it keeps of its messages, and whether it rests.

ALTER TABLE rooms ADD COLUMN lobby INTEGER NOT NULL DEFAULT 0 CHECK (lobby IN (0, 1));
ALTER TABLE rooms ADD COLUMN archived_at INTEGER; -- NULL: it is in use
ALTER TABLE rooms ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
UPDATE rooms SET updated_at = created_at;

-- What is NULL, as with max_members, is as the template of the name says, and without one the
-- configuration.
ALTER TABLE rooms ADD COLUMN history_messages INTEGER CHECK (history_messages >= 0);
ALTER TABLE rooms ADD COLUMN history_age INTEGER CHECK (history_age > 0); -- seconds
ALTER TABLE rooms ADD COLUMN history_durable INTEGER CHECK (history_durable IN (0, 1));
