-- A rollup has a number, by which the writer, which remembers it, writes it again: that takes less
-- than half of finding its place in the order of hours and customers. selection_id refers to a
-- selection so that a number which is not there cannot make a rollup.

CREATE TABLE numbered_rollups (
    id INTEGER PRIMARY KEY,
    hour_at INTEGER NOT NULL,
    selection_id INTEGER NOT NULL REFERENCES selections (id),
    customer TEXT NOT NULL,
    dimension TEXT NOT NULL,
    event_count INTEGER NOT NULL,
    sum_whole INTEGER NOT NULL,
    sum_pico INTEGER NOT NULL,
    detail TEXT,
    last_seq INTEGER NOT NULL,
    latest_at INTEGER NOT NULL
) STRICT;

INSERT INTO numbered_rollups (
    hour_at, selection_id, customer, dimension, event_count, sum_whole, sum_pico, detail, last_seq,
    latest_at
)
SELECT hour_at, selection_id, customer, dimension, event_count, sum_whole, sum_pico, detail, last_seq,
    latest_at
FROM usage_rollups ORDER BY hour_at, selection_id, customer, dimension;

DROP TABLE usage_rollups;
ALTER TABLE numbered_rollups RENAME TO usage_rollups;
CREATE UNIQUE INDEX usage_rollups_by_hour
ON usage_rollups (hour_at, selection_id, customer, dimension);
