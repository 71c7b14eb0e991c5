-- The site's policies about suspected duplicates and over-returns. migrations/postgres explains the values.
ALTER TABLE site ADD COLUMN suspected_repeats INTEGER NOT NULL DEFAULT 1;
ALTER TABLE site ADD COLUMN over_returns INTEGER NOT NULL DEFAULT 1;

-- The marks of an entry, or NULL. Bits: 1 suspected duplicate, 2 over-return.
ALTER TABLE ledger ADD COLUMN marks INTEGER;

-- Details of an order's call that made no entry, because it was refused or suppressed. Other calls are in `change`.
ALTER TABLE request ADD COLUMN order_id BLOB;
ALTER TABLE request ADD COLUMN kind INTEGER;
ALTER TABLE request ADD COLUMN reason INTEGER;
ALTER TABLE request ADD COLUMN request_id TEXT;
ALTER TABLE request ADD COLUMN actor TEXT;
CREATE INDEX request_of_order ON request (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;

-- SQLite collects no statistics by itself. Without statistics it finds an order by reading the site's whole history,
-- not by the index. These rows give it typical sizes: the rows of a table, then the rows for each prefix of a key.
-- SQLite only compares them with each other.
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
