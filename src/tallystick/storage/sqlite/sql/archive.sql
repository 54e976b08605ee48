-- name: parts_of_day
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum
FROM archive_parts WHERE day_at = ? ORDER BY number;

-- name: parts_around
-- Those that may hold an event.
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum
FROM archive_parts WHERE first_seq <= :seq AND last_seq >= :seq ORDER BY day_at, number;

-- name: parts_after
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum
FROM archive_parts WHERE last_seq > ? ORDER BY first_seq;

-- name: parts
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum, dropped_count
FROM archive_parts WHERE day_at >= :from_at AND day_at < :to_at ORDER BY day_at, number;

-- name: still_here
SELECT seq FROM usage_events WHERE seq >= ? AND seq <= ?;

-- name: corrections_of
WITH wanted (seq) AS (VALUES (?))
SELECT wanted.seq, correction.value
FROM wanted CROSS JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = wanted.seq);

-- name: corrections
SELECT seq, value FROM event_corrections
WHERE id IN (SELECT MAX(id) FROM event_corrections GROUP BY seq);

-- name: next_hour
SELECT MIN(hour_at) FROM usage_rollups WHERE hour_at >= ?;

-- name: day_has_events
-- An hour's newest event is in the database if any of its events is. The first condition spares
-- the hours of a day that left whole a look at the log each.
SELECT EXISTS (
    SELECT 1 FROM usage_rollups AS cell
    WHERE hour_at >= :from_at AND hour_at < :to_at
        AND last_seq >= (SELECT MIN(seq) FROM usage_events)
        AND EXISTS (SELECT 1 FROM usage_events WHERE seq = cell.last_seq)
);

-- name: day_cells
SELECT cell.customer, selection_id, hour_at, event_count, sum_whole, sum_pico, last_seq,
    EXISTS (SELECT 1 FROM usage_events WHERE seq = cell.last_seq)
FROM usage_rollups AS cell WHERE hour_at >= :from_at AND hour_at < :to_at AND last_seq > 0;

-- name: looked_upto
-- The newest event stays: new ones are numbered from it.
SELECT MIN(noticed_seq, (SELECT COALESCE(MAX(seq), 0) - 1 FROM usage_events)) FROM installation;

-- name: selections
SELECT id, definition FROM selections;

-- name: chained_events
-- The events of hours, given the newest of each, as far back as they are in the database.
WITH RECURSIVE chain (seq, previous_seq) AS (
    SELECT seq, previous_seq FROM usage_events WHERE seq IN (SELECT value FROM json_each(?))
    UNION ALL
    SELECT event.seq, event.previous_seq
    FROM chain CROSS JOIN usage_events AS event ON event.seq = chain.previous_seq
)
SELECT event.seq, received_at, source, event.id, type, customer, occurred_at, value, properties,
    history.seq IS NOT NULL
FROM chain CROSS JOIN usage_events AS event ON event.seq = chain.seq
LEFT JOIN history_events AS history ON history.seq = chain.seq
ORDER BY occurred_at, event.seq;

-- name: unsettled
-- Pending, delivered but not verified, or waiting for a decision.
SELECT customer, period_start_at, period_end_at FROM usage_reports WHERE state = 'pending'
UNION
SELECT customer, period_start_at, period_end_at FROM usage_reports WHERE stage = 'unverified'
UNION
SELECT customer, period_start_at, period_end_at FROM usage_reports
WHERE state IN ('dead', 'unresolved', 'parked');

-- name: add_part
INSERT INTO archive_parts (
    day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum, dropped_count,
    archived_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?);

-- name: drop_events
DELETE FROM usage_events WHERE seq IN (SELECT value FROM json_each(?));

-- name: count_dropped
UPDATE archive_parts SET dropped_count = dropped_count + ? WHERE day_at = ? AND number = ?;

-- name: put_back
INSERT INTO usage_events (
    seq, previous_seq, source, id, type, customer, occurred_at, received_at, value, properties
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING;

-- name: forget_day
DELETE FROM archive_parts WHERE day_at = ?;
