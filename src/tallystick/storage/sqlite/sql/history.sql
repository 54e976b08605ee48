-- name: mark_history
INSERT INTO history_events (seq) VALUES (?);

-- name: is_history
SELECT EXISTS (SELECT 1 FROM history_events WHERE seq = ?);

-- name: cells_of
WITH wanted (hour_at, selection_id, customer) AS (VALUES (?, ?, ?))
SELECT cell.hour_at, cell.selection_id, cell.customer, event_count, sum_whole, sum_pico, detail
FROM wanted CROSS JOIN history_rollups AS cell
    ON cell.hour_at = wanted.hour_at AND cell.selection_id = wanted.selection_id
    AND cell.customer = wanted.customer;

-- name: keep_cells
INSERT OR REPLACE INTO history_rollups (
    hour_at, selection_id, customer, event_count, sum_whole, sum_pico, detail
) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: widen_spans
INSERT INTO history_spans (customer, selection_id, first_day_at, last_day_at) VALUES (?, ?, ?, ?)
ON CONFLICT (customer, selection_id) DO UPDATE SET
    first_day_at = MIN(first_day_at, excluded.first_day_at),
    last_day_at = MAX(last_day_at, excluded.last_day_at);

-- name: hour_end
-- The newest event of an hour, history or not, from which its chain starts.
SELECT last_seq FROM usage_rollups
WHERE hour_at = ? AND selection_id = ? AND customer = ? AND dimension = '';

-- name: hour_events
-- The history among an hour's events of one customer and type, along the chain.
WITH RECURSIVE chain (seq, previous_seq, occurred_at, value, properties) AS (
    SELECT seq, previous_seq, occurred_at, value, properties FROM usage_events WHERE seq = ?
    UNION ALL
    SELECT event.seq, event.previous_seq, event.occurred_at, event.value, event.properties
    FROM chain CROSS JOIN usage_events AS event ON event.seq = chain.previous_seq
)
SELECT chain.seq, occurred_at, COALESCE(correction.value, chain.value), properties
FROM chain CROSS JOIN history_events AS history ON history.seq = chain.seq
LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = chain.seq)
WHERE correction.id IS NULL OR correction.value IS NOT NULL;

-- name: events_of_type
SELECT event.seq, customer, occurred_at, COALESCE(correction.value, event.value), properties
FROM history_events AS history CROSS JOIN usage_events AS event ON event.seq = history.seq
LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = event.seq)
WHERE type = ? AND (correction.id IS NULL OR correction.value IS NOT NULL);

-- name: span
SELECT first_day_at, last_day_at FROM history_spans WHERE customer = ? AND selection_id = ?;

-- name: hour_cells
-- Seeks each hour of [from, to), as usage does.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :from_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at + 3600000000 < :to_at
)
SELECT cell.hour_at, '', event_count, sum_whole, sum_pico, detail
FROM hours CROSS JOIN history_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer;

-- name: latest_cell_before
-- Looks back hour by hour for the last one before :to_at, not beyond :from_at.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :to_at - 3600000000
    UNION ALL
    SELECT hour_at - 3600000000 FROM hours WHERE hour_at > :from_at
)
SELECT cell.event_count, sum_whole, sum_pico, detail
FROM hours CROSS JOIN history_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer
WHERE cell.event_count > 0
LIMIT 1;

-- name: received_at
SELECT received_at FROM usage_events WHERE seq = ?;

-- name: all_cells
SELECT hour_at, selection_id, customer, event_count, sum_whole, sum_pico, detail
FROM history_rollups;
