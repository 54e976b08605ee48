-- name: parts_of_days
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum
FROM archive_parts WHERE day_at = ANY(%b::bigint[]) ORDER BY day_at, number;

-- name: parts_after
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum
FROM archive_parts WHERE last_seq > %s ORDER BY first_seq;

-- name: parts
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum, dropped_count
FROM archive_parts WHERE day_at >= %(from_at)s AND day_at < %(to_at)s ORDER BY day_at, number;

-- name: still_here
SELECT seq FROM usage_events
WHERE occurred_at >= %(from_at)s AND occurred_at < %(to_at)s AND seq BETWEEN %(first)s AND %(last)s;

-- name: corrections_of
SELECT DISTINCT ON (seq) seq, value FROM event_corrections WHERE seq = ANY(%b::bigint[])
ORDER BY seq, id DESC;

-- name: corrections
SELECT DISTINCT ON (seq) seq, value FROM event_corrections ORDER BY seq, id DESC;

-- name: days
SELECT DISTINCT occurred_at - occurred_at %% 86400000000 AS day_at FROM usage_events
WHERE occurred_at < %s ORDER BY day_at;

-- name: read_long
SELECT set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true);

-- name: unnoticed_hours
-- Hours in which something is stored that was not looked at yet for what is due to be reported.
SELECT DISTINCT occurred_at - occurred_at %% 3600000000, type, customer FROM usage_events
WHERE occurred_at >= %(from_at)s AND occurred_at < %(to_at)s
    AND seq > (SELECT noticed_seq FROM report_notices);

-- name: day_customers
SELECT DISTINCT occurred_at - occurred_at %% 3600000000, type, customer FROM usage_events
WHERE occurred_at >= %(from_at)s AND occurred_at < %(to_at)s;

-- name: day_events
SELECT seq, received_at, source, id, type, customer, occurred_at, value, properties, is_history
FROM usage_events
WHERE occurred_at >= %(from_at)s AND occurred_at < %(to_at)s
    AND customer = ANY(%(customers)b::text[])
ORDER BY customer, occurred_at, seq;

-- name: day_cells
SELECT hour_at, selection_id, customer, event_count, sum_whole, sum_pico FROM usage_rollups
WHERE hour_at >= %(from_at)s AND hour_at < %(to_at)s AND NOT is_history AND dimension = '';

-- name: unsettled
-- Pending, delivered but not verified, or waiting for a decision.
SELECT DISTINCT customer, period_start_at, period_end_at FROM usage_reports
WHERE state = 'pending' OR stage = 'unverified' OR state IN ('dead', 'unresolved', 'parked');

-- name: add_part
INSERT INTO archive_parts (
    day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum, dropped_count,
    archived_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, %s) ON CONFLICT DO NOTHING;

-- name: drop_events
DELETE FROM usage_events
WHERE occurred_at >= %(from_at)s AND occurred_at < %(to_at)s AND seq = ANY(%(seqs)b::bigint[]);

-- name: count_dropped
UPDATE archive_parts SET dropped_count = dropped_count + %s WHERE day_at = %s AND number = %s;

-- name: lock_part
SELECT 1 FROM archive_parts WHERE day_at = %s AND number = %s FOR UPDATE;

-- name: put_back
INSERT INTO usage_events (
    seq, source, id, type, customer, occurred_at, received_at, value, properties, is_history
)
SELECT * FROM unnest(
    %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[],
    %b::numeric[], %b::bytea[], %b::boolean[]
) AS back (seq, source, id, type, customer, at, received_at, value, properties, is_history)
WHERE NOT EXISTS (
    SELECT 1 FROM usage_events WHERE usage_events.seq = back.seq AND occurred_at = back.at
);

-- name: forget_day
DELETE FROM archive_parts WHERE day_at = %s;
