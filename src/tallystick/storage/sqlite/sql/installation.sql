-- name: account
SELECT stripe_account_id, livemode FROM installation;

-- name: account_to_adopt
SELECT stripe_account_id, livemode FROM installation;

-- name: adopt
UPDATE installation SET stripe_account_id = ?, livemode = ?;

-- name: install
INSERT INTO installation (id, created_at) VALUES (1, ?) ON CONFLICT DO NOTHING;

-- name: schema_version
SELECT MAX(number) FROM schema_migrations;
