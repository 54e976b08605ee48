-- Identities whose key begins with a time are written to event_identities with their events from now
-- on, and are no longer gathered. Up to gathered_seq they were: what is not merged of these events is
-- read from the log, and what is may be in the table under its digest alone.

ALTER TABLE identity_merges ADD COLUMN gathered_seq INTEGER NOT NULL DEFAULT 0;
UPDATE identity_merges
SET gathered_seq = MAX(merged_seq, (SELECT COALESCE(MAX(seq), 0) FROM usage_events));
