-- Corrections of events, which are never edited themselves.

-- The newest correction of an event says what it counts for: value, or nothing (NULL) if void.
CREATE TABLE event_corrections (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL REFERENCES usage_events (seq),
    value TEXT,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    corrected_at INTEGER NOT NULL
) STRICT;

CREATE INDEX event_corrections_by_event ON event_corrections (seq, id);
