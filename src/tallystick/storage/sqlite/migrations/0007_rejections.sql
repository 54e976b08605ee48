-- How far Stripe's reports of meter events that it did not count were matched with ours.

ALTER TABLE installation ADD COLUMN meter_errors_read_seq INTEGER NOT NULL DEFAULT 0;
