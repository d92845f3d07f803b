-- What a process leaves for the next: its sessions and rooms, in pieces. Written in one transaction,
-- taken out before it is used; service/hand_over.c knows the form.

CREATE TABLE hand_over (
	n INTEGER PRIMARY KEY, -- from 0, without holes
	bytes BLOB NOT NULL
) STRICT;
