-- The inbox: what Stripe told. The mirror: what Stripe knows, as it was read last, and what is known
-- of the past of subscription items. It replaces what was kept of items beside the customer's link.

-- AUTOINCREMENT: a number is never given twice, because readings say up to which one they reach.
CREATE TABLE inbox_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    api_version TEXT,
    is_thin INTEGER NOT NULL,
    body BLOB NOT NULL,
    brought TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    next_attempt_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL DEFAULT 0,
    lease_token INTEGER NOT NULL DEFAULT 0,
    settled_at INTEGER
) STRICT;

CREATE INDEX inbox_events_waiting ON inbox_events (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX inbox_events_dead ON inbox_events (seq) WHERE state = 'dead';

CREATE TABLE meter_errors (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    stripe_meter_id TEXT,
    body BLOB NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- body is Stripe's object as received, NULL once it is gone; the other columns are looked up.
-- as_of is the last event that had arrived when the object was asked for.
CREATE TABLE mirror_objects (
    stripe_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    stripe_customer_id TEXT,
    stripe_subscription_id TEXT,
    test_clock_id TEXT,
    is_open INTEGER NOT NULL,
    body BLOB,
    api_version TEXT NOT NULL,
    as_of INTEGER NOT NULL,
    read_at INTEGER NOT NULL,
    run INTEGER NOT NULL
) STRICT;

CREATE INDEX mirror_objects_by_kind ON mirror_objects (kind, stripe_id);
CREATE INDEX mirror_objects_by_customer ON mirror_objects (stripe_customer_id, kind)
    WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX mirror_objects_by_clock ON mirror_objects (test_clock_id, kind)
    WHERE test_clock_id IS NOT NULL;

-- What of a price never changes.
CREATE TABLE mirror_prices (
    stripe_price_id TEXT PRIMARY KEY,
    stripe_meter_id TEXT,
    is_metered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An item as it is; price and period are NULL where it is there no more.
CREATE TABLE mirror_items (
    stripe_item_id TEXT PRIMARY KEY,
    stripe_subscription_id TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    stripe_price_id TEXT,
    period_start_at INTEGER,
    period_end_at INTEGER,
    read_since INTEGER NOT NULL,
    began_at INTEGER,
    ended_at INTEGER
) STRICT;

CREATE INDEX mirror_items_by_customer ON mirror_items (stripe_customer_id);
CREATE INDEX mirror_items_by_subscription ON mirror_items (stripe_subscription_id);

-- What an item was: changes that events tell (is_change), and states in which it was read. A NULL
-- price stands for an item that is not there. source is the event, or the reading's item and time.
CREATE TABLE item_pasts (
    source TEXT NOT NULL,
    stripe_item_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    is_change INTEGER NOT NULL,
    before_price_id TEXT,
    before_start_at INTEGER,
    before_end_at INTEGER,
    after_price_id TEXT,
    after_start_at INTEGER,
    after_end_at INTEGER,
    PRIMARY KEY (stripe_item_id, source)
) STRICT, WITHOUT ROWID;

-- What invoice lines billed of an item's usage, once for each stretch of time and price.
CREATE TABLE item_billed (
    stripe_item_id TEXT NOT NULL,
    start_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    stripe_price_id TEXT NOT NULL,
    PRIMARY KEY (stripe_item_id, start_at, end_at, stripe_price_id)
) STRICT, WITHOUT ROWID;

-- When all subscriptions of one customer were read for themselves.
CREATE TABLE customer_readings (
    stripe_customer_id TEXT PRIMARY KEY,
    read_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run INTEGER NOT NULL,
    newest_event TEXT,
    began_event TEXT,
    began_at INTEGER,
    synced_at INTEGER,
    swept_at INTEGER,
    calls_max INTEGER NOT NULL
) STRICT;

INSERT INTO sync_state (id, run, calls_max) VALUES (1, 0, 0);

CREATE TABLE sync_steps (
    place INTEGER PRIMARY KEY,
    kind TEXT NOT NULL UNIQUE,
    after_id TEXT,
    is_done INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    calls INTEGER NOT NULL
) STRICT;

-- Items that were read before become facts of their past: the mirror asks Stripe for the present.
INSERT INTO mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, read_since
)
SELECT stripe_item_id, MAX(stripe_subscription_id), MAX(stripe_customer_id), 4611686018427387904
FROM subscription_items GROUP BY stripe_item_id;

INSERT INTO item_pasts (
    source, stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
)
SELECT 'migration ' || period_start_at, stripe_item_id, period_start_at, 0,
    stripe_price_id, period_start_at, period_end_at, stripe_price_id, period_start_at, period_end_at
FROM subscription_items;

INSERT INTO mirror_prices (stripe_price_id, stripe_meter_id, is_metered)
SELECT stripe_price_id, MAX(stripe_meter_id), 1 FROM subscription_items GROUP BY stripe_price_id;

DROP TABLE subscription_items;
ALTER TABLE customer_links DROP COLUMN items_read_at;
