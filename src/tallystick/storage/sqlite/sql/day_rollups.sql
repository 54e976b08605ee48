-- name: next_hour
SELECT MIN(hour_at) FROM usage_rollups WHERE hour_at >= ?;

-- name: selection_ids
SELECT id FROM selections ORDER BY id;

-- name: chosen
SELECT selection_id, day_at FROM rolled_days;

-- name: choose
-- From now on, what changes in the day makes it stale.
WITH chosen (selection_id, day_at) AS (VALUES (?, ?))
INSERT OR IGNORE INTO rolled_days (selection_id, day_at, next_customer)
SELECT selection_id, day_at, '' FROM chosen;

-- name: under_way
SELECT selection_id, day_at, next_customer FROM rolled_days
WHERE next_customer IS NOT NULL ORDER BY day_at DESC LIMIT 1;

-- name: last_customer
-- The last customer of a step: no hour of the day has more rows before. NULL if it takes the rest.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :day_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at < :day_at + 82800000000
)
SELECT MIN(customer) FROM (
    SELECT (
        SELECT customer FROM usage_rollups AS cell
        WHERE cell.hour_at = hours.hour_at AND selection_id = :selection_id
            AND customer >= :first_customer
        ORDER BY customer LIMIT 1 OFFSET :customers - 1
    ) AS customer
    FROM hours
);

-- name: customer_after
WITH RECURSIVE hours (hour_at) AS (
    SELECT :day_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at < :day_at + 82800000000
)
SELECT MIN(customer) FROM (
    SELECT (
        SELECT MIN(customer) FROM usage_rollups AS cell
        WHERE cell.hour_at = hours.hour_at AND selection_id = :selection_id
            AND customer > :last_customer
    ) AS customer
    FROM hours
);

-- name: roll_sums
-- Adds up the hours of a day, of customers from one to another.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :day_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at < :day_at + 82800000000
)
INSERT OR REPLACE INTO day_rollups (
    customer, selection_id, day_at, dimension, event_count, sum_high, sum_low, sum_pico
)
SELECT customer, :selection_id, :day_at, dimension, SUM(event_count), SUM(sum_whole >> 32),
    SUM(sum_whole & 4294967295), SUM(sum_pico)
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND selection_id = :selection_id AND customer BETWEEN :first_customer AND :last_customer
GROUP BY customer, dimension;

-- name: hours_of
WITH RECURSIVE hours (hour_at) AS (
    SELECT :day_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at < :day_at + 82800000000
)
SELECT customer, dimension, event_count, sum_whole, sum_pico, detail
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND selection_id = :selection_id AND customer BETWEEN :first_customer AND :last_customer
ORDER BY customer, dimension, cell.hour_at;

-- name: keep_days
INSERT OR REPLACE INTO day_rollups (
    customer, selection_id, day_at, dimension, event_count, sum_high, sum_low, sum_pico, detail
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: rolled_upto
UPDATE rolled_days SET next_customer = ? WHERE selection_id = ? AND day_at = ?;

-- name: mark_stale
WITH changed (customer, selection_id, day_at) AS (VALUES (?, ?, ?))
INSERT OR IGNORE INTO stale_days (customer, selection_id, day_at)
SELECT customer, changed.selection_id, changed.day_at
FROM changed CROSS JOIN rolled_days AS rolled
    ON rolled.selection_id = changed.selection_id AND rolled.day_at = changed.day_at;

-- name: stale
SELECT customer, selection_id, day_at FROM stale_days LIMIT ?;

-- name: not_stale
DELETE FROM stale_days WHERE customer = ? AND selection_id = ? AND day_at = ?;

-- name: selections
SELECT id, definition FROM selections;

-- name: rolled_of_customer
-- The days that a customer's usage is read by.
SELECT day_at FROM rolled_days AS rolled
WHERE selection_id = :selection_id AND day_at >= :from_at AND day_at < :to_at
    AND next_customer IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM stale_days AS stale
        WHERE customer = :customer AND stale.selection_id = :selection_id
            AND stale.day_at = rolled.day_at
    )
ORDER BY day_at;

-- name: day_cells
SELECT day_at, dimension, event_count, sum_high, sum_low, sum_pico, detail FROM day_rollups
WHERE customer = :customer AND selection_id = :selection_id
    AND day_at >= :from_at AND day_at < :to_at;

-- name: days_total
SELECT COALESCE(SUM(event_count), 0), COALESCE(SUM(sum_high), 0), COALESCE(SUM(sum_low), 0),
    COALESCE(SUM(sum_pico), 0)
FROM day_rollups
WHERE customer = :customer AND selection_id = :selection_id
    AND day_at >= :from_at AND day_at < :to_at;

-- name: latest_day_before
SELECT event_count, sum_high, sum_low, sum_pico, detail FROM day_rollups
WHERE customer = :customer AND selection_id = :selection_id
    AND day_at >= :from_at AND day_at < :to_at AND dimension = '' AND event_count > 0
ORDER BY day_at DESC LIMIT 1;

-- name: rolled_customers
-- Whose days may be rolled up, and from when to when they have usage.
SELECT customer, selection_id, first_day_at, last_day_at FROM usage_spans
UNION ALL
SELECT customer, selection_id, MIN(day_at), MAX(day_at) FROM day_rollups AS day
WHERE NOT EXISTS (
    SELECT 1 FROM usage_spans AS span
    WHERE span.customer = day.customer AND span.selection_id = day.selection_id
)
GROUP BY customer, selection_id;
