-- The settings of a unit. migrations/postgres explains them.
ALTER TABLE unit ADD COLUMN sku TEXT CHECK (sku <> '');
ALTER TABLE unit ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE unit ADD COLUMN tracking INTEGER NOT NULL DEFAULT 1;
ALTER TABLE unit ADD COLUMN backorder_limit INTEGER NOT NULL DEFAULT 0 CHECK (backorder_limit >= 0);
ALTER TABLE unit ADD COLUMN counts_subscriptions INTEGER NOT NULL DEFAULT 1 CHECK (counts_subscriptions IN (0, 1));
CREATE UNIQUE INDEX unit_of_sku ON unit (site_id, sku) WHERE sku IS NOT NULL;

-- The requested change if it differs from the change that was made, else NULL.
ALTER TABLE ledger ADD COLUMN asked INTEGER;
