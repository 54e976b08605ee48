-- name: add_event
INSERT INTO inbox_events (
    event_id, type, api_version, is_thin, body, brought, received_at, state, next_attempt_at
) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?)
ON CONFLICT (event_id) DO NOTHING;

-- name: last_seq
-- The last number given, even if its row was dropped since.
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'inbox_events'), 0);

-- name: claim
-- Leases events; RETURNING gives them in no order.
UPDATE inbox_events SET
    lease_until = :lease_until, lease_token = lease_token + 1, attempts = attempts + 1
WHERE seq IN (
    SELECT seq FROM inbox_events
    WHERE state = 'waiting' AND next_attempt_at <= :now AND lease_until <= :now
    ORDER BY next_attempt_at, seq LIMIT :limit
)
RETURNING seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason, lease_token, next_attempt_at;

-- name: settle
UPDATE inbox_events SET
    state = :state, reason = :reason, next_attempt_at = :retry_at, lease_until = 0,
    settled_at = CASE WHEN :state = 'waiting' THEN NULL ELSE :now END
WHERE seq = :seq AND lease_token = :token AND state = 'waiting';

-- name: events
SELECT seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason
FROM inbox_events WHERE :state IS NULL OR state = :state ORDER BY seq DESC LIMIT :limit;

-- name: find_event
SELECT seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason
FROM inbox_events WHERE event_id = ?;

-- name: replay
UPDATE inbox_events SET
    state = 'waiting', attempts = 0, reason = NULL, next_attempt_at = ?, lease_until = 0,
    lease_token = lease_token + 1, settled_at = NULL
WHERE event_id IN (SELECT value FROM json_each(?));

-- name: counts
SELECT state, COUNT(*) FROM inbox_events GROUP BY state;

-- name: known
SELECT event_id FROM inbox_events WHERE event_id IN (SELECT value FROM json_each(?));

-- name: forget_settled
DELETE FROM inbox_events WHERE state = 'settled' AND received_at < ?;

-- name: keep_meter_error
INSERT INTO meter_errors (event_id, type, stripe_meter_id, body, received_at)
VALUES (?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING;

-- name: meter_errors
SELECT seq, event_id, type, stripe_meter_id, body, received_at
FROM meter_errors WHERE seq > ? ORDER BY seq LIMIT ?;
