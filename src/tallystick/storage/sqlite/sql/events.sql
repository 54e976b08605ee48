-- name: last_seq
-- The newest event's place in the log.
SELECT COALESCE(MAX(seq), 0) FROM usage_events;

-- name: claim_identity
-- One row if the identity is new, none if it was stored before.
INSERT INTO event_identities (identity, content) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: content_of_identity
SELECT content FROM event_identities WHERE identity = ?;

-- name: append_event
INSERT INTO usage_events (seq, source, id, type, customer, occurred_at, received_at, value, properties)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_to_rollup
-- STRICT refuses the REAL that an overflowing sum would become, so a sum never wraps nor rounds.
INSERT INTO usage_rollups (hour_at, meter_id, customer, event_count, sum_whole, sum_pico)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (hour_at, meter_id, customer) DO UPDATE SET
    event_count = event_count + excluded.event_count,
    sum_whole = sum_whole + excluded.sum_whole + (sum_pico + excluded.sum_pico) / 1000000000000,
    sum_pico = (sum_pico + excluded.sum_pico) % 1000000000000;

-- name: scan_events
SELECT seq, received_at, source, id, type, customer, occurred_at, value, properties
FROM usage_events WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: count_events
SELECT COUNT(*) FROM usage_events;

-- name: meter_ids
SELECT key, id FROM meters;
