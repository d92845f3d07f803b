-- Calls between users: who rang whom, and what came of it. A row is written before anybody is rung. Times
-- are Unix seconds.

CREATE TABLE calls (
	n INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of lists
	id TEXT NOT NULL UNIQUE,
	room TEXT NOT NULL,
	caller TEXT NOT NULL, -- a user, as everywhere; so is callee
	caller_name TEXT NOT NULL,
	callee TEXT NOT NULL,
	callee_name TEXT, -- as who accepted is called
	data TEXT, -- JSON, the bytes as they came, where they are few
	started_at INTEGER NOT NULL,
	answered_at INTEGER,
	ended_at INTEGER,
	outcome TEXT CHECK (outcome IN ('declined', 'cancelled', 'timeout', 'unreachable', 'busy',
		'hangup', 'lost')), -- NULL while it goes on
	seen INTEGER NOT NULL DEFAULT 0 CHECK (seen IN (0, 1)) -- by the callee; of a missed one
) STRICT;
CREATE INDEX calls_by_caller ON calls (caller, n);
CREATE INDEX calls_by_callee ON calls (callee, n);
CREATE INDEX calls_by_time ON calls (started_at);
CREATE INDEX calls_going_on ON calls (n) WHERE ended_at IS NULL;
CREATE INDEX calls_missed ON calls (callee, n) WHERE seen = 0 AND answered_at IS NULL
	AND outcome IN ('timeout', 'cancelled', 'unreachable', 'busy', 'lost');
