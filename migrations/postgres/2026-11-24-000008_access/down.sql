ALTER TABLE request DROP COLUMN on_behalf_of;
ALTER TABLE change DROP COLUMN on_behalf_of;
DROP TABLE journal;
DROP TABLE token;
