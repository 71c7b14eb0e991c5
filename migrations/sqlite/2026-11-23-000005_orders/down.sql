DROP INDEX request_of_order;
ALTER TABLE request DROP COLUMN order_id;
ALTER TABLE request DROP COLUMN kind;
ALTER TABLE request DROP COLUMN reason;
ALTER TABLE request DROP COLUMN request_id;
ALTER TABLE request DROP COLUMN actor;
ALTER TABLE ledger DROP COLUMN marks;
ALTER TABLE site DROP COLUMN suspected_repeats;
ALTER TABLE site DROP COLUMN over_returns;
