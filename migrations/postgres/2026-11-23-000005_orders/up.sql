-- What is done about a call that looks like a repeat, and about a return of more than was taken.
ALTER TABLE site
    ADD COLUMN suspected_repeats smallint NOT NULL DEFAULT 1, -- 1: report, 2: suppress
    ADD COLUMN over_returns      smallint NOT NULL DEFAULT 1; -- 1: report, 2: clip

-- What was noticed about an entry, if anything. Bits: 1 suspected repeat, 2 over-return.
ALTER TABLE ledger ADD COLUMN marks smallint;

-- A call of an order that made no entry, since it was refused or suppressed, has no change to tell of it.
ALTER TABLE request
    ADD COLUMN order_id   uuid,
    ADD COLUMN kind       smallint,
    ADD COLUMN reason     smallint,
    ADD COLUMN request_id text,
    ADD COLUMN actor      text;
CREATE INDEX request_of_order ON request (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;
