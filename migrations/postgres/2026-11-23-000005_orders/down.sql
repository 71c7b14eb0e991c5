DROP INDEX request_of_order;
ALTER TABLE request DROP COLUMN order_id, DROP COLUMN kind, DROP COLUMN reason, DROP COLUMN request_id, DROP COLUMN actor;
ALTER TABLE ledger DROP COLUMN marks;
ALTER TABLE site DROP COLUMN suspected_repeats, DROP COLUMN over_returns;
