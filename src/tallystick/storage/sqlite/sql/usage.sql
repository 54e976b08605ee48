-- name: hour_cells
-- Seeks each hour of [from, to): the key starts with the hour, so a range scan would read every customer.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :from_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at + 3600000000 < :to_at
)
SELECT usage_rollups.hour_at, event_count, sum_whole, sum_pico
FROM hours JOIN usage_rollups ON usage_rollups.hour_at = hours.hour_at
    AND meter_id = :meter_id AND customer = :customer
ORDER BY usage_rollups.hour_at;

-- name: values_between
-- The values of one customer's events of a type in [from, to), for the ragged ends of a period.
SELECT occurred_at, value FROM usage_events
WHERE customer = :customer AND occurred_at >= :from_at AND occurred_at < :to_at AND type = :type;

-- name: meter_id
SELECT id FROM meters WHERE key = ?;

-- name: next_customer
SELECT MIN(customer) FROM usage_events WHERE customer > ?;

-- name: usage_span
-- The times of the customer's first and last event.
-- Two queries in one: SQLite seeks for a MIN or a MAX alone, and scans for both together.
SELECT
    (SELECT MIN(occurred_at) FROM usage_events WHERE customer = :customer),
    (SELECT MAX(occurred_at) FROM usage_events WHERE customer = :customer);
