-- name: selections
SELECT id, definition FROM selections ORDER BY id;

-- name: add_selection
INSERT INTO selections (definition) VALUES (?) RETURNING id;

-- name: cells_of
WITH wanted (hour_at, selection_id, customer, dimension) AS (VALUES (?, ?, ?, ?))
SELECT cell.hour_at, cell.selection_id, cell.customer, cell.dimension, event_count, sum_whole,
    sum_pico, detail, last_seq, latest_at, cell.id
FROM wanted CROSS JOIN usage_rollups AS cell
    ON cell.hour_at = wanted.hour_at AND cell.selection_id = wanted.selection_id
    AND cell.customer = wanted.customer AND cell.dimension = wanted.dimension;

-- name: keep_cells
INSERT INTO usage_rollups (
    hour_at, selection_id, customer, dimension, event_count, sum_whole, sum_pico, detail, last_seq,
    latest_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (hour_at, selection_id, customer, dimension) DO UPDATE SET
    event_count = excluded.event_count, sum_whole = excluded.sum_whole, sum_pico = excluded.sum_pico,
    detail = excluded.detail, last_seq = excluded.last_seq, latest_at = excluded.latest_at;

-- name: keep_numbered
-- Those that are stored, by their numbers: one that is not would be of selection 0, which is refused.
INSERT INTO usage_rollups (
    id, event_count, sum_whole, sum_pico, last_seq, latest_at, hour_at, selection_id, customer,
    dimension
) VALUES (?, ?, ?, ?, ?, ?, 0, 0, '', '')
ON CONFLICT (id) DO UPDATE SET
    event_count = excluded.event_count, sum_whole = excluded.sum_whole, sum_pico = excluded.sum_pico,
    last_seq = excluded.last_seq, latest_at = excluded.latest_at;

-- name: add_plain_cells
-- New ones, which remember no more than count and sum.
INSERT INTO usage_rollups (
    hour_at, selection_id, customer, event_count, sum_whole, sum_pico, last_seq, latest_at, dimension
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')
RETURNING hour_at, selection_id, customer, id;

-- name: widen_spans
INSERT INTO usage_spans (customer, selection_id, first_day_at, last_day_at) VALUES (?, ?, ?, ?)
ON CONFLICT (customer, selection_id) DO UPDATE SET
    first_day_at = MIN(first_day_at, excluded.first_day_at),
    last_day_at = MAX(last_day_at, excluded.last_day_at);

-- name: hour_events
-- An hour's events of one customer and type, from the newest back along the chain.
WITH RECURSIVE chain (seq, previous_seq, occurred_at, value, properties) AS (
    SELECT seq, previous_seq, occurred_at, value, properties FROM usage_events WHERE seq = ?
    UNION ALL
    SELECT event.seq, event.previous_seq, event.occurred_at, event.value, event.properties
    FROM chain CROSS JOIN usage_events AS event ON event.seq = chain.previous_seq
)
SELECT chain.seq, occurred_at, COALESCE(correction.value, chain.value), properties
FROM chain LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = chain.seq)
WHERE correction.id IS NULL OR correction.value IS NOT NULL;

-- name: events_of_type
SELECT event.seq, customer, occurred_at, COALESCE(correction.value, event.value), properties
FROM usage_events AS event LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = event.seq)
WHERE type = ? AND (correction.id IS NULL OR correction.value IS NOT NULL);