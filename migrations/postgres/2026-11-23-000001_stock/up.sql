-- Stock levels and their ledger. migrations/sqlite has the same tables and columns under the same names.
-- Times are microseconds since 1970 (UTC). The ids of units, levels and requests are hashes of what they identify
-- (inventory-core/src/model/ids.rs), so each hot row is found by one 16-byte key. Postgres prepares every CHECK anew
-- for each statement, so there are CHECKs only for errors that would cost a merchant stock.

-- The tenant. A transaction that holds a site's row FOR UPDATE may change all other rows of that site.
CREATE TABLE site (
    site_id             uuid   PRIMARY KEY,
    sequence            bigint NOT NULL DEFAULT 0,
    default_location_id uuid,
    option_keys         text   NOT NULL DEFAULT '{}',
    revision            bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 25); -- leaves room for new versions of a hot row on its own page

-- A unit: what has stock levels.
CREATE TABLE unit (
    unit_id uuid PRIMARY KEY,
    site_id uuid NOT NULL REFERENCES site,
    app_id  text COLLATE "C" NOT NULL CHECK (app_id <> ''),
    item_id text COLLATE "C" NOT NULL CHECK (item_id <> ''),
    variant text COLLATE "C" NOT NULL,
    UNIQUE (site_id, app_id, item_id, variant)
);

-- The stock level of a unit at a location. A NULL location is the site's default location.
CREATE TABLE level (
    level_id      uuid   PRIMARY KEY,
    site_id       uuid   NOT NULL REFERENCES site,
    unit_id       uuid   NOT NULL REFERENCES unit,
    location_id   uuid,
    available     bigint NOT NULL,
    revision      bigint NOT NULL,
    last_sequence bigint NOT NULL
) WITH (fillfactor = 70); -- an update stays on its page and changes no index
CREATE INDEX level_of_unit ON level (unit_id);

-- An applied request: the header of one or more consecutive ledger entries.
CREATE TABLE change (
    site_id        uuid     NOT NULL,
    first_sequence bigint   NOT NULL,
    last_sequence  bigint   NOT NULL CHECK (last_sequence >= first_sequence),
    kind           smallint NOT NULL,
    reason         smallint NOT NULL,
    order_id       uuid,
    request_id     text     NOT NULL,
    actor          text     NOT NULL,
    recorded_at    bigint   NOT NULL,
    PRIMARY KEY (site_id, first_sequence)
);
CREATE INDEX change_of_order ON change (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;

-- The ledger: every change of every level, once, in one order per site. It has no foreign keys. They would cost a
-- look-up per entry and protect nothing: units are never removed, and one statement writes a change and its entries.
CREATE TABLE ledger (
    site_id         uuid    NOT NULL,
    sequence        bigint  NOT NULL,
    change_sequence bigint  NOT NULL,
    unit_id         uuid    NOT NULL,
    location_id     uuid,
    delta           bigint  NOT NULL,
    level_before    bigint  NOT NULL,
    level_after     bigint  NOT NULL CHECK (level_after = level_before + delta),
    floor           bigint,
    subscription    boolean NOT NULL,
    PRIMARY KEY (site_id, sequence),
    CONSTRAINT restricted_decrement CHECK (floor IS NULL OR delta >= 0 OR level_after >= floor)
);
CREATE INDEX ledger_of_unit ON ledger (unit_id, sequence);

-- The recorded outcome of a request, which answers its replays. Without entries, last_sequence is the site's sequence
-- number at that time, and first_sequence is last_sequence + 1. A refusal is stored as JSON.
CREATE TABLE request (
    site_id        uuid   NOT NULL,
    request_key    uuid   NOT NULL,
    fingerprint    uuid   NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL,
    refusal        text,
    recorded_at    bigint NOT NULL,
    PRIMARY KEY (site_id, request_key),
    CHECK (last_sequence >= first_sequence - 1 AND (refusal IS NULL OR last_sequence < first_sequence))
);

-- Nobody changes or removes ledger entries.
CREATE FUNCTION books_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of % are never changed or removed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON change
    FOR EACH STATEMENT EXECUTE FUNCTION books_are_append_only();
