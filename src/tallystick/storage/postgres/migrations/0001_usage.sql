-- The usage path: events, their identities, corrections, and rollups.
-- Instants are microseconds since 1970, UTC. Text is compared byte by byte, whatever the database's
-- language, so that every database has one order.

-- An append takes its places from here. Places do not commit in their order: who reads the log up
-- to a place asks first how far it is complete (events.sql, complete_upto).
CREATE SEQUENCE usage_event_places AS bigint;

-- Partitioned by the UTC day on which events happened; days without a partition of their own, long
-- past or far ahead, have their place in usage_events_elsewhen. Nothing is ever changed in it.
CREATE TABLE usage_events (
    seq bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    customer text COLLATE "C" NOT NULL,
    occurred_at bigint NOT NULL,
    received_at bigint NOT NULL,
    value numeric NOT NULL,
    properties bytea NOT NULL,
    is_history boolean NOT NULL
) PARTITION BY RANGE (occurred_at);

CREATE INDEX usage_events_by_seq ON usage_events (seq);
CREATE INDEX usage_events_by_customer ON usage_events (customer, occurred_at);

CREATE TABLE usage_events_elsewhen PARTITION OF usage_events DEFAULT;

-- Every (source, id) ever stored, as a digest, with the place of its event: no time in the key, and
-- no partitions, so that it holds for ever.
CREATE TABLE event_identities (
    identity uuid PRIMARY KEY,
    seq bigint NOT NULL,
    occurred_at bigint NOT NULL
);

-- The newest correction of an event says what it counts for: value, or nothing (NULL) if void.
CREATE TABLE event_corrections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq bigint NOT NULL,
    value numeric,
    actor text NOT NULL,
    reason text NOT NULL,
    corrected_at bigint NOT NULL
);

CREATE INDEX event_corrections_by_event ON event_corrections (seq, id);

-- Days of raw events in files outside of the database. Each part is a file with events of one UTC
-- day; they are read from there, and deleted here one batch after another: dropped_count of them.
CREATE TABLE archive_parts (
    day_at bigint NOT NULL,
    number integer NOT NULL,
    file text NOT NULL UNIQUE,
    event_count bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    size_bytes bigint NOT NULL,
    checksum text NOT NULL,
    dropped_count bigint NOT NULL CHECK (dropped_count BETWEEN 0 AND event_count),
    archived_at bigint NOT NULL,
    PRIMARY KEY (day_at, number)
);

-- What meters select: an event type, filters, groups, and what is remembered. The plain selection
-- of a type comes first.
CREATE TABLE selections (
    id integer PRIMARY KEY,
    definition text NOT NULL UNIQUE
);

-- Of each hour, selection and customer what its events come to: all of them, and once more those
-- alone that are history, where there are any. detail is what a selection remembers beyond count
-- and sum, as JSON. Room on each page, because a row changes often and keeps its place then.
CREATE TABLE usage_rollups (
    customer text COLLATE "C" NOT NULL,
    selection_id integer NOT NULL,
    is_history boolean NOT NULL,
    hour_at bigint NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    event_count bigint NOT NULL,
    sum_whole bigint NOT NULL CHECK (sum_whole > -9223372036854775808),
    sum_pico bigint NOT NULL,
    detail text,
    PRIMARY KEY (customer, selection_id, is_history, hour_at, dimension)
) WITH (fillfactor = 60);
