-- name: log_end
-- The newest event's place in the log, and up to where identities are merged.
SELECT (SELECT COALESCE(MAX(seq), 0) FROM usage_events), merged_seq FROM identity_merges;

-- name: catalog_version
SELECT catalog_version FROM installation;

-- name: identities_after
SELECT seq, source, id FROM usage_events WHERE seq > ? ORDER BY seq;

-- name: identities_upto
SELECT seq, source, id FROM usage_events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: find_identities
-- Seeks each; most are new, and then none is found.
WITH wanted (identity) AS (VALUES (?))
SELECT event_identities.identity, event_identities.seq
FROM wanted CROSS JOIN event_identities ON event_identities.identity = wanted.identity;

-- name: merge_identities
-- What a crash left half merged is merged once more.
INSERT INTO event_identities (identity, seq) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: merged_upto
UPDATE identity_merges SET merged_seq = MAX(merged_seq, ?);

-- name: append_events
INSERT INTO usage_events (
    seq, previous_seq, source, id, type, customer, occurred_at, received_at, value, properties
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

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
