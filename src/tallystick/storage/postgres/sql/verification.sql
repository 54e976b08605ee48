-- name: read_long
-- A check reads everything, which takes as long as it takes.
SELECT set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true);

-- name: all_events
SELECT event.seq, received_at, source, event.id, type, customer, occurred_at, event.value,
    properties, is_history, correction.id IS NOT NULL, correction.value
FROM usage_events AS event LEFT JOIN LATERAL (
    SELECT id, value FROM event_corrections WHERE seq = event.seq ORDER BY id DESC LIMIT 1
) AS correction ON true
ORDER BY event.seq;

-- name: places_of
SELECT identity, seq FROM event_identities WHERE identity = ANY(%s::uuid[]);

-- name: count_both
SELECT (SELECT COUNT(*) FROM event_identities),
    (SELECT COUNT(*) FROM usage_events)
        + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts);

-- name: astray
-- Identities whose event is not on the day that they say.
SELECT known.seq FROM event_identities AS known
JOIN usage_events AS event ON event.seq = known.seq AND event.occurred_at <> known.occurred_at;

-- name: all_cells
SELECT customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole, sum_pico,
    detail
FROM usage_rollups;

-- name: all_totals
SELECT customer, meter_key, period_start_at, quantity, next_sequence FROM report_totals;

-- name: all_due
SELECT customer, meter_key FROM report_due
UNION
SELECT usage_events.customer, meters.key
FROM usage_events JOIN meters ON meters.event_type = usage_events.type
WHERE seq > (SELECT noticed_seq FROM report_notices);
