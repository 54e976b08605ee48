-- name: account
SELECT stripe_account_id, livemode FROM installation;

-- name: adopt
UPDATE installation SET stripe_account_id = ?, livemode = ?;

-- name: install
INSERT INTO installation (id, created_at) VALUES (1, ?) ON CONFLICT DO NOTHING;

-- name: add_key
INSERT INTO api_keys (id, name, digest, created_at) VALUES (?, ?, ?, ?);

-- name: has_key
SELECT 1 FROM api_keys WHERE digest = ?;

-- name: schema_version
SELECT MAX(number) FROM schema_migrations;
