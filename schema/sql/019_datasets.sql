-- Datasets that commands have added; those of the configuration are not here.
CREATE TABLE datasets (
	name TEXT NOT NULL PRIMARY KEY,
	definition TEXT NOT NULL, -- JSON: the params of dataset.add, with the database's absolute path
	created_at INTEGER NOT NULL -- Unix seconds
) STRICT, WITHOUT ROWID;

-- Where the captures of attached files stood when they were last seen: a file that stands before that, or is
-- another one, was put back from a copy.
CREATE TABLE dataset_heads (
	database TEXT NOT NULL PRIMARY KEY, -- the file's real path
	epoch TEXT NOT NULL,
	seq INTEGER NOT NULL,
	inode INTEGER NOT NULL,
	marks TEXT NOT NULL -- when it was where, for pruning by age: "time:seq …"
) STRICT, WITHOUT ROWID;
