-- Kinds of items. migrations/postgres explains the columns. SQLite cannot make a column nullable, so each gets a
-- successor of the same name.
ALTER TABLE unit ADD COLUMN own_tracking INTEGER;
ALTER TABLE unit ADD COLUMN own_backorder_limit INTEGER CHECK (own_backorder_limit >= 0);
ALTER TABLE unit ADD COLUMN own_counts_subscriptions INTEGER CHECK (own_counts_subscriptions IN (0, 1));
ALTER TABLE unit ADD COLUMN sell_from INTEGER;
ALTER TABLE unit ADD COLUMN sell_until INTEGER;
ALTER TABLE unit ADD COLUMN stocked INTEGER NOT NULL DEFAULT 0 CHECK (stocked IN (0, 1));
UPDATE unit SET
    own_tracking = NULLIF(tracking, 1),
    own_backorder_limit = NULLIF(backorder_limit, 0),
    own_counts_subscriptions = NULLIF(counts_subscriptions, 1),
    stocked = unit_id IN (
        SELECT ledger.unit_id FROM change
        JOIN ledger ON ledger.site_id = change.site_id
            AND ledger.sequence BETWEEN change.first_sequence AND change.last_sequence
        WHERE change.kind IN (3, 4)
    );
ALTER TABLE unit DROP COLUMN tracking;
ALTER TABLE unit DROP COLUMN backorder_limit;
ALTER TABLE unit DROP COLUMN counts_subscriptions;
ALTER TABLE unit RENAME COLUMN own_tracking TO tracking;
ALTER TABLE unit RENAME COLUMN own_backorder_limit TO backorder_limit;
ALTER TABLE unit RENAME COLUMN own_counts_subscriptions TO counts_subscriptions;

-- The settings of a site's catalog apps.
ALTER TABLE site RENAME COLUMN option_keys TO catalogs;
UPDATE site SET catalogs = (
    SELECT json_group_object(key, json_object('option_keys', json(value))) FROM json_each(catalogs)
) WHERE catalogs <> '{}';

-- The time of the site's last batch.
ALTER TABLE site ADD COLUMN recorded_at INTEGER NOT NULL DEFAULT 0;
UPDATE site SET recorded_at = COALESCE((SELECT max(recorded_at) FROM change WHERE change.site_id = site.site_id), 0);
