ALTER TABLE ledger DROP COLUMN asked;
DROP INDEX unit_of_sku;
ALTER TABLE unit DROP COLUMN sku, DROP COLUMN name, DROP COLUMN tracking, DROP COLUMN backorder_limit,
    DROP COLUMN counts_subscriptions;
