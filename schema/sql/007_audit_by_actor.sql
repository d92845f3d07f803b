-- The audit is asked what somebody did as often as what was done to them.
CREATE INDEX audit_by_actor ON audit (actor, id);
