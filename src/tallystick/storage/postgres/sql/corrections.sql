-- name: places_of
-- Of archived events only place and time are here.
SELECT identity, known.seq, known.occurred_at, type, customer, value
FROM event_identities AS known LEFT JOIN LATERAL (
    SELECT * FROM usage_events WHERE seq = known.seq AND occurred_at = known.occurred_at OFFSET 0
) AS event ON true
WHERE identity = ANY(%b::uuid[]);

-- name: newest_correction
SELECT id, value FROM event_corrections WHERE seq = %s ORDER BY id DESC LIMIT 1;

-- name: add_correction
INSERT INTO event_corrections (seq, value, actor, reason, corrected_at)
VALUES (%s, %s, %s, %s, %s);

-- name: lock_hours
-- Takes every cell of some customers' hours, in the order of the key.
SELECT cell.customer, cell.selection_id, is_history, cell.hour_at, dimension
FROM usage_rollups AS cell JOIN unnest(%b::text[], %b::integer[], %b::bigint[])
    AS wanted (customer, selection_id, hour_at)
    ON cell.customer = wanted.customer AND cell.selection_id = wanted.selection_id
    AND cell.hour_at = wanted.hour_at
ORDER BY cell.customer, cell.selection_id, is_history, cell.hour_at, dimension
FOR UPDATE OF cell;
