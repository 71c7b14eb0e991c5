-- What is done about a call that looks like a repeat, and about a return of more than was taken; see
-- migrations/postgres.
ALTER TABLE site ADD COLUMN suspected_repeats INTEGER NOT NULL DEFAULT 1;
ALTER TABLE site ADD COLUMN over_returns INTEGER NOT NULL DEFAULT 1;

-- What was noticed about an entry. Bits: 1 suspected repeat, 2 over-return.
ALTER TABLE ledger ADD COLUMN marks INTEGER CHECK (marks <> 0);

-- A call of an order that made no entry, since it was refused or suppressed, has no change to tell of it.
ALTER TABLE request ADD COLUMN order_id BLOB;
ALTER TABLE request ADD COLUMN kind INTEGER;
ALTER TABLE request ADD COLUMN reason INTEGER;
ALTER TABLE request ADD COLUMN request_id TEXT;
ALTER TABLE request ADD COLUMN actor TEXT;
CREATE INDEX request_of_order ON request (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;
