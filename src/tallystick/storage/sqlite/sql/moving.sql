-- name: counts
-- By the target's names.
SELECT 'installation', COUNT(*) FROM installation
UNION ALL SELECT 'report_notices', COUNT(*) FROM installation
UNION ALL SELECT 'api_keys', COUNT(*) FROM api_keys
UNION ALL SELECT 'meters', COUNT(*) FROM meters
UNION ALL SELECT 'event_sources', COUNT(*) FROM event_sources
UNION ALL SELECT 'prices', COUNT(*) FROM prices
UNION ALL SELECT 'applied_catalogs', COUNT(*) FROM applied_catalogs
UNION ALL SELECT 'selections', COUNT(*) FROM selections
UNION ALL SELECT 'customer_links', COUNT(*) FROM customer_links
UNION ALL SELECT 'archive_parts', COUNT(*) FROM archive_parts
UNION ALL SELECT 'usage_events', COUNT(*) FROM usage_events
UNION ALL SELECT 'event_identities',
    (SELECT COUNT(*) FROM usage_events)
    + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts)
UNION ALL SELECT 'event_corrections', COUNT(*) FROM event_corrections
UNION ALL SELECT 'usage_rollups',
    (SELECT COUNT(*) FROM usage_rollups) + (SELECT COUNT(*) FROM history_rollups)
UNION ALL SELECT 'lateness_marks', COUNT(*) FROM lateness_marks
UNION ALL SELECT 'event_delays', COUNT(*) FROM event_delays
UNION ALL SELECT 'report_due', COUNT(*) FROM report_due
UNION ALL SELECT 'usage_reports', COUNT(*) FROM usage_reports
UNION ALL SELECT 'report_totals', COUNT(*) FROM report_totals
UNION ALL SELECT 'report_decisions', COUNT(*) FROM report_decisions
UNION ALL SELECT 'inbox_events', COUNT(*) FROM inbox_events
UNION ALL SELECT 'meter_errors', COUNT(*) FROM meter_errors
UNION ALL SELECT 'mirror_objects', COUNT(*) FROM mirror_objects
UNION ALL SELECT 'mirror_prices', COUNT(*) FROM mirror_prices
UNION ALL SELECT 'mirror_items', COUNT(*) FROM mirror_items
UNION ALL SELECT 'item_pasts', COUNT(*) FROM item_pasts
UNION ALL SELECT 'item_billed', COUNT(*) FROM item_billed
UNION ALL SELECT 'customer_readings', COUNT(*) FROM customer_readings
UNION ALL SELECT 'sync_state', COUNT(*) FROM sync_state
UNION ALL SELECT 'sync_steps', COUNT(*) FROM sync_steps;

-- name: installation
SELECT id, created_at, stripe_account_id, livemode, catalog_version, meter_errors_read_seq
FROM installation;

-- name: report_notices
SELECT 1, noticed_seq FROM installation;

-- name: api_keys
SELECT rowid, id, name, digest, scopes, source, created_at, expires_at, revoked_at, last_used_at
FROM api_keys ORDER BY rowid;

-- name: meters
SELECT id, key, display_name, event_type, aggregation, decimals, report_every_minutes,
    counted_property, filters, group_by, per, formula, stripe_meter_id
FROM meters ORDER BY id;

-- name: event_sources
SELECT source, derives_ids FROM event_sources ORDER BY source;

-- name: prices
SELECT stripe_price_id, key, product_key, product_name, unit_label, meter_key, definition,
    applied_at, replaced_at
FROM prices ORDER BY stripe_price_id;

-- name: applied_catalogs
SELECT id, document, applied_at FROM applied_catalogs ORDER BY id;

-- name: selections
SELECT id, definition FROM selections ORDER BY id;

-- name: customer_links
SELECT customer, stripe_customer_id, test_clock_id, linked_at FROM customer_links ORDER BY customer;

-- name: archive_parts
SELECT day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum, dropped_count,
    archived_at
FROM archive_parts ORDER BY day_at, number;

-- name: usage_events
SELECT seq, source, id, type, customer, occurred_at, received_at, value, properties,
    EXISTS (SELECT 1 FROM history_events WHERE history_events.seq = usage_events.seq)
FROM usage_events ORDER BY seq;

-- name: event_corrections
SELECT id, seq, value, actor, reason, corrected_at FROM event_corrections ORDER BY id;

-- name: usage_rollups
SELECT customer, selection_id, 0, hour_at, dimension, event_count, sum_whole, sum_pico, detail
FROM usage_rollups ORDER BY hour_at, selection_id, customer, dimension;

-- name: history_rollups
SELECT customer, selection_id, 1, hour_at, '', event_count, sum_whole, sum_pico, detail
FROM history_rollups ORDER BY hour_at, selection_id, customer;

-- name: lateness_marks
SELECT selection, counted_seq FROM lateness_marks ORDER BY selection;

-- name: event_delays
SELECT selection, day_at, delay_ms, event_count FROM event_delays
ORDER BY selection, day_at, delay_ms;

-- name: report_due
SELECT customer, meter_key, mark, not_before FROM report_due ORDER BY customer, meter_key;

-- name: usage_reports
SELECT id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at, window_start_at,
    window_end_at, sequence, quantity, timestamp, identifier, state, reason, attempts, maybe_taken,
    first_attempt_at, way, stripe_item_id, level, record_aggregation, is_increment, event_source,
    event_id, cancels, closes_at, step, stage, wake_at, planned_at, settled_at, verified_at,
    lease_token
FROM usage_reports ORDER BY id;

-- name: report_totals
SELECT customer, meter_key, period_start_at, quantity_whole, quantity_pico, next_sequence
FROM report_totals ORDER BY customer, meter_key, period_start_at;

-- name: report_decisions
SELECT id, report_id, action, actor, reason, decided_at FROM report_decisions ORDER BY id;

-- name: inbox_events
SELECT seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason, next_attempt_at, lease_until, lease_token, settled_at
FROM inbox_events ORDER BY seq;

-- name: meter_errors
SELECT seq, event_id, type, stripe_meter_id, body, received_at FROM meter_errors ORDER BY seq;

-- name: mirror_objects
SELECT stripe_id, kind, stripe_customer_id, stripe_subscription_id, test_clock_id, is_open, body,
    api_version, as_of, read_at, run
FROM mirror_objects ORDER BY stripe_id;

-- name: mirror_prices
SELECT stripe_price_id, stripe_meter_id, is_metered FROM mirror_prices ORDER BY stripe_price_id;

-- name: mirror_items
SELECT stripe_item_id, stripe_subscription_id, stripe_customer_id, stripe_price_id, period_start_at,
    period_end_at, read_since, began_at, ended_at
FROM mirror_items ORDER BY stripe_item_id;

-- name: item_pasts
SELECT source, stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
FROM item_pasts ORDER BY stripe_item_id, source;

-- name: item_billed
SELECT stripe_item_id, start_at, end_at, stripe_price_id FROM item_billed
ORDER BY stripe_item_id, start_at, end_at, stripe_price_id;

-- name: customer_readings
SELECT stripe_customer_id, read_at FROM customer_readings ORDER BY stripe_customer_id;

-- name: sync_state
SELECT id, run, newest_event, began_event, began_at, synced_at, swept_at, calls_max FROM sync_state;

-- name: sync_steps
SELECT place, kind, after_id, is_done, objects, calls FROM sync_steps ORDER BY place;
