-- Which events a meter takes beside their type, and what it reads of them. Lists are JSON.

ALTER TABLE meters ADD COLUMN counted_property TEXT;
ALTER TABLE meters ADD COLUMN filters TEXT NOT NULL DEFAULT '[]';
ALTER TABLE meters ADD COLUMN group_by TEXT NOT NULL DEFAULT '[]';
ALTER TABLE meters ADD COLUMN per TEXT NOT NULL DEFAULT 'hour';
