-- name: hour_ends
-- Where the chain of each hour of [from, to) starts; seeks each hour.
WITH RECURSIVE hours (hour_at) AS (
    SELECT :from_at
    UNION ALL
    SELECT hour_at + 3600000000 FROM hours WHERE hour_at + 3600000000 < :to_at
)
SELECT cell.hour_at, cell.last_seq
FROM hours CROSS JOIN usage_rollups AS cell ON cell.hour_at = hours.hour_at
    AND cell.selection_id = :selection_id AND cell.customer = :customer AND cell.dimension = ''
WHERE cell.last_seq > 0;

-- name: hour_seqs
-- An hour's events of one customer and type, from the newest back along the chain.
WITH RECURSIVE chain (seq, previous_seq) AS (
    SELECT seq, previous_seq FROM usage_events WHERE seq = :last_seq
    UNION ALL
    SELECT event.seq, event.previous_seq
    FROM chain CROSS JOIN usage_events AS event ON event.seq = chain.previous_seq
)
SELECT seq FROM chain;
