-- What a process leaves for the next: its sessions and rooms, in pieces. Written in one transaction,
-- taken out before anybody is let in; service/hand_over.c knows the form.

CREATE TABLE hand_over (
	n INTEGER PRIMARY KEY, -- from 0, without holes; below 0: a row for each start that has tried to take it in
	bytes BLOB NOT NULL
) STRICT;
