-- Stock levels and their ledger. migrations/postgres has the same tables and columns under the same names, and explains
-- each table. Times are microseconds since 1970 (UTC).

CREATE TABLE site (
    site_id             BLOB    NOT NULL PRIMARY KEY CHECK (length(site_id) = 16),
    sequence            INTEGER NOT NULL DEFAULT 0,
    default_location_id BLOB,
    option_keys         TEXT    NOT NULL DEFAULT '{}',
    revision            INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE unit (
    unit_id BLOB NOT NULL PRIMARY KEY CHECK (length(unit_id) = 16),
    site_id BLOB NOT NULL REFERENCES site,
    app_id  TEXT NOT NULL CHECK (app_id <> ''),
    item_id TEXT NOT NULL CHECK (item_id <> ''),
    variant TEXT NOT NULL,
    UNIQUE (site_id, app_id, item_id, variant)
) STRICT, WITHOUT ROWID;

CREATE TABLE level (
    level_id      BLOB    NOT NULL PRIMARY KEY CHECK (length(level_id) = 16),
    site_id       BLOB    NOT NULL REFERENCES site,
    unit_id       BLOB    NOT NULL REFERENCES unit,
    location_id   BLOB,
    available     INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX level_of_unit ON level (unit_id);

CREATE TABLE change (
    site_id        BLOB    NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
    kind           INTEGER NOT NULL,
    reason         INTEGER NOT NULL,
    order_id       BLOB,
    request_id     TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL,
    PRIMARY KEY (site_id, first_sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX change_of_order ON change (site_id, order_id, first_sequence) WHERE order_id IS NOT NULL;

CREATE TABLE ledger (
    site_id         BLOB    NOT NULL,
    sequence        INTEGER NOT NULL,
    change_sequence INTEGER NOT NULL,
    unit_id         BLOB    NOT NULL,
    location_id     BLOB,
    delta           INTEGER NOT NULL,
    level_before    INTEGER NOT NULL,
    level_after     INTEGER NOT NULL CHECK (level_after = level_before + delta),
    floor           INTEGER,
    subscription    INTEGER NOT NULL CHECK (subscription IN (0, 1)),
    PRIMARY KEY (site_id, sequence),
    CONSTRAINT restricted_decrement CHECK (floor IS NULL OR delta >= 0 OR level_after >= floor)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_of_unit ON ledger (unit_id, sequence);

CREATE TABLE request (
    site_id        BLOB    NOT NULL,
    request_key    BLOB    NOT NULL,
    fingerprint    BLOB    NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    refusal        TEXT,
    recorded_at    INTEGER NOT NULL,
    PRIMARY KEY (site_id, request_key),
    CHECK (last_sequence >= first_sequence - 1 AND (refusal IS NULL OR last_sequence < first_sequence))
) STRICT, WITHOUT ROWID;

-- Nobody changes or removes ledger entries.
CREATE TRIGGER ledger_append_only_update BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'entries of ledger are never changed or removed'); END;
CREATE TRIGGER ledger_append_only_delete BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'entries of ledger are never changed or removed'); END;
CREATE TRIGGER change_append_only_update BEFORE UPDATE ON change
BEGIN SELECT RAISE(ABORT, 'entries of change are never changed or removed'); END;
CREATE TRIGGER change_append_only_delete BEFORE DELETE ON change
BEGIN SELECT RAISE(ABORT, 'entries of change are never changed or removed'); END;
