-- name: event_to_correct
-- An event, and the newest correction of it, if there is one.
SELECT type, customer, occurred_at, event.value, correction.id, correction.value
FROM usage_events AS event LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = event.seq)
WHERE event.seq = ?;

-- name: add_correction
INSERT INTO event_corrections (seq, value, actor, reason, corrected_at) VALUES (?, ?, ?, ?, ?);

-- name: hour_end
SELECT last_seq FROM usage_rollups
WHERE hour_at = ? AND selection_id = ? AND customer = ? AND dimension = '';

-- name: hour_dimensions
SELECT dimension FROM usage_rollups WHERE hour_at = ? AND selection_id = ? AND customer = ?;
