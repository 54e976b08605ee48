-- The latest time of an hour's events, in plain rollups: where none lies beyond the end of a period,
-- the rollup says all of the hour, and its events need not be folded. 2^62: it is not known.

ALTER TABLE usage_rollups ADD COLUMN latest_at INTEGER NOT NULL DEFAULT 4611686018427387904;
