-- The usage path: events, rollups, the outbox, and what is known of Stripe's side.
-- Instants are microseconds since 1970, UTC; quantities are plain decimal text, or whole and pico
-- (10^-12) parts where the database adds them.

CREATE TABLE installation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    created_at INTEGER NOT NULL,
    stripe_account_id TEXT,
    livemode INTEGER CHECK (livemode IN (0, 1)),
    catalog_version INTEGER NOT NULL DEFAULT 0,
    noticed_seq INTEGER NOT NULL DEFAULT 0,
    due_mark INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE meters (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    event_type TEXT NOT NULL,
    aggregation TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    stripe_meter_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE prices (
    key TEXT PRIMARY KEY,
    product_key TEXT NOT NULL,
    product_name TEXT NOT NULL,
    meter_key TEXT NOT NULL,
    definition TEXT NOT NULL,
    stripe_price_id TEXT NOT NULL UNIQUE,
    applied_at INTEGER NOT NULL
) STRICT;

-- previous_seq is the event before this one of the same customer, type and UTC hour (0: none), so
-- that an hour's events are found from its rollup without an index over customers, whose upkeep
-- would cost a page per event.
CREATE TABLE usage_events (
    seq INTEGER PRIMARY KEY,
    previous_seq INTEGER NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    customer TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    value TEXT NOT NULL,
    properties BLOB NOT NULL
) STRICT;

-- Every (source, id) ever stored up to merged_seq, as a digest, with the place of its event in the
-- log; those of later events are in the memory of whoever writes, and are read from the log again
-- when that is lost. Some of the later ones may be here already.
CREATE TABLE event_identities (
    identity BLOB PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE identity_merges (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    merged_seq INTEGER NOT NULL
) STRICT;
INSERT INTO identity_merges (id, merged_seq) VALUES (1, 0);

-- What meters select: an event type, filters, groups, and what is remembered. The plain selection
-- of a type comes first.
CREATE TABLE selections (
    id INTEGER PRIMARY KEY,
    definition TEXT NOT NULL UNIQUE
) STRICT;

-- Time comes first in the key: new events then touch neighbouring pages. detail is what a selection
-- remembers beyond count and sum, as JSON; last_seq, in plain selections, the hour's newest event.
CREATE TABLE usage_rollups (
    hour_at INTEGER NOT NULL,
    selection_id INTEGER NOT NULL,
    customer TEXT NOT NULL,
    dimension TEXT NOT NULL,
    event_count INTEGER NOT NULL,
    sum_whole INTEGER NOT NULL,
    sum_pico INTEGER NOT NULL,
    detail TEXT,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (hour_at, selection_id, customer, dimension)
) STRICT, WITHOUT ROWID;

-- The first and the last UTC day on which a customer has rollups.
CREATE TABLE usage_spans (
    customer TEXT NOT NULL,
    selection_id INTEGER NOT NULL,
    first_day_at INTEGER NOT NULL,
    last_day_at INTEGER NOT NULL,
    PRIMARY KEY (customer, selection_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE customer_links (
    customer TEXT PRIMARY KEY,
    stripe_customer_id TEXT NOT NULL UNIQUE,
    test_clock_id TEXT,
    linked_at INTEGER NOT NULL,
    items_read_at INTEGER
) STRICT;

CREATE TABLE subscription_items (
    stripe_item_id TEXT NOT NULL,
    period_start_at INTEGER NOT NULL,
    period_end_at INTEGER NOT NULL,
    stripe_subscription_id TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    stripe_price_id TEXT NOT NULL,
    stripe_meter_id TEXT,
    PRIMARY KEY (stripe_item_id, period_start_at)
) STRICT;

CREATE INDEX subscription_items_by_customer ON subscription_items (stripe_customer_id);

-- mark grows with each marking, so that one made while a report is planned is not cleared with it.
CREATE TABLE report_due (
    customer TEXT NOT NULL,
    meter_key TEXT NOT NULL,
    mark INTEGER NOT NULL,
    PRIMARY KEY (customer, meter_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_reports (
    id INTEGER PRIMARY KEY,
    customer TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    meter_key TEXT NOT NULL,
    period_start_at INTEGER NOT NULL,
    period_end_at INTEGER NOT NULL,
    window_start_at INTEGER NOT NULL,
    window_end_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    identifier TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    planned_at INTEGER NOT NULL,
    maybe_taken INTEGER NOT NULL DEFAULT 0,
    first_attempt_at INTEGER,
    next_attempt_at INTEGER NOT NULL,
    settled_at INTEGER,
    lease_until INTEGER NOT NULL DEFAULT 0,
    lease_token INTEGER NOT NULL DEFAULT 0,
    UNIQUE (customer, meter_key, period_start_at, sequence)
) STRICT;

CREATE INDEX usage_reports_pending ON usage_reports (next_attempt_at) WHERE state = 'pending';
CREATE INDEX usage_reports_pending_by_meter
    ON usage_reports (stripe_customer_id, meter_key, id) WHERE state = 'pending';
