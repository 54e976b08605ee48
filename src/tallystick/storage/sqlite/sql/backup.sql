-- name: copied
SELECT (SELECT COUNT(*) FROM usage_events), (SELECT MAX(number) FROM schema_migrations);
