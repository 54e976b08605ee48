-- name: catalog_version
SELECT catalog_version FROM installation;

-- name: next_catalog_version
-- Comes first and locks the row: catalogs are kept one after the other, each whole.
UPDATE installation SET catalog_version = catalog_version + 1;

-- name: meters
SELECT key, display_name, event_type, aggregation, decimals, report_every_minutes,
    counted_property, filters, group_by, per, formula
FROM meters ORDER BY id;

-- name: keep_meter
INSERT INTO meters (
    key, display_name, event_type, aggregation, decimals, report_every_minutes, counted_property,
    filters, group_by, per, formula, stripe_meter_id
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET
    display_name = excluded.display_name, report_every_minutes = excluded.report_every_minutes;

-- name: deriving_sources
SELECT source FROM event_sources WHERE derives_ids;

-- name: keep_source
INSERT INTO event_sources (source, derives_ids) VALUES (%s, %s)
ON CONFLICT (source) DO UPDATE SET derives_ids = excluded.derives_ids;

-- name: keep_price
INSERT INTO prices (
    stripe_price_id, key, product_key, product_name, unit_label, meter_key, definition, applied_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (stripe_price_id) DO UPDATE SET
    key = excluded.key, product_key = excluded.product_key, product_name = excluded.product_name,
    unit_label = excluded.unit_label, meter_key = excluded.meter_key,
    definition = excluded.definition, applied_at = excluded.applied_at, replaced_at = NULL;

-- name: replace_price
-- Another version has the key from now on.
UPDATE prices SET replaced_at = %s WHERE key = %s AND stripe_price_id <> %s AND replaced_at IS NULL;

-- name: retire_price
UPDATE prices SET replaced_at = %s WHERE key = %s AND replaced_at IS NULL;

-- name: current_prices
SELECT key, stripe_price_id FROM prices WHERE replaced_at IS NULL;

-- name: keep_document
INSERT INTO applied_catalogs (document, applied_at) VALUES (%s, %s);

-- name: newest_document
SELECT document FROM applied_catalogs ORDER BY id DESC LIMIT 1;

-- name: meter_key
SELECT key FROM meters WHERE stripe_meter_id = %s;

-- name: stripe_meter_ids
SELECT key, stripe_meter_id FROM meters;

-- name: price
SELECT key, product_name, unit_label, definition FROM prices WHERE stripe_price_id = %s;

-- name: record_aggregations
-- The legacy prices that a meter's usage is recorded for: they say how records are added up.
SELECT stripe_price_id, definition::json #>> '{recurring,aggregate_usage}' FROM prices
WHERE meter_key = %s AND definition::json #>> '{recurring,aggregate_usage}' IS NOT NULL;
