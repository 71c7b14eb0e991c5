-- The site's policies about suspected duplicates and over-returns.
ALTER TABLE site
    ADD COLUMN suspected_repeats smallint NOT NULL DEFAULT 1, -- 1: report, 2: suppress
    ADD COLUMN over_returns      smallint NOT NULL DEFAULT 1; -- 1: report, 2: clip

-- The marks of an entry, or NULL. Bits: 1 suspected duplicate, 2 over-return.
ALTER TABLE ledger ADD COLUMN marks smallint;

-- Details of an order's call that made no entry, because it was refused or suppressed. Other calls are in `change`.
ALTER TABLE request
    ADD COLUMN order_id   uuid,
    ADD COLUMN kind       smallint,
    ADD COLUMN reason     smallint,
    ADD COLUMN request_id text,
    ADD COLUMN actor      text;
CREATE INDEX request_of_order ON request (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;
