-- Who may call. migrations/postgres explains the tables.
CREATE TABLE token (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes     TEXT    NOT NULL,
    sites      TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Every change of a setting.
CREATE TABLE journal (
    change_id    INTEGER NOT NULL PRIMARY KEY,
    site_id      BLOB,
    recorded_at  INTEGER NOT NULL,
    actor        TEXT    NOT NULL,
    on_behalf_of TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    before       TEXT    NOT NULL,
    after        TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_of_site ON journal (site_id, change_id);
CREATE TRIGGER journal_append_only_update BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'entries of journal are never changed or removed'); END;
CREATE TRIGGER journal_append_only_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'entries of journal are never changed or removed'); END;
-- Without statistics SQLite might read the journal of all sites to find that of one.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('journal', 'journal_of_site', '1000000 100 1');

-- On whose behalf the actor made the change.
ALTER TABLE change ADD COLUMN on_behalf_of TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN on_behalf_of TEXT;
