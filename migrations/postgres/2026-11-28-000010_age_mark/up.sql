-- What the servers' clocks showed, hour by hour, and how much time had surely passed by then. Outcomes of requests grow
-- old by it: see inventory-core/src/store/age.rs. Both are microseconds; marked_at is a time since 1970 (UTC).
CREATE TABLE age_mark (
    marked_at bigint NOT NULL PRIMARY KEY,
    passed    bigint NOT NULL CHECK (passed >= 0)
);
