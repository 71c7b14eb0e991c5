DROP TABLE waypoint;
CREATE INDEX ledger_of_unit ON ledger (unit_id, sequence);
ALTER TABLE ledger DROP COLUMN previous_sequence;
