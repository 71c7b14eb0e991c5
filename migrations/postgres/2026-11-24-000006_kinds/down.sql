ALTER TABLE site DROP COLUMN recorded_at;
UPDATE site SET catalogs = COALESCE((
    SELECT jsonb_object_agg(key, value -> 'option_keys') FROM jsonb_each(catalogs::jsonb) WHERE value ? 'option_keys'
)::text, '{}');
ALTER TABLE site RENAME COLUMN catalogs TO option_keys;
UPDATE unit SET
    tracking = CASE tracking WHEN 2 THEN 2 ELSE 1 END,
    backorder_limit = COALESCE(backorder_limit, 0),
    counts_subscriptions = COALESCE(counts_subscriptions, true);
ALTER TABLE unit
    DROP COLUMN sell_from, DROP COLUMN sell_until, DROP COLUMN stocked,
    ALTER COLUMN tracking SET NOT NULL, ALTER COLUMN tracking SET DEFAULT 1,
    ALTER COLUMN backorder_limit SET NOT NULL, ALTER COLUMN backorder_limit SET DEFAULT 0,
    ALTER COLUMN counts_subscriptions SET NOT NULL, ALTER COLUMN counts_subscriptions SET DEFAULT true;
