-- name: add_event
INSERT INTO inbox_events (
    event_id, type, api_version, is_thin, body, brought, received_at, state, next_attempt_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, 'waiting', %s)
ON CONFLICT (event_id) DO NOTHING;

-- name: last_seq
-- The last number given, be it committed or not, even if its row was dropped since: an event that
-- has a number was told before whatever is asked of Stripe from now on.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM inbox_events_seq_seq;

-- name: claim
-- Leases events; what another worker is claiming at this moment is passed over.
UPDATE inbox_events SET
    lease_until = %(lease_until)s, lease_token = lease_token + 1, attempts = attempts + 1
WHERE seq IN (
    SELECT seq FROM inbox_events
    WHERE state = 'waiting' AND next_attempt_at <= %(now)s AND lease_until <= %(now)s
    ORDER BY next_attempt_at, seq LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason, lease_token, next_attempt_at;

-- name: settle
UPDATE inbox_events SET
    state = %(state)s, reason = %(reason)s, next_attempt_at = %(retry_at)s, lease_until = 0,
    settled_at = CASE WHEN %(state)s = 'waiting' THEN NULL ELSE %(now)s::bigint END
WHERE seq = %(seq)s AND lease_token = %(token)s AND state = 'waiting';

-- name: events
SELECT seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason
FROM inbox_events WHERE %(state)s::text IS NULL OR state = %(state)s
ORDER BY seq DESC LIMIT %(limit)s;

-- name: find_event
SELECT seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason
FROM inbox_events WHERE event_id = %s;

-- name: replay
UPDATE inbox_events SET
    state = 'waiting', attempts = 0, reason = NULL, next_attempt_at = %s, lease_until = 0,
    lease_token = lease_token + 1, settled_at = NULL
WHERE event_id = ANY(%s);

-- name: counts
SELECT state, COUNT(*) FROM inbox_events GROUP BY state;

-- name: known
SELECT event_id FROM inbox_events WHERE event_id = ANY(%s);

-- name: forget_settled
DELETE FROM inbox_events WHERE state = 'settled' AND received_at < %s;

-- name: lock
SELECT pg_advisory_xact_lock(%s);

-- name: keep_meter_error
INSERT INTO meter_errors (event_id, type, stripe_meter_id, body, received_at)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT (event_id) DO NOTHING;

-- name: meter_errors
SELECT seq, event_id, type, stripe_meter_id, body, received_at
FROM meter_errors WHERE seq > %s ORDER BY seq LIMIT %s;
