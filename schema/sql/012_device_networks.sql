-- How many devices of one client address wait is counted by what limits count it under, not by its text.
ALTER TABLE device_codes ADD COLUMN network BLOB NOT NULL DEFAULT x''; -- of IPv6 the /64; empty: not limited by it
CREATE INDEX device_codes_by_network ON device_codes (network);
DROP INDEX device_codes_by_address;
