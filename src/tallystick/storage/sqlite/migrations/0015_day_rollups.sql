-- Rollups of whole UTC days, derived from those of their hours once the day is over: a month of a
-- customer is then some thirty neighbours instead of hundreds of rows on pages of their own.

-- The customer comes first in the key: days are written once, and read by the month. The sum is
-- sum_high * 2^32 + sum_low + sum_pico * 10^-12: parts that stay in range however large it is.
CREATE TABLE day_rollups (
    customer TEXT NOT NULL,
    selection_id INTEGER NOT NULL,
    day_at INTEGER NOT NULL,
    dimension TEXT NOT NULL,
    event_count INTEGER NOT NULL,
    sum_high INTEGER NOT NULL,
    sum_low INTEGER NOT NULL,
    sum_pico INTEGER NOT NULL,
    detail TEXT,
    PRIMARY KEY (customer, selection_id, day_at, dimension)
) STRICT, WITHOUT ROWID;

-- Days of a selection that are rolled up, or are about to be: next_customer is the first one that is
-- not yet, and NULL when all are. From when a day stands here, what changes in it makes it stale.
CREATE TABLE rolled_days (
    selection_id INTEGER NOT NULL,
    day_at INTEGER NOT NULL,
    next_customer TEXT,
    PRIMARY KEY (selection_id, day_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX rolled_days_by_day ON rolled_days (day_at);
CREATE INDEX rolled_days_under_way ON rolled_days (day_at) WHERE next_customer IS NOT NULL;

-- Days of a customer whose hours changed since: read by their hours until they are rolled up again.
CREATE TABLE stale_days (
    customer TEXT NOT NULL,
    selection_id INTEGER NOT NULL,
    day_at INTEGER NOT NULL,
    PRIMARY KEY (customer, selection_id, day_at)
) STRICT, WITHOUT ROWID;
