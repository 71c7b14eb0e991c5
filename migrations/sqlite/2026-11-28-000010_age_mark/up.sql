-- How much time has surely passed. migrations/postgres explains the table.
CREATE TABLE age_mark (
    marked_at INTEGER NOT NULL PRIMARY KEY,
    passed    INTEGER NOT NULL CHECK (passed >= 0)
) STRICT;
