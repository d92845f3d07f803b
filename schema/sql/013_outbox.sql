-- Events on their way to webhooks: a row for each webhook that has not got it yet.
CREATE TABLE outbox (
	sequence INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again
	hook TEXT NOT NULL, -- the webhook's name
	id TEXT NOT NULL, -- what receivers know the event by
	type TEXT NOT NULL, -- "room.joined"
	key TEXT NOT NULL, -- events of one key are delivered one behind the other
	time INTEGER NOT NULL, -- Unix ms
	data TEXT NOT NULL -- a JSON object
) STRICT;
CREATE INDEX outbox_by_key ON outbox (hook, key, sequence);

-- What would end with the process, and the event that would say so.
CREATE TABLE outbox_live (
	id TEXT PRIMARY KEY,
	type TEXT NOT NULL,
	key TEXT NOT NULL,
	data TEXT NOT NULL, -- a JSON object
	gone INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)) -- while the next process looks what is left
) STRICT, WITHOUT ROWID;
