-- name: days_to_roll
SELECT day_at FROM usage_days WHERE day_at <= %s;

-- name: selection_ids
SELECT id FROM selections ORDER BY id;

-- name: chosen
SELECT selection_id, day_at FROM rolled_days;

-- name: wait_for_appends
-- Those that have begun may write into the days that are chosen now, and not know it.
SELECT pg_advisory_xact_lock(%s);

-- name: choose
-- From now on, what changes in the day makes it stale.
INSERT INTO rolled_days (selection_id, day_at, next_customer)
SELECT *, '' FROM unnest(%b::integer[], %b::bigint[])
ON CONFLICT DO NOTHING;

-- name: roll_alone
-- One step at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(%s);

-- name: under_way
SELECT selection_id, day_at, next_customer FROM rolled_days
WHERE next_customer IS NOT NULL ORDER BY day_at DESC LIMIT 1;

-- name: customers_from
-- Walks the key from customer to customer.
WITH RECURSIVE walk (customer) AS (
    (SELECT customer FROM usage_rollups WHERE customer >= %(first)s ORDER BY customer LIMIT 1)
    UNION ALL
    SELECT (
        SELECT cell.customer FROM usage_rollups AS cell
        WHERE cell.customer > walk.customer ORDER BY cell.customer LIMIT 1
    )
    FROM walk WHERE walk.customer IS NOT NULL
)
SELECT customer FROM walk WHERE customer IS NOT NULL LIMIT %(customers)s;

-- name: roll_sums
-- Adds up the hours of customers' days.
INSERT INTO day_rollups (
    customer, selection_id, day_at, dimension, event_count, sum_whole, sum_pico
)
SELECT wanted.*, day.*
FROM unnest(%b::text[], %b::integer[], %b::bigint[]) AS wanted (customer, selection_id, day_at)
CROSS JOIN LATERAL (
    SELECT dimension, SUM(event_count), SUM(sum_whole), SUM(sum_pico) FROM usage_rollups AS cell
    WHERE cell.customer = wanted.customer AND cell.selection_id = wanted.selection_id
        AND NOT is_history AND hour_at >= wanted.day_at AND hour_at < wanted.day_at + 86400000000
    GROUP BY dimension
) AS day
ON CONFLICT (customer, selection_id, day_at, dimension) DO UPDATE SET
    event_count = excluded.event_count, sum_whole = excluded.sum_whole,
    sum_pico = excluded.sum_pico;

-- name: hours_of
SELECT wanted.*, dimension, event_count, sum_whole, sum_pico, detail
FROM unnest(%b::text[], %b::integer[], %b::bigint[]) AS wanted (customer, selection_id, day_at)
JOIN usage_rollups AS cell
    ON cell.customer = wanted.customer AND cell.selection_id = wanted.selection_id
    AND NOT is_history AND hour_at >= wanted.day_at AND hour_at < wanted.day_at + 86400000000
ORDER BY wanted.customer, wanted.selection_id, wanted.day_at, dimension, hour_at;

-- name: keep_days
INSERT INTO day_rollups (
    customer, selection_id, day_at, dimension, event_count, sum_whole, sum_pico, detail
)
SELECT * FROM unnest(
    %b::text[], %b::integer[], %b::bigint[], %b::text[], %b::bigint[], %b::numeric[], %b::bigint[],
    %b::text[]
)
ON CONFLICT (customer, selection_id, day_at, dimension) DO UPDATE SET
    event_count = excluded.event_count, sum_whole = excluded.sum_whole,
    sum_pico = excluded.sum_pico, detail = excluded.detail;

-- name: rolled_upto
UPDATE rolled_days SET next_customer = %s WHERE selection_id = %s AND day_at = %s;

-- name: note_days
INSERT INTO usage_days (day_at) SELECT unnest(%b::bigint[]) ON CONFLICT DO NOTHING;

-- name: mark_stale
-- In the order of the key. A mark that is there already is taken too, so that whoever rolls its day
-- up waits until these changes are there to be seen.
INSERT INTO stale_days AS stale (customer, selection_id, day_at)
SELECT changed.*
FROM unnest(%b::text[], %b::integer[], %b::bigint[]) AS changed (customer, selection_id, day_at)
JOIN rolled_days USING (selection_id, day_at)
ORDER BY changed.customer, changed.selection_id, changed.day_at
ON CONFLICT (customer, selection_id, day_at) DO UPDATE SET day_at = stale.day_at WHERE false;

-- name: take_stale
-- Those that no append holds at this moment.
DELETE FROM stale_days AS stale USING (
    SELECT customer, selection_id, day_at FROM stale_days LIMIT %s FOR UPDATE SKIP LOCKED
) AS taken
WHERE stale.customer = taken.customer AND stale.selection_id = taken.selection_id
    AND stale.day_at = taken.day_at
RETURNING stale.customer, stale.selection_id, stale.day_at;

-- name: rolled_of_customer
-- The days that a customer's usage is read by.
SELECT day_at FROM rolled_days
WHERE selection_id = %(selection_id)s AND day_at >= %(from_at)s AND day_at < %(to_at)s
    AND next_customer IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM stale_days AS stale
        WHERE stale.customer = %(customer)s AND stale.selection_id = %(selection_id)s
            AND stale.day_at = rolled_days.day_at
    )
ORDER BY day_at;

-- name: all_days
-- Those that are read, beside the hours of the same order.
SELECT customer, selection_id, day_at, dimension, event_count, sum_whole, sum_pico, detail
FROM day_rollups ORDER BY customer, selection_id;

-- name: all_hours
SELECT customer, selection_id, hour_at, dimension, event_count, sum_whole, sum_pico, detail
FROM usage_rollups WHERE NOT is_history ORDER BY customer, selection_id, hour_at;
