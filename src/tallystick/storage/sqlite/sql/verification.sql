-- name: all_events
SELECT seq, received_at, source, id, type, customer, occurred_at, value, properties
FROM usage_events ORDER BY seq;

-- name: content_of_identity
SELECT content FROM event_identities WHERE identity = ?;

-- name: count_identities
SELECT COUNT(*) FROM event_identities;

-- name: all_cells
SELECT hour_at, meters.key, customer, event_count, sum_whole, sum_pico
FROM usage_rollups JOIN meters ON meters.id = meter_id;

-- name: all_due
SELECT customer, meter_key FROM report_due
UNION
SELECT usage_events.customer, meters.key
FROM usage_events JOIN meters ON meters.event_type = usage_events.type
WHERE seq > (SELECT noticed_seq FROM installation);
