-- The history of a level is a chain. migrations/postgres explains it.
ALTER TABLE ledger ADD COLUMN previous_sequence INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER ledger_append_only_update;
UPDATE ledger SET previous_sequence = chain.previous FROM (
    SELECT site_id, sequence, lag(sequence, 1, 0) OVER (PARTITION BY unit_id, location_id ORDER BY sequence) AS previous
    FROM ledger
) AS chain WHERE ledger.site_id = chain.site_id AND ledger.sequence = chain.sequence;
CREATE TRIGGER ledger_append_only_update BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'entries of ledger are never changed or removed'); END;
DROP INDEX ledger_of_unit;

-- Every 64th entry of a level. A reader enters the chain at a waypoint.
CREATE TABLE waypoint (
    level_id BLOB    NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (level_id, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO waypoint SELECT level.level_id, entry.sequence FROM (
    SELECT unit_id, location_id, sequence, row_number() OVER (PARTITION BY unit_id, location_id ORDER BY sequence) AS revision
    FROM ledger
) AS entry JOIN level ON level.unit_id = entry.unit_id AND level.location_id IS entry.location_id
WHERE entry.revision % 64 = 0;
