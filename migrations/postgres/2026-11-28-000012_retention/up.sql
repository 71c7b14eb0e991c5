-- Retention: old entries are archived, and sites are deleted. inventory-core/README.md explains it.

-- Up to where the entries of a site are gone: archived, or deleted with the site.
CREATE TABLE cut (
    site_id     uuid   NOT NULL PRIMARY KEY,
    sequence    bigint NOT NULL CHECK (sequence >= 0),
    recorded_at bigint NOT NULL,           -- when the last of them was recorded
    revision    bigint NOT NULL DEFAULT 0, -- a site that begins again after its deletion has at least this revision
    change_id   bigint NOT NULL DEFAULT 0  -- the site's rows of the journal before this one are gone
);

-- Each level as of the cut of its site: what its entries are added to.
CREATE TABLE balance (
    site_id       uuid   NOT NULL,
    level_id      uuid   NOT NULL,
    unit_id       uuid   NOT NULL,
    location_id   uuid,
    available     bigint NOT NULL,
    revision      bigint NOT NULL CHECK (revision > 0),
    last_sequence bigint NOT NULL,
    PRIMARY KEY (site_id, level_id)
);

-- What orders took and gave back by entries that are gone. A later return is judged by it.
CREATE TABLE holding (
    site_id  uuid   NOT NULL,
    order_id uuid   NOT NULL,
    level_id uuid   NOT NULL,
    taken    bigint NOT NULL CHECK (taken >= 0),
    returned bigint NOT NULL CHECK (returned >= 0),
    PRIMARY KEY (site_id, order_id, level_id)
);

-- Entries after the cut of their site are never removed. Those before it may be: the cut is written with the balances.
CREATE FUNCTION nothing_after_the_cut() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stays boolean;
BEGIN
    IF TG_TABLE_NAME = 'ledger' THEN
        SELECT EXISTS (SELECT FROM gone LEFT JOIN cut ON cut.site_id = gone.site_id
            WHERE gone.sequence > COALESCE(cut.sequence, 0)) INTO stays;
    ELSIF TG_TABLE_NAME = 'change' THEN
        SELECT EXISTS (SELECT FROM gone LEFT JOIN cut ON cut.site_id = gone.site_id
            WHERE gone.last_sequence > COALESCE(cut.sequence, 0)) INTO stays;
    ELSE
        -- The journal keeps the deletions of sites for ever.
        SELECT EXISTS (SELECT FROM gone LEFT JOIN cut ON cut.site_id = gone.site_id
            WHERE gone.change_id >= COALESCE(cut.change_id, 0) OR gone.subject = 'deletion') INTO stays;
    END IF;
    IF stays THEN
        RAISE EXCEPTION 'entries of % are never changed or removed', TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER append_only ON ledger;
DROP TRIGGER append_only ON change;
DROP TRIGGER append_only ON journal;
CREATE TRIGGER append_only BEFORE UPDATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER append_only BEFORE UPDATE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER append_only BEFORE UPDATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER nothing_after_the_cut AFTER DELETE ON ledger REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_after_the_cut();
CREATE TRIGGER nothing_after_the_cut AFTER DELETE ON change REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_after_the_cut();
CREATE TRIGGER nothing_after_the_cut AFTER DELETE ON journal REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_after_the_cut();

-- A site that begins again after its deletion gives no sequence number twice, and no server takes it for the old one.
-- SECURITY DEFINER, because a server's role may lack the right to read the new table until it is granted. So the table
-- is named by its schema, and not found by the caller's search_path.
CREATE FUNCTION site_goes_on() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone_sequence    bigint;
    gone_revision    bigint;
    gone_recorded_at bigint;
BEGIN
    EXECUTE format('SELECT sequence, revision, recorded_at FROM %I.cut WHERE site_id = $1', TG_TABLE_SCHEMA)
        INTO gone_sequence, gone_revision, gone_recorded_at USING NEW.site_id;
    -- For a site without a cut these are NULL, which `greatest` ignores.
    NEW.sequence := greatest(NEW.sequence, gone_sequence);
    NEW.revision := greatest(NEW.revision, gone_revision);
    NEW.recorded_at := greatest(NEW.recorded_at, gone_recorded_at);
    RETURN NEW;
END $$;
CREATE TRIGGER goes_on BEFORE INSERT ON site FOR EACH ROW EXECUTE FUNCTION site_goes_on();
