-- name: catalog_version
SELECT catalog_version FROM installation;

-- name: meters
SELECT key, display_name, event_type, aggregation, decimals FROM meters ORDER BY id;

-- name: keep_meter
INSERT INTO meters (key, display_name, event_type, aggregation, decimals, stripe_meter_id)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET display_name = excluded.display_name;

-- name: meter_row
SELECT id, event_type, aggregation, decimals, stripe_meter_id FROM meters WHERE key = ?;

-- name: events_of_type
SELECT customer, occurred_at, value FROM usage_events WHERE type = ?;

-- name: keep_price
INSERT INTO prices (
    key, product_key, product_name, meter_key, definition, stripe_price_id, applied_at
) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    product_key = excluded.product_key, product_name = excluded.product_name,
    meter_key = excluded.meter_key, definition = excluded.definition,
    stripe_price_id = excluded.stripe_price_id, applied_at = excluded.applied_at;

-- name: next_catalog_version
UPDATE installation SET catalog_version = catalog_version + 1;

-- name: meter_key
SELECT key FROM meters WHERE stripe_meter_id = ?;

-- name: stripe_meter_ids
SELECT key, stripe_meter_id FROM meters;

-- name: price
SELECT key, product_name, definition FROM prices WHERE stripe_price_id = ?;
