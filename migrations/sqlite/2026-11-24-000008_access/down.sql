ALTER TABLE request DROP COLUMN on_behalf_of;
ALTER TABLE change DROP COLUMN on_behalf_of;
DELETE FROM sqlite_stat1 WHERE tbl = 'journal';
DROP TABLE journal;
DROP TABLE token;
