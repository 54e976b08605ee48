-- name: selection_id
SELECT id FROM selections WHERE definition = %s;

-- name: hour_cells
SELECT hour_at, dimension, event_count, sum_whole, sum_pico, detail FROM usage_rollups
WHERE customer = %(customer)s AND selection_id = %(selection_id)s AND is_history = %(is_history)s
    AND hour_at >= %(from_at)s AND hour_at < %(to_at)s;

-- name: hours_total
-- The same added up, in numbers that cannot overflow.
SELECT COALESCE(SUM(event_count), 0), COALESCE(SUM(sum_whole), 0), COALESCE(SUM(sum_pico), 0)
FROM usage_rollups
WHERE customer = %(customer)s AND selection_id = %(selection_id)s AND is_history = %(is_history)s
    AND hour_at >= %(from_at)s AND hour_at < %(to_at)s;

-- name: part_cells
-- Some days, and the hours of some stretches between them.
SELECT hour_at, dimension, event_count, sum_whole::numeric, sum_pico, detail
FROM unnest(%(from_at)b::bigint[], %(to_at)b::bigint[]) AS gap (from_at, to_at)
JOIN usage_rollups ON hour_at >= gap.from_at AND hour_at < gap.to_at
WHERE customer = %(customer)s AND selection_id = %(selection_id)s AND is_history = %(is_history)s
UNION ALL
SELECT day_at, dimension, event_count, sum_whole, sum_pico, detail FROM day_rollups
WHERE customer = %(customer)s AND selection_id = %(selection_id)s
    AND day_at = ANY(%(days)b::bigint[]);

-- name: parts_total
-- The same added up.
SELECT COALESCE(SUM(event_count), 0), COALESCE(SUM(sum_whole), 0), COALESCE(SUM(sum_pico), 0)
FROM (
    SELECT event_count, sum_whole::numeric, sum_pico
    FROM unnest(%(from_at)b::bigint[], %(to_at)b::bigint[]) AS gap (from_at, to_at)
    JOIN usage_rollups ON hour_at >= gap.from_at AND hour_at < gap.to_at
    WHERE customer = %(customer)s AND selection_id = %(selection_id)s
        AND is_history = %(is_history)s
    UNION ALL
    SELECT event_count, sum_whole, sum_pico FROM day_rollups
    WHERE customer = %(customer)s AND selection_id = %(selection_id)s
        AND day_at = ANY(%(days)b::bigint[])
) AS part;

-- name: latest_cell_before
SELECT event_count, sum_whole, sum_pico, detail FROM usage_rollups
WHERE customer = %(customer)s AND selection_id = %(selection_id)s AND is_history = %(is_history)s
    AND hour_at < %(to_at)s AND event_count > 0
ORDER BY hour_at DESC LIMIT 1;

-- name: lies_beyond
-- Whether a customer has events in the rest of an hour, or may have in the archive.
SELECT EXISTS (
    SELECT 1 FROM usage_events
    WHERE customer = %(customer)s AND occurred_at >= %(from_at)s AND occurred_at < %(to_at)s
) OR EXISTS (SELECT 1 FROM archive_parts WHERE day_at = %(day_at)s);

-- name: received_at
SELECT received_at FROM usage_events WHERE seq = %s AND occurred_at = %s;

-- name: next_customer
SELECT MIN(customer) FROM usage_rollups WHERE customer > %s;
