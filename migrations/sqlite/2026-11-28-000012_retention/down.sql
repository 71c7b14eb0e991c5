DROP TRIGGER site_goes_on;
DROP TRIGGER ledger_append_only_delete;
DROP TRIGGER change_append_only_delete;
DROP TRIGGER journal_append_only_delete;
CREATE TRIGGER ledger_append_only_delete BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'entries of ledger are never changed or removed'); END;
CREATE TRIGGER change_append_only_delete BEFORE DELETE ON change
BEGIN SELECT RAISE(ABORT, 'entries of change are never changed or removed'); END;
CREATE TRIGGER journal_append_only_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'entries of journal are never changed or removed'); END;
DELETE FROM sqlite_stat1 WHERE tbl IN ('cut', 'balance', 'holding');
DROP TABLE holding;
DROP TABLE balance;
DROP TABLE cut;
