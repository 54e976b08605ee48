-- Rollups of whole UTC days, derived from those of their hours once the day is over: a month of a
-- customer is then some thirty rows instead of hundreds.

-- Sums of a day may leave 64 bits, which those of an hour may not.
CREATE TABLE day_rollups (
    customer text COLLATE "C" NOT NULL,
    selection_id integer NOT NULL,
    day_at bigint NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    event_count bigint NOT NULL,
    sum_whole numeric NOT NULL,
    sum_pico bigint NOT NULL,
    detail text,
    PRIMARY KEY (customer, selection_id, day_at, dimension)
);

-- Days of a selection that are rolled up, or are about to be: next_customer is the first one that is
-- not yet, and NULL when all are. From when a day stands here, what changes in it makes it stale.
CREATE TABLE rolled_days (
    selection_id integer NOT NULL,
    day_at bigint NOT NULL,
    next_customer text COLLATE "C",
    PRIMARY KEY (selection_id, day_at)
);

CREATE INDEX rolled_days_by_day ON rolled_days (day_at);
CREATE INDEX rolled_days_under_way ON rolled_days (day_at) WHERE next_customer IS NOT NULL;

-- Days of a customer whose hours changed since: read by their hours until they are rolled up again.
CREATE TABLE stale_days (
    customer text COLLATE "C" NOT NULL,
    selection_id integer NOT NULL,
    day_at bigint NOT NULL,
    PRIMARY KEY (customer, selection_id, day_at)
);

-- UTC days on which there is any usage: the rollups of hours are in the order of customers.
CREATE TABLE usage_days (
    day_at bigint PRIMARY KEY
);

INSERT INTO usage_days
SELECT DISTINCT hour_at - hour_at % 86400000000 FROM usage_rollups;
