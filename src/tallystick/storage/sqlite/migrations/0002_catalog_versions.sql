-- Prices by Stripe's id, because a key has several versions: subscriptions keep an older one until
-- they are moved, and its usage is rated at it. replaced_at is when the key went to another version
-- or was sold no more.

ALTER TABLE prices RENAME TO prices_by_key;

CREATE TABLE prices (
    stripe_price_id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    product_key TEXT NOT NULL,
    product_name TEXT NOT NULL,
    unit_label TEXT,
    meter_key TEXT,
    definition TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    replaced_at INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO prices (
    stripe_price_id, key, product_key, product_name, meter_key, definition, applied_at
)
SELECT stripe_price_id, key, product_key, product_name, meter_key, definition, applied_at
FROM prices_by_key;

DROP TABLE prices_by_key;

CREATE UNIQUE INDEX prices_current ON prices (key) WHERE replaced_at IS NULL;

-- NULL: usage of the meter is reported in real time.
ALTER TABLE meters ADD COLUMN report_every_minutes INTEGER;

-- Every catalog that was applied, as declared, oldest first.
CREATE TABLE applied_catalogs (
    id INTEGER PRIMARY KEY,
    document TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
