-- A file that was put back from a copy and then written further is known by its last changes, not by its counter.
ALTER TABLE dataset_heads ADD COLUMN history TEXT NOT NULL DEFAULT ''; -- dataset/history.h: "begins:from:at:hash"
