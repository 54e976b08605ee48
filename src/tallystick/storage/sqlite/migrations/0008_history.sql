-- History: imported events of which Stripe is never told, and their rollups beside those of all
-- events, so that what they alone come to can be taken off. Live events write nothing here.

CREATE TABLE history_events (
    seq INTEGER PRIMARY KEY REFERENCES usage_events (seq)
) STRICT;

CREATE TABLE history_rollups (
    hour_at INTEGER NOT NULL,
    selection_id INTEGER NOT NULL,
    customer TEXT NOT NULL,
    event_count INTEGER NOT NULL,
    sum_whole INTEGER NOT NULL,
    sum_pico INTEGER NOT NULL,
    detail TEXT,
    PRIMARY KEY (hour_at, selection_id, customer)
) STRICT, WITHOUT ROWID;

-- The first and the last UTC day on which a customer has history.
CREATE TABLE history_spans (
    customer TEXT NOT NULL,
    selection_id INTEGER NOT NULL,
    first_day_at INTEGER NOT NULL,
    last_day_at INTEGER NOT NULL,
    PRIMARY KEY (customer, selection_id)
) STRICT, WITHOUT ROWID;
