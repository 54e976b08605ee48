-- name: noticed_seq
SELECT noticed_seq FROM installation;

-- name: mark_due
-- Marks what the events of (after, upto] touch. On SQLite seq is in commit order: one writer.
-- A row that sleeps until its batch sleeps on.
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
WHERE (customer, meter_key) > (:customer, :meter_key) AND (:now IS NULL OR not_before <= :now)
ORDER BY customer, meter_key LIMIT :limit;

-- name: clear_due
DELETE FROM report_due WHERE customer = ? AND meter_key = ? AND mark = ?;

-- name: sleep_due
-- Not where it was marked anew: a period may have ended meanwhile. What events mark is looked at once
-- more, and then sleeps too.
UPDATE report_due SET not_before = ? WHERE customer = ? AND meter_key = ? AND mark = ?;

-- name: is_marked
-- Where it is not: whoever took it for planned, or would, knew nothing of what is being written.
SELECT 1 FROM report_due WHERE customer = ? AND meter_key = ? AND mark = ?;

-- name: reported
-- What the reports of a period add up to, replaced ones left out; kept with each report.
SELECT quantity_whole, quantity_pico, next_sequence FROM report_totals
WHERE customer = ? AND meter_key = ? AND period_start_at = ?;

-- name: add_to_total
-- Changes nothing where the report's place in the sequence is not the next.
INSERT INTO report_totals (
    customer, meter_key, period_start_at, quantity_whole, quantity_pico, next_sequence
) SELECT :customer, :meter_key, :period_start_at, :whole, :pico, 1 WHERE :sequence = 0
    OR EXISTS (
        SELECT 1 FROM report_totals WHERE customer = :customer AND meter_key = :meter_key
            AND period_start_at = :period_start_at
    )
ON CONFLICT (customer, meter_key, period_start_at) DO UPDATE SET
    quantity_whole = quantity_whole + :whole + (quantity_pico + :pico) / 1000000000000,
    quantity_pico = (quantity_pico + :pico) % 1000000000000,
    next_sequence = next_sequence + 1
WHERE next_sequence = :sequence;

-- name: take_from_total
-- A report that is replaced counts no more. whole and pico are those of its quantity, negated.
UPDATE report_totals SET
    quantity_whole = quantity_whole + :whole + (quantity_pico + :pico) / 1000000000000,
    quantity_pico = (quantity_pico + :pico) % 1000000000000
WHERE customer = :customer AND meter_key = :meter_key AND period_start_at = :period_start_at;

-- name: known_end
SELECT period_end_at FROM usage_reports WHERE customer = ? AND meter_key = ? AND period_start_at = ?
ORDER BY sequence DESC LIMIT 1;

-- name: next_mark
UPDATE installation SET due_mark = due_mark + 1;

-- name: mark_due_again
INSERT INTO report_due (customer, meter_key, mark)
SELECT ?, ?, due_mark FROM installation WHERE true
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark, not_before = 0;

-- name: add_report
-- A pending report is ready if its lane is empty, else it queues behind the others.
INSERT INTO usage_reports (
    customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, way, stripe_item_id,
    level, record_aggregation, is_increment, event_source, event_id, cancels, closes_at, planned_at,
    wake_at, stage
) VALUES (
    :customer, :stripe_customer_id, :meter_key, :period_start_at, :period_end_at, :window_start_at,
    :window_end_at, :sequence, :quantity, :timestamp, :identifier, :state, :reason, :way,
    :stripe_item_id, :level, :record_aggregation, :is_increment, :event_source, :event_id, :cancels,
    :closes_at, :now, :now,
    CASE
        WHEN :state <> 'pending' THEN 'settled'
        WHEN EXISTS (
            SELECT 1 FROM usage_reports WHERE state = 'pending'
                AND stripe_customer_id = :stripe_customer_id AND meter_key = :meter_key
        ) THEN 'queued'
        ELSE 'ready'
    END
);

-- name: all_reports
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE :customer IS NULL OR customer = :customer ORDER BY id;

-- name: reports_of_period
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports WHERE customer = ? AND meter_key = ? AND period_start_at = ? ORDER BY sequence;

-- name: strays
-- What Stripe has, or may have, and bills nowhere.
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels
FROM usage_reports
WHERE customer = ? AND meter_key = ? AND reason IN ('stray_taken', 'stray_unknown')
ORDER BY id;

-- name: wake
-- Whose lease ran out, and whose time has come, is ready again; a few at a time, oldest first.
UPDATE usage_reports SET stage = 'ready' WHERE id IN (
    SELECT id FROM usage_reports WHERE stage = 'waiting' AND wake_at <= :now
    ORDER BY wake_at LIMIT :limit
);

-- name: claimable
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, closes_at, step, planned_at,
    settled_at, verified_at, is_increment, event_source, event_id, cancels, lease_token
FROM usage_reports WHERE stage = 'ready' ORDER BY closes_at, wake_at, id LIMIT :limit;

-- name: lease
-- maybe_taken is set beforehand: if this process dies now, nobody knows what Stripe did.
UPDATE usage_reports SET
    maybe_taken = 1, stage = 'waiting', wake_at = :lease_until, lease_token = lease_token + 1,
    attempts = attempts + 1, first_attempt_at = COALESCE(first_attempt_at, :now)
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: settle
-- Returns the leases that were held: who lost one writes nothing.
WITH outcome (id, token, state, maybe_taken, reason, step, wake_at, settled_at)
    AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?))
UPDATE usage_reports SET
    state = outcome.state, maybe_taken = outcome.maybe_taken, reason = outcome.reason,
    step = outcome.step,
    first_attempt_at = CASE
        WHEN outcome.state = 'pending' AND NOT outcome.maybe_taken THEN NULL
        ELSE first_attempt_at END,
    stage = CASE outcome.state
        WHEN 'pending' THEN 'waiting' WHEN 'delivered' THEN 'unverified' ELSE 'settled' END,
    wake_at = outcome.wake_at, settled_at = outcome.settled_at
FROM outcome
WHERE usage_reports.id = outcome.id AND lease_token = outcome.token
    AND usage_reports.state = 'pending'
RETURNING id, lease_token;

-- name: next_in_lane
-- One that is to be resolved later waits at the head.
WITH lane (stripe_customer_id, meter_key, now) AS (VALUES (?, ?, ?)),
head (id, now) AS (
    SELECT (
        SELECT MIN(id) FROM usage_reports WHERE state = 'pending'
            AND stripe_customer_id = lane.stripe_customer_id AND meter_key = lane.meter_key
    ), now FROM lane
)
UPDATE usage_reports SET
    stage = CASE WHEN wake_at > head.now THEN 'waiting' ELSE 'ready' END,
    wake_at = MAX(wake_at, head.now)
FROM head WHERE usage_reports.id = head.id AND stage = 'queued';

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
