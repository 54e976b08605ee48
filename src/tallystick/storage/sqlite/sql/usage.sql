-- name: hour_cells
-- Seeks each hour of [from, to): the key starts with the hour, so a range scan would read every customer.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :from_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at + 3600000000 < :to_at
)
SELECT cell.hour_at, cell.dimension, event_count, sum_whole, sum_pico, detail
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer;

-- name: hours_total
-- The same added up; a sum in two halves of 32 bits, because the whole of it could overflow.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :from_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at + 3600000000 < :to_at
)
SELECT COALESCE(SUM(event_count), 0), COALESCE(SUM(sum_whole >> 32), 0),
    COALESCE(SUM(sum_whole & 4294967295), 0), COALESCE(SUM(sum_pico), 0)
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer;

-- name: latest_cell_before
-- Looks back hour by hour for the last one before :to_at, not beyond :from_at.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :to_at - 3600000000
    UNION ALL
    SELECT hour_at - 3600000000 FROM hours WHERE hour_at > :from_at
)
SELECT cell.event_count, sum_whole, sum_pico, detail
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer AND cell.dimension = ''
WHERE cell.event_count > 0
LIMIT 1;

-- name: hour_end
-- The newest event of an hour, from which its chain starts, and the latest time of one.
SELECT last_seq, latest_at FROM usage_rollups
WHERE hour_at = ? AND selection_id = ? AND customer = ? AND dimension = '';

-- name: selection_id
SELECT id FROM selections WHERE definition = ?;

-- name: next_customer
SELECT MIN(customer) FROM usage_spans WHERE customer > ?;

-- name: span
SELECT first_day_at, last_day_at FROM usage_spans WHERE customer = ? AND selection_id = ?;
