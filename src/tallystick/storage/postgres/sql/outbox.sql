-- name: noticed_seq
-- Locked: one at a time looks at what was stored.
SELECT noticed_seq FROM report_notices FOR UPDATE;

-- name: next_events_end
-- The place of the last of the next events up to where the log is complete, and how many they are:
-- places have gaps.
SELECT MAX(seq), COUNT(*) FROM (
    SELECT seq FROM usage_events WHERE seq > %(after)s AND seq <= %(complete)s
    ORDER BY seq LIMIT %(limit)s
) AS next_events;

-- name: mark_due
-- Marks what the events of (after, upto] touch, in one order, so that two never wait for each other.
-- A row that sleeps until its batch sleeps on.
INSERT INTO report_due (customer, meter_key, mark)
SELECT customer, key, nextval('due_marks') FROM (
    SELECT DISTINCT usage_events.customer, meters.key
    FROM usage_events JOIN meters ON meters.event_type = usage_events.type
    WHERE seq > %(after)s AND seq <= %(upto)s
    ORDER BY customer, key
) AS touched
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark;

-- name: notice_upto
UPDATE report_notices SET noticed_seq = %s;

-- name: due
SELECT customer, meter_key, mark FROM report_due
WHERE (customer, meter_key) > (%(customer)s, %(meter_key)s)
    AND (%(now)s::bigint IS NULL OR not_before <= %(now)s)
ORDER BY customer, meter_key LIMIT %(limit)s;

-- name: clear_due
DELETE FROM report_due WHERE customer = %s AND meter_key = %s AND mark = %s;

-- name: sleep_due
-- Not where it was marked anew: a period may have ended meanwhile. What events mark is looked at once
-- more, and then sleeps too.
UPDATE report_due SET not_before = %s WHERE customer = %s AND meter_key = %s AND mark = %s;

-- name: look_again
-- Whoever took it for planned, or would, knew nothing of what is being written.
INSERT INTO report_due (customer, meter_key, mark)
VALUES (%(customer)s, %(meter_key)s, nextval('due_marks'))
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark, not_before = 0
WHERE report_due.mark <> %(mark)s;

-- name: reported
-- What the reports of a period add up to, replaced ones left out; kept with each report.
SELECT quantity, next_sequence FROM report_totals
WHERE customer = %s AND meter_key = %s AND period_start_at = %s;

-- name: begin_total
INSERT INTO report_totals (customer, meter_key, period_start_at, quantity, next_sequence)
VALUES (%(customer)s, %(meter_key)s, %(period_start_at)s, 0, 0) ON CONFLICT DO NOTHING;

-- name: add_to_total
-- Changes nothing where the report's place in the sequence is not the next.
UPDATE report_totals SET quantity = quantity + %(quantity)s, next_sequence = next_sequence + 1
WHERE customer = %(customer)s AND meter_key = %(meter_key)s
    AND period_start_at = %(period_start_at)s AND next_sequence = %(sequence)s;

-- name: take_from_total
-- A report that is replaced counts no more.
UPDATE report_totals SET quantity = quantity - %(quantity)s
WHERE customer = %(customer)s AND meter_key = %(meter_key)s
    AND period_start_at = %(period_start_at)s;

-- name: known_end
SELECT period_end_at FROM usage_reports WHERE customer = %s AND meter_key = %s AND period_start_at = %s
ORDER BY sequence DESC LIMIT 1;

-- name: mark_due_again
INSERT INTO report_due (customer, meter_key, mark) VALUES (%s, %s, nextval('due_marks'))
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark, not_before = 0;

-- name: lock_lanes
-- In order, so that two never wait for each other; 1,024 locks at most.
SELECT pg_advisory_xact_lock(%(lock)s, place) FROM (
    SELECT DISTINCT hashtext(stripe_customer_id || ' ' || meter_key) & 1023 AS place
    FROM unnest(%(customers)s::text[], %(meters)s::text[]) AS lane (stripe_customer_id, meter_key)
    ORDER BY place
) AS in_order;

-- name: add_report
-- A pending report is ready if its lane is empty, else it queues behind the others.
INSERT INTO usage_reports (
    customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, way, stripe_item_id,
    level, record_aggregation, is_increment, event_source, event_id, cancels, closes_at, planned_at,
    wake_at, stage
) VALUES (
    %(customer)s, %(stripe_customer_id)s, %(meter_key)s, %(period_start_at)s, %(period_end_at)s,
    %(window_start_at)s, %(window_end_at)s, %(sequence)s, %(quantity)s, %(timestamp)s,
    %(identifier)s, %(state)s, %(reason)s, %(way)s, %(stripe_item_id)s, %(level)s,
    %(record_aggregation)s, %(is_increment)s, %(event_source)s, %(event_id)s, %(cancels)s,
    %(closes_at)s, %(now)s, %(now)s,
    CASE
        WHEN %(state)s::text <> 'pending' THEN 'settled'
        WHEN EXISTS (
            SELECT 1 FROM usage_reports WHERE state = 'pending'
                AND stripe_customer_id = %(stripe_customer_id)s AND meter_key = %(meter_key)s
        ) THEN 'queued'
        ELSE 'ready'
    END
);

-- name: all_reports
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE %(customer)s::text IS NULL OR customer = %(customer)s ORDER BY id;

-- name: reports_of_period
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE customer = %s AND meter_key = %s AND period_start_at = %s ORDER BY sequence;

-- name: strays
-- What Stripe has, or may have, and bills nowhere.
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports
WHERE customer = %s AND meter_key = %s AND reason IN ('stray_taken', 'stray_unknown')
ORDER BY id;

-- name: wake
-- Whose lease ran out, and whose time has come, is ready again; a few at a time, oldest first.
UPDATE usage_reports SET stage = 'ready' WHERE id IN (
    SELECT id FROM usage_reports WHERE stage = 'waiting' AND wake_at <= %(now)s
    ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
);

-- name: claim
-- What another worker is claiming at this moment is passed over. maybe_taken is set beforehand: if
-- this process dies now, nobody knows what Stripe did. Reports come back as they were.
WITH chosen AS (
    SELECT * FROM usage_reports WHERE stage = 'ready' ORDER BY closes_at, wake_at, id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE usage_reports SET
        maybe_taken = true, stage = 'waiting', wake_at = %(lease_until)s,
        lease_token = usage_reports.lease_token + 1, attempts = usage_reports.attempts + 1,
        first_attempt_at = COALESCE(usage_reports.first_attempt_at, %(now)s)
    FROM chosen WHERE usage_reports.id = chosen.id
)
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels, lease_token
FROM chosen ORDER BY closes_at, wake_at, id;

-- name: settle
-- Returns the leases that were held: who lost one writes nothing.
UPDATE usage_reports SET
    state = outcome.state, maybe_taken = outcome.maybe_taken, reason = outcome.reason,
    step = outcome.step,
    first_attempt_at = CASE
        WHEN outcome.state = 'pending' AND NOT outcome.maybe_taken THEN NULL
        ELSE first_attempt_at END,
    stage = CASE outcome.state
        WHEN 'pending' THEN 'waiting' WHEN 'delivered' THEN 'unverified' ELSE 'settled' END,
    wake_at = outcome.wake_at, settled_at = outcome.settled_at
FROM unnest(
    %b::bigint[], %b::bigint[], %b::text[], %b::boolean[], %b::text[], %b::text[], %b::bigint[],
    %b::bigint[]
) AS outcome (id, token, state, maybe_taken, reason, step, wake_at, settled_at)
WHERE usage_reports.id = outcome.id AND lease_token = outcome.token
    AND usage_reports.state = 'pending'
RETURNING usage_reports.id, lease_token;

-- name: next_in_lane
-- One that is to be resolved later waits at the head.
UPDATE usage_reports SET
    stage = CASE WHEN wake_at > %(now)s THEN 'waiting' ELSE 'ready' END,
    wake_at = GREATEST(wake_at, %(now)s::bigint)
WHERE stage = 'queued' AND id IN (
    SELECT (
        SELECT MIN(id) FROM usage_reports WHERE state = 'pending'
            AND stripe_customer_id = lane.stripe_customer_id AND meter_key = lane.meter_key
    ) FROM unnest(%(customers)s::text[], %(meters)s::text[]) AS lane (stripe_customer_id, meter_key)
);

-- name: next_attempt_at
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM usage_reports WHERE stage = 'ready') THEN 0
    ELSE (SELECT MIN(wake_at) FROM usage_reports WHERE stage = 'waiting')
END;

-- name: counts
SELECT state, COUNT(*) FROM usage_reports GROUP BY state;

-- name: pending_depth
SELECT COUNT(*), MIN(planned_at), MIN(closes_at) FROM usage_reports WHERE state = 'pending';

-- name: unverified_depth
SELECT COUNT(*), MIN(settled_at) FROM usage_reports WHERE stage = 'unverified';
