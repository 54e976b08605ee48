-- name: all_events
SELECT event.seq, received_at, source, event.id, type, customer, occurred_at, event.value, properties,
    history.seq IS NOT NULL, correction.id IS NOT NULL, correction.value
FROM usage_events AS event LEFT JOIN history_events AS history ON history.seq = event.seq
LEFT JOIN event_corrections AS correction
    ON correction.id = (SELECT MAX(id) FROM event_corrections WHERE seq = event.seq)
ORDER BY event.seq;

-- name: merged_seq
SELECT merged_seq FROM identity_merges;

-- name: count_merged
SELECT
    (SELECT COUNT(*) FROM event_identities WHERE seq <= :merged_seq),
    (SELECT COUNT(*) FROM usage_events WHERE seq <= :merged_seq)
        + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts);

-- name: all_selections
SELECT id, definition FROM selections;

-- name: all_cells
SELECT hour_at, selection_id, customer, dimension, event_count, sum_whole, sum_pico, detail
FROM usage_rollups;

-- name: all_chains
-- Where each hour's chain starts; and each event's link.
SELECT hour_at, customer, last_seq, selection_id FROM usage_rollups WHERE last_seq > 0;

-- name: all_links
SELECT seq, previous_seq, type, customer, occurred_at FROM usage_events ORDER BY seq;

-- name: all_totals
SELECT customer, meter_key, period_start_at, quantity_whole, quantity_pico, next_sequence
FROM report_totals;

-- name: all_due
SELECT customer, meter_key FROM report_due
UNION
SELECT usage_events.customer, meters.key
FROM usage_events JOIN meters ON meters.event_type = usage_events.type
WHERE seq > (SELECT noticed_seq FROM installation);
