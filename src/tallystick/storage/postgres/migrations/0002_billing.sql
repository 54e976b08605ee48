-- All but the usage path: the installation, the catalog, customers, reports, the inbox, the mirror.
-- Instants are microseconds since 1970, UTC; JSON is kept as the text that was written.

CREATE TABLE installation (
    id integer PRIMARY KEY CHECK (id = 1),
    created_at bigint NOT NULL,
    stripe_account_id text,
    livemode boolean,
    catalog_version bigint NOT NULL DEFAULT 0,
    meter_errors_read_seq bigint NOT NULL DEFAULT 0
);

-- scopes are words with blanks between them; a key without any may do nothing.
CREATE TABLE api_keys (
    number bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL UNIQUE,
    scopes text NOT NULL,
    source text,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    last_used_at bigint
);

CREATE TABLE event_sources (
    source text PRIMARY KEY,
    derives_ids boolean NOT NULL
);

-- Up to which place each selection's delays are counted; selection is its definition.
CREATE TABLE lateness_marks (
    selection text PRIMARY KEY,
    counted_seq bigint NOT NULL
);

-- How many events by UTC day of arrival and delay: milliseconds of which the first two digits are
-- kept, -1 for an event that arrived before it happened.
CREATE TABLE event_delays (
    selection text NOT NULL,
    day_at bigint NOT NULL,
    delay_ms bigint NOT NULL,
    event_count bigint NOT NULL,
    PRIMARY KEY (selection, day_at, delay_ms)
);

-- filters and group_by are JSON; report_every_minutes NULL: usage is reported in real time.
CREATE TABLE meters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    display_name text NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    aggregation text NOT NULL,
    decimals integer NOT NULL,
    report_every_minutes integer,
    counted_property text,
    filters text NOT NULL,
    group_by text NOT NULL,
    per text NOT NULL,
    formula text NOT NULL,
    stripe_meter_id text NOT NULL UNIQUE
);

-- A key has several versions: subscriptions keep an older one until they are moved. replaced_at is
-- when the key went to another version or was sold no more.
CREATE TABLE prices (
    stripe_price_id text PRIMARY KEY,
    key text NOT NULL,
    product_key text NOT NULL,
    product_name text NOT NULL,
    unit_label text,
    meter_key text,
    definition text NOT NULL,
    applied_at bigint NOT NULL,
    replaced_at bigint
);

CREATE UNIQUE INDEX prices_current ON prices (key) WHERE replaced_at IS NULL;

-- Every catalog that was applied, as declared, oldest first.
CREATE TABLE applied_catalogs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document text NOT NULL,
    applied_at bigint NOT NULL
);

CREATE TABLE customer_links (
    customer text COLLATE "C" PRIMARY KEY,
    stripe_customer_id text NOT NULL UNIQUE,
    test_clock_id text,
    linked_at bigint NOT NULL
);

-- Each marking takes the next one, so that one made while a report is planned is not cleared with
-- it. A sequence and no column: nobody waits for another one's marking.
CREATE SEQUENCE due_marks AS bigint;

-- not_before: those that report in batches sleep until theirs.
CREATE TABLE report_due (
    customer text COLLATE "C" NOT NULL,
    meter_key text COLLATE "C" NOT NULL,
    mark bigint NOT NULL,
    not_before bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (customer, meter_key)
);

-- Up to which place the log was looked at for what is due; a row of its own, which the one that
-- looks keeps locked.
CREATE TABLE report_notices (
    id integer PRIMARY KEY CHECK (id = 1),
    noticed_seq bigint NOT NULL
);
INSERT INTO report_notices (id, noticed_seq) VALUES (1, 0);

-- A customer and meter are a lane: its oldest pending report stands at the head and the others
-- queue behind it. So the next reports to send are read from one small index, however many wait.
-- Whoever adds to a lane or ends its head holds the lane's advisory lock.
--
-- stage: queued (behind another one of its lane), waiting (leased, or for another attempt, until
-- wake_at), ready (for the next worker), unverified (delivered; Stripe's total is to be read at
-- wake_at), settled.
CREATE TABLE usage_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text COLLATE "C" NOT NULL,
    stripe_customer_id text NOT NULL,
    meter_key text COLLATE "C" NOT NULL,
    period_start_at bigint NOT NULL,
    period_end_at bigint NOT NULL,
    window_start_at bigint NOT NULL,
    window_end_at bigint NOT NULL,
    sequence integer NOT NULL,
    quantity numeric NOT NULL,
    timestamp bigint NOT NULL,
    identifier text NOT NULL UNIQUE,
    state text NOT NULL,
    reason text,
    attempts integer NOT NULL DEFAULT 0,
    maybe_taken boolean NOT NULL DEFAULT false,
    first_attempt_at bigint,
    way text NOT NULL,
    stripe_item_id text,
    level numeric,
    record_aggregation text,
    is_increment boolean NOT NULL,
    event_source text,
    event_id text,
    cancels text,
    closes_at bigint NOT NULL,
    step text NOT NULL DEFAULT 'send',
    stage text NOT NULL,
    wake_at bigint NOT NULL,
    planned_at bigint NOT NULL,
    settled_at bigint,
    verified_at bigint,
    lease_token bigint NOT NULL DEFAULT 0,
    UNIQUE (customer, meter_key, period_start_at, sequence)
);

CREATE INDEX usage_reports_ready ON usage_reports (closes_at, wake_at, id) WHERE stage = 'ready';
CREATE INDEX usage_reports_waiting ON usage_reports (wake_at) WHERE stage = 'waiting';
CREATE INDEX usage_reports_unverified ON usage_reports (wake_at) WHERE stage = 'unverified';
CREATE INDEX usage_reports_lanes
    ON usage_reports (stripe_customer_id, meter_key, id) WHERE state = 'pending';
CREATE INDEX usage_reports_stuck
    ON usage_reports (id) WHERE state IN ('dead', 'unresolved', 'parked');

-- What reports of a period add up to, replaced ones left out; kept with each of them.
CREATE TABLE report_totals (
    customer text COLLATE "C" NOT NULL,
    meter_key text COLLATE "C" NOT NULL,
    period_start_at bigint NOT NULL,
    quantity numeric NOT NULL,
    next_sequence integer NOT NULL,
    PRIMARY KEY (customer, meter_key, period_start_at)
);

-- What people decided about stuck reports; never changed.
CREATE TABLE report_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_id bigint NOT NULL REFERENCES usage_reports (id),
    action text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    decided_at bigint NOT NULL
);

CREATE INDEX report_decisions_by_report ON report_decisions (report_id, id);

-- A number is never given twice, because readings say up to which one they reach.
CREATE TABLE inbox_events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL UNIQUE,
    type text NOT NULL,
    api_version text,
    is_thin boolean NOT NULL,
    body bytea NOT NULL,
    brought text NOT NULL,
    received_at bigint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    reason text,
    next_attempt_at bigint NOT NULL,
    lease_until bigint NOT NULL DEFAULT 0,
    lease_token bigint NOT NULL DEFAULT 0,
    settled_at bigint
);

CREATE INDEX inbox_events_waiting ON inbox_events (next_attempt_at, seq) WHERE state = 'waiting';
CREATE INDEX inbox_events_dead ON inbox_events (seq) WHERE state = 'dead';

-- Kept one at a time (METER_ERRORS), so that numbers are committed in their order.
CREATE TABLE meter_errors (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL UNIQUE,
    type text NOT NULL,
    stripe_meter_id text,
    body bytea NOT NULL,
    received_at bigint NOT NULL
);

-- body is Stripe's object as received, NULL once it is gone; the other columns are looked up.
-- as_of is the last event that had arrived when the object was asked for.
CREATE TABLE mirror_objects (
    stripe_id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    stripe_customer_id text,
    stripe_subscription_id text,
    test_clock_id text,
    is_open boolean NOT NULL,
    body bytea,
    api_version text NOT NULL,
    as_of bigint NOT NULL,
    read_at bigint NOT NULL,
    run bigint NOT NULL
);

CREATE INDEX mirror_objects_by_kind ON mirror_objects (kind, stripe_id);
CREATE INDEX mirror_objects_by_customer ON mirror_objects (stripe_customer_id, kind)
    WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX mirror_objects_by_clock ON mirror_objects (test_clock_id, kind)
    WHERE test_clock_id IS NOT NULL;

-- What of a price never changes.
CREATE TABLE mirror_prices (
    stripe_price_id text PRIMARY KEY,
    stripe_meter_id text,
    is_metered boolean NOT NULL
);

-- An item as it is; price and period are NULL where it is there no more.
CREATE TABLE mirror_items (
    stripe_item_id text COLLATE "C" PRIMARY KEY,
    stripe_subscription_id text NOT NULL,
    stripe_customer_id text NOT NULL,
    stripe_price_id text,
    period_start_at bigint,
    period_end_at bigint,
    read_since bigint NOT NULL,
    began_at bigint,
    ended_at bigint
);

CREATE INDEX mirror_items_by_customer ON mirror_items (stripe_customer_id);
CREATE INDEX mirror_items_by_subscription ON mirror_items (stripe_subscription_id);

-- What an item was: changes that events tell (is_change), and states in which it was read. A NULL
-- price stands for an item that is not there. source is the event, or the reading's item and time.
CREATE TABLE item_pasts (
    source text COLLATE "C" NOT NULL,
    stripe_item_id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    is_change boolean NOT NULL,
    before_price_id text,
    before_start_at bigint,
    before_end_at bigint,
    after_price_id text,
    after_start_at bigint,
    after_end_at bigint,
    PRIMARY KEY (stripe_item_id, source)
);

-- What invoice lines billed of an item's usage, once for each stretch of time and price.
CREATE TABLE item_billed (
    stripe_item_id text COLLATE "C" NOT NULL,
    start_at bigint NOT NULL,
    end_at bigint NOT NULL,
    stripe_price_id text NOT NULL,
    PRIMARY KEY (stripe_item_id, start_at, end_at, stripe_price_id)
);

-- When all subscriptions of one customer were read for themselves.
CREATE TABLE customer_readings (
    stripe_customer_id text PRIMARY KEY,
    read_at bigint NOT NULL
);

CREATE TABLE sync_state (
    id integer PRIMARY KEY CHECK (id = 1),
    run bigint NOT NULL,
    newest_event text,
    began_event text,
    began_at bigint,
    synced_at bigint,
    swept_at bigint,
    calls_max bigint NOT NULL
);

INSERT INTO sync_state (id, run, calls_max) VALUES (1, 0, 0);

CREATE TABLE sync_steps (
    place integer PRIMARY KEY,
    kind text NOT NULL UNIQUE,
    after_id text,
    is_done boolean NOT NULL,
    objects bigint NOT NULL,
    calls bigint NOT NULL
);
