-- The settings of a unit. Each change raises the site's revision, so that no server uses settings from an old cache.
ALTER TABLE unit
    ADD COLUMN sku                  text COLLATE "C" CHECK (sku <> ''),
    ADD COLUMN name                 text     NOT NULL DEFAULT '',
    ADD COLUMN tracking             smallint NOT NULL DEFAULT 1, -- 1: quantity, 2: status
    ADD COLUMN backorder_limit      bigint   NOT NULL DEFAULT 0 CHECK (backorder_limit >= 0),
    ADD COLUMN counts_subscriptions boolean  NOT NULL DEFAULT true;
CREATE UNIQUE INDEX unit_of_sku ON unit (site_id, sku) WHERE sku IS NOT NULL;

-- The requested change if it differs from the change that was made, else NULL.
ALTER TABLE ledger ADD COLUMN asked bigint;
