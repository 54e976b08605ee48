-- name: take
-- Held by the session, not by a transaction: what is done in a turn takes long.
SELECT pg_try_advisory_lock(%s, hashtext(%s));

-- name: give_back
SELECT pg_advisory_unlock_all();
