-- Retention: old entries are archived, and sites are deleted. migrations/postgres explains the tables.
CREATE TABLE cut (
    site_id     BLOB    NOT NULL PRIMARY KEY CHECK (length(site_id) = 16),
    sequence    INTEGER NOT NULL CHECK (sequence >= 0),
    recorded_at INTEGER NOT NULL,
    revision    INTEGER NOT NULL DEFAULT 0,
    change_id   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE balance (
    site_id       BLOB    NOT NULL,
    level_id      BLOB    NOT NULL,
    unit_id       BLOB    NOT NULL,
    location_id   BLOB,
    available     INTEGER NOT NULL,
    revision      INTEGER NOT NULL CHECK (revision > 0),
    last_sequence INTEGER NOT NULL,
    PRIMARY KEY (site_id, level_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE holding (
    site_id  BLOB    NOT NULL,
    order_id BLOB    NOT NULL,
    level_id BLOB    NOT NULL,
    taken    INTEGER NOT NULL CHECK (taken >= 0),
    returned INTEGER NOT NULL CHECK (returned >= 0),
    PRIMARY KEY (site_id, order_id, level_id)
) STRICT, WITHOUT ROWID;

-- Typical sizes, since SQLite collects no statistics by itself.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('cut', 'cut', '10000 1'),
    ('balance', 'balance', '1000000 10000 1'),
    ('holding', 'holding', '10000000 100000 2 1');

-- Entries after the cut of their site are never removed.
DROP TRIGGER ledger_append_only_delete;
DROP TRIGGER change_append_only_delete;
DROP TRIGGER journal_append_only_delete;
CREATE TRIGGER ledger_append_only_delete BEFORE DELETE ON ledger
WHEN OLD.sequence > COALESCE((SELECT cut.sequence FROM cut WHERE cut.site_id = OLD.site_id), 0)
BEGIN SELECT RAISE(ABORT, 'entries of ledger are never changed or removed'); END;
CREATE TRIGGER change_append_only_delete BEFORE DELETE ON change
WHEN OLD.last_sequence > COALESCE((SELECT cut.sequence FROM cut WHERE cut.site_id = OLD.site_id), 0)
BEGIN SELECT RAISE(ABORT, 'entries of change are never changed or removed'); END;
-- The journal keeps the deletions of sites for ever.
CREATE TRIGGER journal_append_only_delete BEFORE DELETE ON journal
WHEN OLD.subject = 'deletion'
    OR OLD.change_id >= COALESCE((SELECT cut.change_id FROM cut WHERE cut.site_id = OLD.site_id), 0)
BEGIN SELECT RAISE(ABORT, 'entries of journal are never changed or removed'); END;

-- A site that begins again after its deletion gives no sequence number twice.
CREATE TRIGGER site_goes_on AFTER INSERT ON site
WHEN EXISTS (SELECT 1 FROM cut WHERE cut.site_id = NEW.site_id)
BEGIN
    UPDATE site SET
        sequence = max(NEW.sequence, (SELECT cut.sequence FROM cut WHERE cut.site_id = NEW.site_id)),
        revision = max(NEW.revision, (SELECT cut.revision FROM cut WHERE cut.site_id = NEW.site_id)),
        recorded_at = max(NEW.recorded_at, (SELECT cut.recorded_at FROM cut WHERE cut.site_id = NEW.site_id))
    WHERE site.site_id = NEW.site_id;
END;
