-- What is done about a call that looks like a repeat, and about a return of more than was taken; see
-- migrations/postgres.
ALTER TABLE site ADD COLUMN suspected_repeats INTEGER NOT NULL DEFAULT 1;
ALTER TABLE site ADD COLUMN over_returns INTEGER NOT NULL DEFAULT 1;

-- What was noticed about an entry, if anything. Bits: 1 suspected repeat, 2 over-return.
ALTER TABLE ledger ADD COLUMN marks INTEGER;

-- A call of an order that made no entry, since it was refused or suppressed, has no change to tell of it.
ALTER TABLE request ADD COLUMN order_id BLOB;
ALTER TABLE request ADD COLUMN kind INTEGER;
ALTER TABLE request ADD COLUMN reason INTEGER;
ALTER TABLE request ADD COLUMN request_id TEXT;
ALTER TABLE request ADD COLUMN actor TEXT;
CREATE INDEX request_of_order ON request (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;

-- SQLite has no statistics of its own accord, and without any it takes an order by its site's whole history
-- rather than by its index. These tell it how books look: rows of the table, and rows for each prefix of a
-- key. They are only compared with each other.
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('change', 'change', '10000000 100000 1'),
    ('change', 'change_of_order', '10000000 100000 2 1'),
    ('ledger', 'ledger', '10000000 100000 1'),
    ('request', 'request', '10000000 100000 1'),
    ('request', 'request_of_order', '1000000 10000 2 1'),
    ('unit', 'unit', '1000000 1'),
    ('unit', 'sqlite_autoindex_unit_2', '1000000 10000 100 2 1'),
    ('unit', 'unit_of_sku', '1000000 10000 1'),
    ('level', 'level', '1000000 1'),
    ('level', 'level_of_unit', '1000000 2'),
    ('waypoint', 'waypoint', '1000000 100 1');
