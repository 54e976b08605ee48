-- name: account
SELECT stripe_account_id, livemode FROM installation;

-- name: account_to_adopt
-- Locked: of two that adopt at once, the second one sees what the first one wrote.
SELECT stripe_account_id, livemode FROM installation FOR UPDATE;

-- name: adopt
UPDATE installation SET stripe_account_id = %s, livemode = %s;

-- name: install
INSERT INTO installation (id, created_at) VALUES (1, %s) ON CONFLICT DO NOTHING;

-- name: schema_version
SELECT MAX(number) FROM schema_migrations;
