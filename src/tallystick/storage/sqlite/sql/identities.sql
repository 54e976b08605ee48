-- name: log_end
-- The newest event's place in the log, up to where identities are merged, and in the filter, and up
-- to where those of UUIDv7 were gathered.
SELECT (SELECT COALESCE(MAX(seq), 0) FROM usage_events), merged_seq, filtered_seq, gathered_seq
FROM identity_merges;

-- name: identities_after
SELECT seq, source, id FROM usage_events WHERE seq > ? ORDER BY seq;

-- name: identities_upto
SELECT seq, source, id FROM usage_events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: find_identities
WITH wanted (identity) AS (VALUES (?))
SELECT event_identities.identity, event_identities.seq
FROM wanted CROSS JOIN event_identities ON event_identities.identity = wanted.identity;

-- name: claim_identities
-- A place beyond the log's end is one that this transaction claimed: it may come to lie earlier.
INSERT INTO event_identities (identity, seq) VALUES (?, ?)
ON CONFLICT (identity) DO UPDATE SET seq = excluded.seq WHERE event_identities.seq >= excluded.seq;

-- name: merge_identities
-- What a crash left half merged is merged once more.
INSERT INTO event_identities (identity, seq) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: merged_upto
UPDATE identity_merges SET merged_seq = MAX(merged_seq, ?);

-- name: filtered_upto
UPDATE identity_merges SET filtered_seq = ?;

-- name: identity_ends
-- The last four bytes of each identity between two, as one text.
SELECT GROUP_CONCAT(HEX(SUBSTR(identity, -4)), '') FROM event_identities
WHERE identity >= ? AND identity < ?;

-- name: filter_parts
SELECT part, bits FROM identity_filter;

-- name: keep_filter_part
INSERT OR REPLACE INTO identity_filter (part, bits) VALUES (?, ?);
