-- name: marks
SELECT selection, counted_seq FROM lateness_marks;

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) FROM usage_events;

-- name: delays_of_types
-- Counts of all live events of (after, upto] by type, day of arrival and delay: milliseconds, of
-- which the first two digits are kept; -1 for an event that arrived before it happened.
WITH arrived (type, day_at, delay) AS (
    SELECT type, received_at - received_at % 86400000000,
        CASE WHEN received_at < occurred_at THEN -1 ELSE (received_at - occurred_at) / 1000 END
    FROM usage_events WHERE seq > ? AND seq <= ?
        AND NOT EXISTS (SELECT 1 FROM history_events WHERE history_events.seq = usage_events.seq)
)
SELECT type, day_at, CASE
        WHEN delay < 100 THEN delay
        WHEN delay < 1000 THEN delay / 10 * 10
        WHEN delay < 10000 THEN delay / 100 * 100
        WHEN delay < 100000 THEN delay / 1000 * 1000
        WHEN delay < 1000000 THEN delay / 10000 * 10000
        WHEN delay < 10000000 THEN delay / 100000 * 100000
        WHEN delay < 100000000 THEN delay / 1000000 * 1000000
        WHEN delay < 1000000000 THEN delay / 10000000 * 10000000
        WHEN delay < 10000000000 THEN delay / 100000000 * 100000000
        WHEN delay < 100000000000 THEN delay / 1000000000 * 1000000000
        WHEN delay < 1000000000000 THEN delay / 10000000000 * 10000000000
        ELSE delay / 100000000000 * 100000000000
    END AS lower_ms, COUNT(*)
FROM arrived GROUP BY lower_ms, day_at, type;

-- name: events_of_type
-- Live ones, for selections that look at properties.
SELECT occurred_at, received_at, properties FROM usage_events
WHERE seq > ? AND seq <= ? AND type = ?
    AND NOT EXISTS (SELECT 1 FROM history_events WHERE history_events.seq = usage_events.seq);

-- name: add_delays
INSERT INTO event_delays (selection, day_at, delay_ms, event_count) VALUES (?, ?, ?, ?)
ON CONFLICT (selection, day_at, delay_ms) DO UPDATE SET
    event_count = event_count + excluded.event_count;

-- name: keep_mark
INSERT INTO lateness_marks (selection, counted_seq) VALUES (?, ?)
ON CONFLICT (selection) DO UPDATE SET counted_seq = excluded.counted_seq;

-- name: delays
SELECT delay_ms, SUM(event_count) FROM event_delays
WHERE selection = ? AND day_at >= ? AND day_at < ? GROUP BY delay_ms;
