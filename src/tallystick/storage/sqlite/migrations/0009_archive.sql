-- Days of raw events in files outside of the database. Each part is a file with events of one UTC
-- day; they are read from there, and deleted here one batch after another: dropped_count of them.

CREATE TABLE archive_parts (
    day_at INTEGER NOT NULL,
    number INTEGER NOT NULL,
    file TEXT NOT NULL UNIQUE,
    event_count INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    dropped_count INTEGER NOT NULL CHECK (dropped_count BETWEEN 0 AND event_count),
    archived_at INTEGER NOT NULL,
    PRIMARY KEY (day_at, number)
) STRICT, WITHOUT ROWID;

-- What is said of an event stays when the event leaves: these point to its place, not to its row.

CREATE TABLE corrections_of_places (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    value TEXT,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    corrected_at INTEGER NOT NULL
) STRICT;

INSERT INTO corrections_of_places SELECT id, seq, value, actor, reason, corrected_at
FROM event_corrections;
DROP TABLE event_corrections;
ALTER TABLE corrections_of_places RENAME TO event_corrections;
CREATE INDEX event_corrections_by_event ON event_corrections (seq, id);

CREATE TABLE history_places (
    seq INTEGER PRIMARY KEY
) STRICT;

INSERT INTO history_places SELECT seq FROM history_events;
DROP TABLE history_events;
ALTER TABLE history_places RENAME TO history_events;
