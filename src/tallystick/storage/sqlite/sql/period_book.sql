-- name: periods
-- Each period with reports, with the end and the item that the newest of them has, how its records
-- were added up, and the next one's sequence.
SELECT period_start_at, period_end_at, next_sequence, stripe_item_id, record_aggregation
FROM report_totals JOIN usage_reports USING (customer, meter_key, period_start_at)
WHERE customer = ? AND meter_key = ? AND sequence = next_sequence - 1
ORDER BY period_start_at;

-- name: reported_until
SELECT window_end_at FROM usage_reports
WHERE customer = ? AND meter_key = ? AND period_start_at = ? ORDER BY sequence DESC LIMIT 1;

-- name: has_no_more
-- Whether no report was added to a period since its sequence was read.
SELECT 1 FROM report_totals WHERE customer = :customer AND meter_key = :meter_key
    AND period_start_at = :start_at AND next_sequence = :next_sequence;

-- name: move_end
-- What is still to be sent is as urgent as the new end makes it.
UPDATE usage_reports SET
    closes_at = CASE state WHEN 'pending' THEN closes_at + :end_at - period_end_at ELSE closes_at END,
    period_end_at = :end_at
WHERE customer = :customer AND meter_key = :meter_key AND period_start_at = :start_at
    AND period_end_at <> :end_at;

-- name: set_aside
-- Whoever holds a lease loses it. Nothing is changed where the report is not as it was read.
UPDATE usage_reports SET
    state = 'replaced', stage = 'settled', reason = :reason, lease_token = lease_token + 1,
    settled_at = COALESCE(settled_at, :now)
WHERE id = :id AND state = :state AND maybe_taken = :maybe_taken
    AND (state <> 'replaced' OR reason = :was);

-- name: stand_in
-- A report that stands for another one: delivered as that was, or to be resolved as that would be.
UPDATE usage_reports SET
    stage = CASE
        WHEN state = 'delivered' THEN 'unverified'
        WHEN stage = 'ready' AND :resolve_at IS NOT NULL THEN 'waiting'
        ELSE stage
    END,
    step = CASE WHEN :resolve_at IS NULL THEN 'send' ELSE 'resolve' END,
    maybe_taken = :resolve_at IS NOT NULL, wake_at = COALESCE(:resolve_at, :now),
    settled_at = CASE state WHEN 'pending' THEN NULL ELSE :now END
WHERE identifier = :identifier;
