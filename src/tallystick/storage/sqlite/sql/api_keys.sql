-- name: add_key
INSERT INTO api_keys (id, name, digest, scopes, source, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: find_key
SELECT id, name, scopes, source, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE digest = ?;

-- name: keys
SELECT id, name, scopes, source, created_at, expires_at, revoked_at, last_used_at
FROM api_keys ORDER BY created_at, rowid;

-- name: revoke_key
-- Once revoked, for ever and since then.
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?;

-- name: key_used
UPDATE api_keys SET last_used_at = MAX(COALESCE(last_used_at, 0), ?) WHERE id = ?;
