-- name: state
SELECT source, finished_at FROM moving FOR UPDATE;

-- name: is_filled
-- Whether somebody uses it already; the installation's own row, and those of the schema, are
-- nobody's.
SELECT EXISTS (SELECT FROM api_keys) OR EXISTS (SELECT FROM meters)
    OR EXISTS (SELECT FROM usage_events) OR EXISTS (SELECT FROM customer_links)
    OR EXISTS (SELECT FROM inbox_events) OR EXISTS (SELECT FROM mirror_objects)
    OR EXISTS (SELECT FROM installation WHERE stripe_account_id IS NOT NULL);

-- name: begin
INSERT INTO moving (id, source, began_at) VALUES (1, %s, %s);

-- name: clear
-- The rows that every new database has come from the source too.
TRUNCATE installation, report_notices, sync_state, sync_steps;

-- name: copied
SELECT row_count FROM moved_tables WHERE name = %s;

-- name: note_copied
INSERT INTO moved_tables (name, row_count) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET row_count = moved_tables.row_count + excluded.row_count;

-- name: note_days
INSERT INTO usage_days SELECT DISTINCT hour_at - hour_at % 86400000000 FROM usage_rollups
ON CONFLICT DO NOTHING;

-- name: finish
UPDATE moving SET finished_at = %s;

-- name: is_unfinished
SELECT EXISTS (SELECT FROM moving WHERE finished_at IS NULL);

-- name: advance_places
-- New events have places beyond those that moved, in the database or in the archive.
SELECT setval('usage_event_places', GREATEST(
    (SELECT MAX(seq) FROM event_identities), (SELECT MAX(noticed_seq) FROM report_notices), 1
));

-- name: advance_marks
SELECT setval('due_marks', (SELECT COALESCE(MAX(mark), 0) + 1 FROM report_due));

-- name: advance_api_keys
SELECT setval(pg_get_serial_sequence('api_keys', 'number'), MAX(number)) FROM api_keys
HAVING COUNT(*) > 0;

-- name: advance_meters
SELECT setval(pg_get_serial_sequence('meters', 'id'), MAX(id)) FROM meters
HAVING COUNT(*) > 0;

-- name: advance_applied_catalogs
SELECT setval(pg_get_serial_sequence('applied_catalogs', 'id'), MAX(id)) FROM applied_catalogs
HAVING COUNT(*) > 0;

-- name: advance_event_corrections
SELECT setval(pg_get_serial_sequence('event_corrections', 'id'), MAX(id)) FROM event_corrections
HAVING COUNT(*) > 0;

-- name: advance_usage_reports
SELECT setval(pg_get_serial_sequence('usage_reports', 'id'), MAX(id)) FROM usage_reports
HAVING COUNT(*) > 0;

-- name: advance_report_decisions
SELECT setval(pg_get_serial_sequence('report_decisions', 'id'), MAX(id)) FROM report_decisions
HAVING COUNT(*) > 0;

-- name: advance_inbox_events
SELECT setval(pg_get_serial_sequence('inbox_events', 'seq'), MAX(seq)) FROM inbox_events
HAVING COUNT(*) > 0;

-- name: advance_meter_errors
SELECT setval(pg_get_serial_sequence('meter_errors', 'seq'), MAX(seq)) FROM meter_errors
HAVING COUNT(*) > 0;

-- name: installation
COPY installation (
    id, created_at, stripe_account_id, livemode, catalog_version, meter_errors_read_seq
) FROM STDIN;

-- name: report_notices
COPY report_notices (id, noticed_seq) FROM STDIN;

-- name: api_keys
COPY api_keys (
    number, id, name, digest, scopes, source, created_at, expires_at, revoked_at,
    last_used_at
) FROM STDIN;

-- name: meters
COPY meters (
    id, key, display_name, event_type, aggregation, decimals, report_every_minutes,
    counted_property, filters, group_by, per, formula, stripe_meter_id
) FROM STDIN;

-- name: event_sources
COPY event_sources (source, derives_ids) FROM STDIN;

-- name: prices
COPY prices (
    stripe_price_id, key, product_key, product_name, unit_label, meter_key, definition,
    applied_at, replaced_at
) FROM STDIN;

-- name: applied_catalogs
COPY applied_catalogs (id, document, applied_at) FROM STDIN;

-- name: selections
COPY selections (id, definition) FROM STDIN;

-- name: customer_links
COPY customer_links (customer, stripe_customer_id, test_clock_id, linked_at) FROM STDIN;

-- name: archive_parts
COPY archive_parts (
    day_at, number, file, event_count, first_seq, last_seq, size_bytes, checksum,
    dropped_count, archived_at
) FROM STDIN;

-- name: usage_events
COPY usage_events (
    seq, source, id, type, customer, occurred_at, received_at, value, properties, is_history
) FROM STDIN;

-- name: event_corrections
COPY event_corrections (id, seq, value, actor, reason, corrected_at) FROM STDIN;

-- name: usage_rollups
COPY usage_rollups (
    customer, selection_id, is_history, hour_at, dimension, event_count, sum_whole,
    sum_pico, detail
) FROM STDIN;

-- name: lateness_marks
COPY lateness_marks (selection, counted_seq) FROM STDIN;

-- name: event_delays
COPY event_delays (selection, day_at, delay_ms, event_count) FROM STDIN;

-- name: report_due
COPY report_due (customer, meter_key, mark, not_before) FROM STDIN;

-- name: usage_reports
COPY usage_reports (
    id, customer, stripe_customer_id, meter_key, period_start_at, period_end_at,
    window_start_at, window_end_at, sequence, quantity, timestamp, identifier, state,
    reason, attempts, maybe_taken, first_attempt_at, way, stripe_item_id, level,
    record_aggregation, is_increment, event_source, event_id, cancels, closes_at, step,
    stage, wake_at, planned_at, settled_at, verified_at, lease_token
) FROM STDIN;

-- name: report_totals
COPY report_totals (customer, meter_key, period_start_at, quantity, next_sequence) FROM STDIN;

-- name: report_decisions
COPY report_decisions (id, report_id, action, actor, reason, decided_at) FROM STDIN;

-- name: inbox_events
COPY inbox_events (
    seq, event_id, type, api_version, is_thin, body, brought, received_at, state, attempts,
    reason, next_attempt_at, lease_until, lease_token, settled_at
) FROM STDIN;

-- name: meter_errors
COPY meter_errors (seq, event_id, type, stripe_meter_id, body, received_at) FROM STDIN;

-- name: mirror_objects
COPY mirror_objects (
    stripe_id, kind, stripe_customer_id, stripe_subscription_id, test_clock_id, is_open,
    body, api_version, as_of, read_at, run
) FROM STDIN;

-- name: mirror_prices
COPY mirror_prices (stripe_price_id, stripe_meter_id, is_metered) FROM STDIN;

-- name: mirror_items
COPY mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, stripe_price_id,
    period_start_at, period_end_at, read_since, began_at, ended_at
) FROM STDIN;

-- name: item_pasts
COPY item_pasts (
    source, stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
) FROM STDIN;

-- name: item_billed
COPY item_billed (stripe_item_id, start_at, end_at, stripe_price_id) FROM STDIN;

-- name: customer_readings
COPY customer_readings (stripe_customer_id, read_at) FROM STDIN;

-- name: sync_state
COPY sync_state (
    id, run, newest_event, began_event, began_at, synced_at, swept_at, calls_max
) FROM STDIN;

-- name: sync_steps
COPY sync_steps (place, kind, after_id, is_done, objects, calls) FROM STDIN;

-- name: event_identities
COPY event_identities (identity, seq, occurred_at) FROM STDIN;
