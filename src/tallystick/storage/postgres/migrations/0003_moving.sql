-- A database that another one moves into: from which state of it, and how much is here. Until it is
-- finished nobody may use it.
CREATE TABLE moving (
    id integer PRIMARY KEY CHECK (id = 1),
    source text NOT NULL,
    began_at bigint NOT NULL,
    finished_at bigint
);

CREATE TABLE moved_tables (
    name text PRIMARY KEY,
    row_count bigint NOT NULL
);
