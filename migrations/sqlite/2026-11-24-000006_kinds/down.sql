ALTER TABLE site DROP COLUMN recorded_at;
UPDATE site SET catalogs = (
    SELECT json_group_object(key, json(json_extract(value, '$.option_keys'))) FROM json_each(catalogs)
    WHERE json_extract(value, '$.option_keys') IS NOT NULL
);
ALTER TABLE site RENAME COLUMN catalogs TO option_keys;
ALTER TABLE unit ADD COLUMN old_tracking INTEGER NOT NULL DEFAULT 1;
ALTER TABLE unit ADD COLUMN old_backorder_limit INTEGER NOT NULL DEFAULT 0 CHECK (old_backorder_limit >= 0);
ALTER TABLE unit
    ADD COLUMN old_counts_subscriptions INTEGER NOT NULL DEFAULT 1 CHECK (old_counts_subscriptions IN (0, 1));
UPDATE unit SET
    old_tracking = CASE tracking WHEN 2 THEN 2 ELSE 1 END,
    old_backorder_limit = COALESCE(backorder_limit, 0),
    old_counts_subscriptions = COALESCE(counts_subscriptions, 1);
ALTER TABLE unit DROP COLUMN tracking;
ALTER TABLE unit DROP COLUMN backorder_limit;
ALTER TABLE unit DROP COLUMN counts_subscriptions;
ALTER TABLE unit DROP COLUMN sell_from;
ALTER TABLE unit DROP COLUMN sell_until;
ALTER TABLE unit DROP COLUMN stocked;
ALTER TABLE unit RENAME COLUMN old_tracking TO tracking;
ALTER TABLE unit RENAME COLUMN old_backorder_limit TO backorder_limit;
ALTER TABLE unit RENAME COLUMN old_counts_subscriptions TO counts_subscriptions;
