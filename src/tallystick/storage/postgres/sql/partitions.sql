-- name: try_alone
-- One process makes partitions; the others leave it to that one.
SELECT pg_try_advisory_xact_lock(%s);

-- name: wait_briefly
-- Readers queue behind who waits to attach: rather try again later.
SELECT set_config('lock_timeout', '1s', true);

-- name: partitions
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_events'::regclass;

-- name: attach_past
CREATE TABLE usage_events_past PARTITION OF usage_events
FOR VALUES FROM (MINVALUE) TO ({before_at});

-- name: make_day
CREATE TABLE {day} (LIKE usage_events INCLUDING ALL);

-- name: came_early
-- Whether the day has events in the partition of days without one.
SELECT EXISTS (
    SELECT 1 FROM usage_events_elsewhen WHERE occurred_at >= {from_at} AND occurred_at < {to_at}
);

-- name: attach_day
ALTER TABLE usage_events ATTACH PARTITION {day} FOR VALUES FROM ({from_at}) TO ({to_at});

-- name: day_size
-- Nothing only once no transaction sees a row of it any more: VACUUM gives the space back then.
SELECT pg_relation_size({day}::regclass);

-- name: lock_day
-- The whole log first, in the order in which who appends takes them.
LOCK TABLE ONLY usage_events, {day} IN ACCESS EXCLUSIVE MODE;

-- name: drop_day
DROP TABLE {day};
