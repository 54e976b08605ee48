-- name: in_force
-- The catalog's version, and the newest day that is rolled up or about to be.
SELECT catalog_version, (SELECT MAX(day_at) FROM rolled_days) FROM installation;

-- name: append_events
-- Those of one arrival.
INSERT INTO usage_events (
    received_at, seq, previous_seq, source, id, type, customer, occurred_at, value, properties
) VALUES (?1, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: events_at
WITH wanted (seq) AS (VALUES (?))
SELECT usage_events.seq, received_at, source, id, type, customer, occurred_at, value, properties
FROM wanted CROSS JOIN usage_events ON usage_events.seq = wanted.seq;

-- name: event_at
-- An event with what it counts for.
SELECT event.seq, received_at, source, event.id, type, customer, occurred_at, event.value, properties,
    history.seq IS NOT NULL, correction.id IS NOT NULL, correction.value
FROM usage_events AS event LEFT JOIN history_events AS history ON history.seq = event.seq
LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = event.seq)
WHERE event.seq = ?;

-- name: scan_events
SELECT seq, received_at, source, id, type, customer, occurred_at, value, properties
FROM usage_events WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: count_events
-- Those in the database, and those that left it.
SELECT (SELECT COUNT(*) FROM usage_events)
    + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts);
