-- name: copied
SELECT (SELECT COUNT(*) FROM usage_events)
        + (SELECT COALESCE(SUM(dropped_count), 0) FROM archive_parts), (SELECT MAX(number) FROM schema_migrations);
