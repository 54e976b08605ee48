-- name: selections
SELECT id, definition FROM selections ORDER BY id;

-- name: keep_appends_out
-- Until this transaction ends, once those that have begun are done.
SELECT pg_advisory_xact_lock(%s);

-- name: fold_in_peace
-- All stored events of a type may have to be read.
SELECT set_config('lock_timeout', '60s', true), set_config('statement_timeout', '0', true);

-- name: add_selection
INSERT INTO selections (id, definition)
SELECT COALESCE(MAX(id), 0) + 1, %s FROM selections
RETURNING id;

-- name: add_to_cells
-- For what is only added up; in the order of the key, in which all appends wait for each other.
INSERT INTO usage_rollups AS cell (
    customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole, sum_pico
)
SELECT * FROM unnest(
    %b::text[], %b::integer[], %b::boolean[], %b::bigint[], %b::text[], %b::bigint[], %b::bigint[],
    %b::bigint[]
)
ON CONFLICT (customer, selection_id, is_history, hour_at, dimension) DO UPDATE SET
    event_count = cell.event_count + excluded.event_count,
    sum_whole = cell.sum_whole + excluded.sum_whole
        + (cell.sum_pico + excluded.sum_pico) / 1000000000000,
    sum_pico = (cell.sum_pico + excluded.sum_pico) %% 1000000000000;

-- name: lock_cells
-- Takes cells for this transaction, made where there are none; changes nothing of those there are.
INSERT INTO usage_rollups AS cell (
    customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole, sum_pico
)
SELECT *, 0, 0, 0
FROM unnest(%b::text[], %b::integer[], %b::boolean[], %b::bigint[], %b::text[])
ON CONFLICT (customer, selection_id, is_history, hour_at, dimension) DO UPDATE
    SET event_count = cell.event_count WHERE false;

-- name: cells_of
SELECT customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole, sum_pico,
    detail
FROM unnest(%b::text[], %b::integer[], %b::boolean[], %b::bigint[], %b::text[])
    AS wanted (customer, selection_id, is_history, hour_at, dimension)
JOIN usage_rollups USING (customer, selection_id, is_history, hour_at, dimension);

-- name: keep_cells
INSERT INTO usage_rollups (
    customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole, sum_pico, detail
)
SELECT * FROM unnest(
    %b::text[], %b::integer[], %b::boolean[], %b::bigint[], %b::text[], %b::bigint[], %b::bigint[],
    %b::bigint[], %b::text[]
)
ON CONFLICT (customer, selection_id, is_history, hour_at, dimension) DO UPDATE SET
    event_count = excluded.event_count, sum_whole = excluded.sum_whole,
    sum_pico = excluded.sum_pico, detail = excluded.detail;

-- name: hour_events
-- A customer's events of one type in a stretch of time, with what they count for.
SELECT event.seq, event.occurred_at, COALESCE(correction.value, event.value), properties
FROM usage_events AS event LEFT JOIN LATERAL (
    SELECT id, value FROM event_corrections WHERE seq = event.seq ORDER BY id DESC LIMIT 1
) AS correction ON true
WHERE customer = %(customer)s AND type = %(type)s
    AND occurred_at >= %(from_at)s AND occurred_at < %(to_at)s
    AND (is_history OR NOT %(is_history)s)
    AND (correction.id IS NULL OR correction.value IS NOT NULL);

-- name: events_of_type
SELECT event.seq, event.occurred_at, COALESCE(correction.value, event.value), properties, customer,
    is_history
FROM usage_events AS event LEFT JOIN LATERAL (
    SELECT id, value FROM event_corrections WHERE seq = event.seq ORDER BY id DESC LIMIT 1
) AS correction ON true
WHERE type = %s AND (correction.id IS NULL OR correction.value IS NOT NULL);
