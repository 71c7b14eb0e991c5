-- Kinds of items. A setting of a unit that is NULL comes from its catalog, or else is built in.
ALTER TABLE unit
    ALTER COLUMN tracking DROP NOT NULL, ALTER COLUMN tracking DROP DEFAULT, -- 1: quantity, 2: status, 3: untracked
    ALTER COLUMN backorder_limit DROP NOT NULL, ALTER COLUMN backorder_limit DROP DEFAULT,
    ALTER COLUMN counts_subscriptions DROP NOT NULL, ALTER COLUMN counts_subscriptions DROP DEFAULT,
    ADD COLUMN sell_from  bigint,                        -- sold from this time on
    ADD COLUMN sell_until bigint,                        -- sold before this time
    ADD COLUMN stocked    boolean NOT NULL DEFAULT false; -- whether its level was ever set, adjusted or imported
UPDATE unit SET
    tracking = NULLIF(tracking, 1),
    backorder_limit = NULLIF(backorder_limit, 0),
    counts_subscriptions = NULLIF(counts_subscriptions, true),
    stocked = unit_id IN (
        SELECT ledger.unit_id FROM change
        JOIN ledger ON ledger.site_id = change.site_id
            AND ledger.sequence BETWEEN change.first_sequence AND change.last_sequence
        WHERE change.kind IN (3, 4) -- set, adjusted
    );

-- The settings of a site's catalog apps, by app id: {"APP": {"option_keys": [...], "tracking": "status", ...}}.
ALTER TABLE site RENAME COLUMN option_keys TO catalogs;
UPDATE site SET catalogs = (
    SELECT jsonb_object_agg(key, jsonb_build_object('option_keys', value))::text FROM jsonb_each(catalogs::jsonb)
) WHERE catalogs <> '{}';

-- The time of the site's last batch. The next one is not before it, so the ledger's times never run backwards.
ALTER TABLE site ADD COLUMN recorded_at bigint NOT NULL DEFAULT 0;
UPDATE site SET recorded_at = last.recorded_at FROM (
    SELECT site_id, max(recorded_at) AS recorded_at FROM change GROUP BY site_id
) AS last WHERE last.site_id = site.site_id;
