-- What keys may do, sources that derive ids, and how late events arrive.

-- scopes are words with blanks between them; a key without any may do nothing.
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN source TEXT;
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN revoked_at INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;

-- Keys from before there were scopes go on doing what they could.
UPDATE api_keys SET scopes = 'ingest operate read';

CREATE TABLE event_sources (
    source TEXT PRIMARY KEY,
    derives_ids INTEGER NOT NULL CHECK (derives_ids IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Up to which event each selection's delays are counted; selection is its definition.
CREATE TABLE lateness_marks (
    selection TEXT PRIMARY KEY,
    counted_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many events by UTC day of arrival and delay: milliseconds of which the first two digits are
-- kept, -1 for an event that arrived before it happened.
CREATE TABLE event_delays (
    selection TEXT NOT NULL,
    day_at INTEGER NOT NULL,
    delay_ms INTEGER NOT NULL,
    event_count INTEGER NOT NULL,
    PRIMARY KEY (selection, day_at, delay_ms)
) STRICT, WITHOUT ROWID;
