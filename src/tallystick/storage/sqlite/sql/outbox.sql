-- name: noticed_seq
SELECT noticed_seq FROM installation;

-- name: mark_due
-- Marks what the events of (after, upto] touch. On SQLite seq is in commit order: one writer.
INSERT INTO report_due (customer, meter_key, mark)
SELECT DISTINCT usage_events.customer, meters.key, installation.due_mark
FROM installation CROSS JOIN usage_events JOIN meters ON meters.event_type = usage_events.type
WHERE seq > :after AND seq <= :upto
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark;

-- name: notice_upto
UPDATE installation SET noticed_seq = ?, due_mark = due_mark + 1;

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) FROM usage_events;

-- name: due
SELECT customer, meter_key, mark FROM report_due
WHERE (customer, meter_key) > (?, ?) ORDER BY customer, meter_key LIMIT ?;

-- name: clear_due
DELETE FROM report_due WHERE customer = ? AND meter_key = ? AND mark = ?;

-- name: reported
SELECT quantity, sequence FROM usage_reports
WHERE customer = ? AND meter_key = ? AND period_start_at = ?;

-- name: next_sequence
SELECT COALESCE(MAX(sequence) + 1, 0) FROM usage_reports
WHERE customer = ? AND meter_key = ? AND period_start_at = ?;

-- name: add_report
INSERT INTO usage_reports (
    customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, planned_at,
    next_attempt_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: all_reports
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at
FROM usage_reports WHERE :customer IS NULL OR customer = :customer ORDER BY id;

-- name: claimable
-- The oldest pending report of each customer and meter, if it may be tried now.
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, lease_token
FROM usage_reports AS report
WHERE state = 'pending' AND next_attempt_at <= :now AND lease_until <= :now
    AND NOT EXISTS (
        SELECT 1 FROM usage_reports AS earlier
        WHERE earlier.state = 'pending' AND earlier.stripe_customer_id = report.stripe_customer_id
            AND earlier.meter_key = report.meter_key AND earlier.id < report.id
    )
ORDER BY next_attempt_at LIMIT :limit;

-- name: lease
-- maybe_taken is set beforehand: if this process dies now, nobody knows what Stripe did.
UPDATE usage_reports SET
    maybe_taken = 1, lease_until = :lease_until, lease_token = :token, attempts = attempts + 1,
    first_attempt_at = COALESCE(first_attempt_at, :now)
WHERE id = :id;

-- name: settle
UPDATE usage_reports SET
    state = :state, maybe_taken = :maybe_taken, reason = :reason, next_attempt_at = COALESCE(:retry_at, next_attempt_at),
    settled_at = CASE WHEN :state = 'pending' THEN NULL ELSE :now END, lease_until = 0
WHERE id = :id AND lease_token = :token AND state = 'pending';

-- name: next_attempt_at
SELECT MIN(MAX(next_attempt_at, lease_until)) FROM usage_reports WHERE state = 'pending';

-- name: counts
SELECT state, COUNT(*) FROM usage_reports GROUP BY state;
