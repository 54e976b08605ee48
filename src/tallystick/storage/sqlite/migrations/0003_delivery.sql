-- How a report travels, and its place in the queue.
-- A customer and meter are a lane: its oldest pending report stands at the head and the others
-- queue behind it. So the next reports to send are read from one small index, however many wait.
--
-- stage: queued (behind another one of its lane), waiting (leased, or for another attempt, until
-- wake_at), ready (for the next worker), unverified (delivered; Stripe's total is to be read at
-- wake_at), settled.

DROP INDEX usage_reports_pending;
DROP INDEX usage_reports_pending_by_meter;

ALTER TABLE usage_reports ADD COLUMN way TEXT NOT NULL DEFAULT 'meter_events';
ALTER TABLE usage_reports ADD COLUMN stripe_item_id TEXT;
ALTER TABLE usage_reports ADD COLUMN level TEXT;
ALTER TABLE usage_reports ADD COLUMN record_aggregation TEXT;
ALTER TABLE usage_reports ADD COLUMN closes_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_reports ADD COLUMN step TEXT NOT NULL DEFAULT 'send';
ALTER TABLE usage_reports ADD COLUMN stage TEXT NOT NULL DEFAULT 'settled';
ALTER TABLE usage_reports ADD COLUMN wake_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_reports ADD COLUMN verified_at INTEGER;

UPDATE usage_reports SET
    closes_at = period_end_at + 3600000000,
    wake_at = MAX(next_attempt_at, lease_until),
    stage = CASE state WHEN 'pending' THEN 'queued' WHEN 'delivered' THEN 'unverified' ELSE 'settled' END;

UPDATE usage_reports SET stage = 'waiting' WHERE id IN (
    SELECT MIN(id) FROM usage_reports WHERE state = 'pending' GROUP BY stripe_customer_id, meter_key
);

ALTER TABLE usage_reports DROP COLUMN next_attempt_at;
ALTER TABLE usage_reports DROP COLUMN lease_until;

CREATE INDEX usage_reports_ready ON usage_reports (closes_at, wake_at, id) WHERE stage = 'ready';
CREATE INDEX usage_reports_waiting ON usage_reports (wake_at) WHERE stage = 'waiting';
CREATE INDEX usage_reports_unverified ON usage_reports (wake_at) WHERE stage = 'unverified';
CREATE INDEX usage_reports_lanes
    ON usage_reports (stripe_customer_id, meter_key, id) WHERE state = 'pending';
CREATE INDEX usage_reports_stuck
    ON usage_reports (id) WHERE state IN ('dead', 'unresolved', 'parked');

-- When a customer and meter are looked at next: those that report in batches sleep until theirs.
ALTER TABLE report_due ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;

-- What people decided about stuck reports; never changed.
CREATE TABLE report_decisions (
    id INTEGER PRIMARY KEY,
    report_id INTEGER NOT NULL REFERENCES usage_reports (id),
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_at INTEGER NOT NULL
) STRICT;

CREATE INDEX report_decisions_by_report ON report_decisions (report_id, id);
