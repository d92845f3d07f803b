-- A file that was put back from a copy and then written further is known by its last changes, not by its counter.
ALTER TABLE dataset_heads ADD COLUMN history TEXT NOT NULL DEFAULT ''; -- dataset/history.h: "begins:from:at:hash"

-- The start of the machine in which this was written down; empty: at the end of the service, in order. After another
-- start nobody knows what the file has lost.
ALTER TABLE dataset_heads ADD COLUMN boot TEXT NOT NULL DEFAULT '';
