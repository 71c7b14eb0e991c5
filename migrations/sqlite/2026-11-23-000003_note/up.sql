-- What a caller wants to find again, such as the number of a delivery note.
ALTER TABLE change ADD COLUMN note TEXT NOT NULL DEFAULT '';
