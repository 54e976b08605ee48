-- name: next_unverified
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE stage = 'unverified' AND wake_at <= %s ORDER BY wake_at LIMIT 1;

-- name: verify
UPDATE usage_reports SET stage = 'settled', verified_at = %s
WHERE id = ANY(%s) AND stage = 'unverified';

-- name: look_again
UPDATE usage_reports SET wake_at = %s WHERE id = ANY(%s) AND stage = 'unverified';

-- name: leave
UPDATE usage_reports SET stage = 'settled', reason = %s WHERE id = ANY(%s) AND stage = 'unverified';

-- name: report_of_identifier
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE identifier = %s;

-- name: reject
-- Not what is verified: a total had it, and the refusal is another attempt's. Nor what is taken back,
-- or may be: to cancel what Stripe never counted changes nothing there, so that both count for
-- nothing together.
UPDATE usage_reports SET
    state = 'dead', stage = 'settled', reason = %(reason)s, settled_at = %(now)s,
    maybe_taken = false
WHERE identifier = %(identifier)s AND state IN ('pending', 'delivered', 'unresolved')
    AND verified_at IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM usage_reports AS cancellation WHERE cancellation.cancels = %(identifier)s
            AND cancellation.state IN ('pending', 'delivered', 'unresolved')
    );

-- name: find_stuck
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports
WHERE state IN ('dead', 'unresolved', 'parked') AND id > %(after_id)s
    AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(customer)s::text IS NULL OR customer = %(customer)s)
    AND (%(meter_key)s::text IS NULL OR meter_key = %(meter_key)s)
    AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
ORDER BY id LIMIT %(limit)s;

-- name: count_stuck
SELECT COUNT(*) FROM usage_reports
WHERE state IN ('dead', 'unresolved', 'parked')
    AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(customer)s::text IS NULL OR customer = %(customer)s)
    AND (%(meter_key)s::text IS NULL OR meter_key = %(meter_key)s)
    AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s));

-- name: report_by_id
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE id = %s;

-- name: close_stuck
-- A report that a person calls delivered is looked at like any other.
UPDATE usage_reports SET
    state = %(state)s, settled_at = %(now)s, wake_at = %(now)s,
    stage = CASE %(state)s WHEN 'delivered' THEN 'unverified' ELSE 'settled' END
WHERE id = %(id)s AND state IN ('dead', 'unresolved', 'parked');

-- name: add_decision
INSERT INTO report_decisions (report_id, action, actor, reason, decided_at)
VALUES (%s, %s, %s, %s, %s);

-- name: decisions
SELECT action, actor, reason, decided_at FROM report_decisions WHERE report_id = %s ORDER BY id;

-- name: errors_read
SELECT meter_errors_read_seq FROM installation;

-- name: mark_errors_read
UPDATE installation SET meter_errors_read_seq = GREATEST(meter_errors_read_seq, %s);
