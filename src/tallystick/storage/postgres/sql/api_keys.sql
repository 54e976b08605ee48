-- name: add_key
INSERT INTO api_keys (id, name, digest, scopes, source, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s);

-- name: find_key
SELECT id, name, scopes, source, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE digest = %s;

-- name: keys
SELECT id, name, scopes, source, created_at, expires_at, revoked_at, last_used_at
FROM api_keys ORDER BY created_at, number;

-- name: revoke_key
-- Once revoked, for ever and since then.
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, %s::bigint) WHERE id = %s;

-- name: key_used
UPDATE api_keys SET last_used_at = GREATEST(COALESCE(last_used_at, 0), %s) WHERE id = %s;
