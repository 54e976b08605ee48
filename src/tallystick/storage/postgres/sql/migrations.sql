-- name: one_at_a_time
-- Several servers may start at once; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(%s);

-- name: wait_longer
-- Another server's migration, and what ours waits for, may take a while.
SELECT set_config('lock_timeout', '60s', true), set_config('statement_timeout', '0', true);

-- name: ledger_exists
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: make_ledger
CREATE TABLE schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at bigint NOT NULL
);

-- name: applied
SELECT number, checksum FROM schema_migrations;

-- name: note_applied
INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (%s, %s, %s, %s);
