-- name: next_unverified
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE stage = 'unverified' AND wake_at <= ? ORDER BY wake_at LIMIT 1;

-- name: verify
UPDATE usage_reports SET stage = 'settled', verified_at = ?
WHERE id IN (SELECT value FROM json_each(?)) AND stage = 'unverified';

-- name: look_again
UPDATE usage_reports SET wake_at = ?
WHERE id IN (SELECT value FROM json_each(?)) AND stage = 'unverified';

-- name: leave
UPDATE usage_reports SET stage = 'settled', reason = ?
WHERE id IN (SELECT value FROM json_each(?)) AND stage = 'unverified';

-- name: report_of_identifier
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE identifier = ?;

-- name: reject
-- Not what is verified: a total had it, and the refusal is another attempt's. Nor what is taken back,
-- or may be: to cancel what Stripe never counted changes nothing there, so that both count for
-- nothing together.
UPDATE usage_reports SET
    state = 'dead', stage = 'settled', reason = :reason, settled_at = :now,
    maybe_taken = 0
WHERE identifier = :identifier AND state IN ('pending', 'delivered', 'unresolved')
    AND verified_at IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM usage_reports AS cancellation WHERE cancellation.cancels = :identifier
            AND cancellation.state IN ('pending', 'delivered', 'unresolved')
    );

-- name: find_stuck
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports
WHERE state IN ('dead', 'unresolved', 'parked') AND id > :after_id
    AND (:state IS NULL OR state = :state) AND (:customer IS NULL OR customer = :customer)
    AND (:meter_key IS NULL OR meter_key = :meter_key)
    AND (:reason IS NULL OR substr(reason, 1, length(:reason)) = :reason)
ORDER BY id LIMIT :limit;

-- name: count_stuck
SELECT COUNT(*) FROM usage_reports
WHERE state IN ('dead', 'unresolved', 'parked')
    AND (:state IS NULL OR state = :state) AND (:customer IS NULL OR customer = :customer)
    AND (:meter_key IS NULL OR meter_key = :meter_key)
    AND (:reason IS NULL OR substr(reason, 1, length(:reason)) = :reason);

-- name: report_by_id
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE id = ?;

-- name: close_stuck
-- A report that a person calls delivered is looked at like any other.
UPDATE usage_reports SET
    state = :state, settled_at = :now, wake_at = :now,
    stage = CASE :state WHEN 'delivered' THEN 'unverified' ELSE 'settled' END
WHERE id = :id AND state IN ('dead', 'unresolved', 'parked');

-- name: add_decision
INSERT INTO report_decisions (report_id, action, actor, reason, decided_at) VALUES (?, ?, ?, ?, ?);

-- name: decisions
SELECT action, actor, reason, decided_at FROM report_decisions WHERE report_id = ? ORDER BY id;

-- name: errors_read
SELECT meter_errors_read_seq FROM installation;

-- name: mark_errors_read
UPDATE installation SET meter_errors_read_seq = MAX(meter_errors_read_seq, ?);
