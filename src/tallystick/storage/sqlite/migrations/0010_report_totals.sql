-- What reports of a period add up to, kept with each of them; what Stripe meters make of what they
-- are told; and reports that stand for one usage event, cancel another report, or add to a record.

ALTER TABLE meters ADD COLUMN formula TEXT NOT NULL DEFAULT 'sum';

ALTER TABLE usage_reports ADD COLUMN is_increment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_reports ADD COLUMN event_source TEXT;
ALTER TABLE usage_reports ADD COLUMN event_id TEXT;
ALTER TABLE usage_reports ADD COLUMN cancels TEXT;

-- quantity_whole + quantity_pico / 10^12, and 0 <= quantity_pico < 10^12.
CREATE TABLE report_totals (
    customer TEXT NOT NULL,
    meter_key TEXT NOT NULL,
    period_start_at INTEGER NOT NULL,
    quantity_whole INTEGER NOT NULL,
    quantity_pico INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL,
    PRIMARY KEY (customer, meter_key, period_start_at)
) STRICT, WITHOUT ROWID;

-- Quantities are plain decimals: an integer, or one with up to 12 places behind a point.
INSERT INTO report_totals (
    customer, meter_key, period_start_at, quantity_whole, quantity_pico, next_sequence
)
WITH split AS (
    SELECT customer, meter_key, period_start_at, sequence, state,
        CASE WHEN quantity LIKE '-%' THEN -1 ELSE 1 END AS sign,
        ltrim(quantity, '-') AS digits
    FROM usage_reports
),
parted AS (
    SELECT customer, meter_key, period_start_at, sequence, state <> 'replaced' AS counts,
        sign * CAST(digits AS INTEGER) AS whole,
        CASE instr(digits, '.') WHEN 0 THEN 0
            ELSE sign * CAST(substr(substr(digits, instr(digits, '.') + 1) || '000000000000', 1, 12)
                AS INTEGER) END AS pico
    FROM split
),
added AS (
    SELECT customer, meter_key, period_start_at, SUM(counts * whole) AS whole,
        SUM(counts * pico) AS pico, MAX(sequence) + 1 AS next_sequence
    FROM parted GROUP BY customer, meter_key, period_start_at
)
SELECT customer, meter_key, period_start_at,
    whole + (pico - (pico % 1000000000000 + 1000000000000) % 1000000000000) / 1000000000000,
    (pico % 1000000000000 + 1000000000000) % 1000000000000,
    next_sequence
FROM added;
