-- name: begin_append
-- Keeps new selections from being opened meanwhile, and says from which place on events may come.
SELECT pg_advisory_xact_lock_shared(%(selections)s::bigint),
    pg_advisory_xact_lock_shared(%(appending)s::bigint + last_value + is_called::integer)
FROM usage_event_places;

-- name: take_places
SELECT array_agg(nextval('usage_event_places')) FROM generate_series(1, %s);

-- name: in_force
-- Selections are only ever added: the newest one says whether there are others than were read. And
-- the newest day that is rolled up, or about to be.
SELECT COALESCE(MAX(id), 0), (SELECT MAX(day_at) FROM rolled_days) FROM selections;

-- name: last_place
SELECT last_value - 1 + is_called::integer FROM usage_event_places;

-- name: first_appending
-- The first place that an append which has not ended may have. Whoever ended is visible to the next
-- statement, because its locks go after its rows appear.
SELECT MIN((classid::bigint << 32 | objid::bigint) - %(appending)s::bigint) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint >> 16 = %(appending)s::bigint >> 48;

-- name: add_identities
-- In the order of the key, in which all appends wait for each other.
INSERT INTO event_identities (identity, seq, occurred_at)
SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[])
ON CONFLICT DO NOTHING
RETURNING seq;

-- name: add_events
INSERT INTO usage_events (
    seq, source, id, type, customer, occurred_at, value, properties, received_at, is_history
)
SELECT *, %s::bigint, %s::boolean FROM unnest(
    %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::numeric[],
    %b::bytea[]
);

-- name: events_known
-- Each is looked up by its day and place; OFFSET 0 keeps the planner from reading whole days. Of
-- archived ones only the place is here.
SELECT identity, known.seq, received_at, source, event.id, type, customer, event.occurred_at, value,
    properties
FROM event_identities AS known LEFT JOIN LATERAL (
    SELECT * FROM usage_events WHERE seq = known.seq AND occurred_at = known.occurred_at OFFSET 0
) AS event ON true
WHERE identity = ANY(%b::uuid[]);

-- name: event_known
-- An event with what it counts for; of an archived one only place and time are here.
SELECT known.seq, received_at, source, event.id, type, customer, known.occurred_at, event.value,
    properties, is_history, correction.id IS NOT NULL, correction.value
FROM event_identities AS known LEFT JOIN LATERAL (
    SELECT * FROM usage_events WHERE seq = known.seq AND occurred_at = known.occurred_at OFFSET 0
) AS event ON true
LEFT JOIN LATERAL (
    SELECT id, value FROM event_corrections WHERE seq = known.seq ORDER BY id DESC LIMIT 1
) AS correction ON true
WHERE identity = %s::uuid;

-- name: scan_events
SELECT seq, received_at, source, id, type, customer, occurred_at, value, properties
FROM usage_events WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s;

-- name: count_events
-- Those in the database, and those that left it.
SELECT (SELECT COUNT(*) FROM usage_events)
    + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts);
