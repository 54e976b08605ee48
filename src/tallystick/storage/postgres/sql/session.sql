-- name: set
SELECT set_config(%s, %s, false);

-- name: synchronous_commit
SELECT current_setting('synchronous_commit');

-- name: encoding
SELECT current_setting('server_encoding');

-- name: unsafe_settings
-- With one of these off, the server itself may lose what it said was committed.
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on';
