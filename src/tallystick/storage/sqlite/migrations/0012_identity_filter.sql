-- A filter before event_identities, in parts of 64 KiB, and up to which event it is complete. An
-- identity there is a digest of 16 bytes; of a UUIDv7 that is merged from now on, its time of six
-- bytes stands before the digest, so that new identities are neighbours.

CREATE TABLE identity_filter (
    part INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;

ALTER TABLE identity_merges ADD COLUMN filtered_seq INTEGER NOT NULL DEFAULT 0;
