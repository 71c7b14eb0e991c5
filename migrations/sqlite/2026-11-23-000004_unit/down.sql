ALTER TABLE ledger DROP COLUMN asked;
DROP INDEX unit_of_sku;
ALTER TABLE unit DROP COLUMN sku;
ALTER TABLE unit DROP COLUMN name;
ALTER TABLE unit DROP COLUMN tracking;
ALTER TABLE unit DROP COLUMN backorder_limit;
ALTER TABLE unit DROP COLUMN counts_subscriptions;
